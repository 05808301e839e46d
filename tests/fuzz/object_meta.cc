// Objects and lists of any bytes: what is read of JSON is what nlohmann reads; what is read of protobuf, written again,
// is read as the same; what is stripped is JSON without the fields that it has to lose.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>

#include "kube/codec/object_meta.h"
#include "kube/codec/object_stripper.h"
#include "tests/fuzz/require.h"
#include "tests/support/metadata_protobuf.h"

namespace {

using namespace sharder;
using nlohmann::json;

std::string text(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : std::string();
}

void compare(const kube::ObjectMeta& read, const json& metadata) {
  require(read.name == text(metadata, "name"));
  require(read.object_namespace == text(metadata, "namespace"));
  require(read.uid == text(metadata, "uid"));
  require(read.resource_version == text(metadata, "resourceVersion"));
  const json labels =
      metadata.contains("labels") && metadata["labels"].is_object() ? metadata["labels"] : json::object();
  require(read.labels.size() == labels.size());
  for (const auto& [key, value] : read.labels) {
    require(text(labels, key.c_str()) == value || key.find('\0') != std::string::npos);
  }
  if (read.controller) {
    const json& owners = metadata["ownerReferences"];
    const auto controller =
        std::ranges::find_if(owners, [](const json& owner) { return owner.value("controller", json()) == true; });
    require(controller != owners.end());
    require(read.controller->name == text(*controller, "name"));
    require(read.controller->kind == text(*controller, "kind"));
  }
}

std::string written(const kube::ObjectMeta& meta) {
  std::string metadata;
  protozero::pbf_writer fields(metadata);
  fields.add_string(1, meta.name);
  fields.add_string(3, meta.object_namespace);
  fields.add_string(5, meta.uid);
  fields.add_string(6, meta.resource_version);
  for (const auto& [key, value] : meta.labels) {
    protozero::pbf_writer label(fields, 11);
    label.add_string(1, key);
    label.add_string(2, value);
  }
  if (meta.controller) {
    protozero::pbf_writer owner(fields, 13);
    owner.add_string(1, meta.controller->kind);
    owner.add_string(3, meta.controller->name);
    owner.add_string(5, meta.controller->api_version);
    owner.add_bool(6, true);
  }
  std::string object;
  protozero::pbf_writer(object).add_message(1, metadata);
  return sharder::testing::in_envelope("PartialObjectMetadata", object);
}

void check(const kube::ObjectMeta& meta) {
  require(!meta.name.empty());
  json texts = {meta.name, meta.object_namespace, meta.uid, meta.resource_version};
  for (const auto& [key, value] : meta.labels) {
    texts.push_back(key);
    texts.push_back(value);
  }
  static_cast<void>(texts.dump());  // throws for what is not UTF-8
  static kube::ObjectMetaDecoder decoder;
  const auto again = decoder.decode(written(meta));
  require(again && *again == meta);
}

void check_list(std::string_view document) {
  static kube::ObjectMetaDecoder decoder;
  std::string page(document);
  bool has_shown = false;
  const auto token = decoder.decode_list(page, [&has_shown](const Result<kube::ObjectMeta>& object) {
    has_shown = true;
    if (object) {
      check(*object);
    } else {
      require(object.error().code == ErrorCode::kInvalid);
    }
  });
  require(token || (token.error().code == ErrorCode::kInvalid && !has_shown));
}

// What is left of JSON is what nlohmann leaves of it.
void check_stripped(std::string_view document) {
  static kube::ObjectStripper stripper;
  const auto stripped = stripper.strip(document);
  if (!stripped) {
    require(stripped.error().code == ErrorCode::kInvalid);
    return;
  }
  json whole = json::parse(document, nullptr, false);
  if (whole.is_discarded()) {
    return;  // by what was cut out
  }
  whole.erase("kind");
  whole.erase("apiVersion");
  if (whole.contains("metadata")) {
    whole["metadata"].erase("managedFields");
  }
  require(json::parse(*stripped) == whole);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view document(reinterpret_cast<const char*>(data), size);
  check_list(document);
  check_stripped(document);
  static kube::ObjectMetaDecoder decoder;
  const auto read = decoder.decode(document);
  if (!read) {
    require(read.error().code == ErrorCode::kInvalid);
    return 0;
  }
  check(*read);
  // The API server's JSON is valid; of text that is not, more may be read than nlohmann reads.
  const json whole = json::parse(document, nullptr, false);
  if (whole.is_object() && whole.contains("metadata") && whole["metadata"].is_object()) {
    compare(*read, whole["metadata"]);
  }
  return 0;
}
