// Objects of any bytes: what is read of one is what nlohmann reads.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kube/object_meta.h"

namespace {

using namespace sharder;
using nlohmann::json;

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view document(reinterpret_cast<const char*>(data), size);
  static kube::ObjectMetaDecoder decoder;
  const auto read = decoder.decode(document);
  if (!read) {
    require(read.error().code == ErrorCode::kInvalid);
    return 0;
  }
  // The API server's JSON is valid; of text that is not, more may be read than nlohmann reads.
  const json whole = json::parse(document, nullptr, false);
  if (whole.is_object() && whole.contains("metadata") && whole["metadata"].is_object()) {
    compare(*read, whole["metadata"]);
  }
  return 0;
}
