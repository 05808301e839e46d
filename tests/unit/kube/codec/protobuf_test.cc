#include <doctest/doctest.h>

#include <optional>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <vector>

#include "kube/codec/object_meta.h"
#include "tests/support/metadata_protobuf.h"
#include "tests/support/testdata.h"

using namespace sharder;
using namespace sharder::kube;
using protozero::pbf_writer;
using sharder::testing::in_envelope;
using sharder::testing::testdata;

namespace {

struct Page {
  std::vector<Result<ObjectMeta>> objects = {};
  Result<std::string> continue_token = {};

  explicit Page(std::string body) {
    ObjectMetaDecoder decoder;
    continue_token = decoder.decode_list(body, [this](const Result<ObjectMeta>& object) { objects.push_back(object); });
  }
};

// An object whose metadata has these bytes.
std::string object(const std::string& metadata) {
  std::string bytes;
  pbf_writer(bytes).add_message(1, metadata);
  return bytes;
}

std::string named(const std::string& name) {
  std::string bytes;
  pbf_writer(bytes).add_string(1, name);
  return bytes;
}

std::optional<ErrorCode> failure(std::string_view body) {
  const auto meta = ObjectMetaDecoder().decode(body);
  return meta ? std::nullopt : std::optional(meta.error().code);
}

}  // namespace

TEST_CASE("metadata in kube-apiserver's protobuf is what it is in JSON") {
  const auto compact = ObjectMetaDecoder().decode(testdata("metadata/object.pb"));
  REQUIRE(compact);
  CHECK(compact->name == "first");
  CHECK(compact->label("drain") == "true");
  CHECK(compact->label("empty") == "");
  CHECK(compact->controller == OwnerReference{.api_version = "apps/v1", .kind = "Deployment", .name = "web"});
  CHECK(*compact == ObjectMetaDecoder().decode(testdata("metadata/object.json")));

  const Page page(testdata("metadata/list.pb"));
  const Page json(testdata("metadata/list.json"));
  REQUIRE(page.continue_token);
  CHECK_FALSE(page.continue_token->empty());
  CHECK(*page.continue_token == *json.continue_token);
  REQUIRE(page.objects.size() == 2);
  REQUIRE(json.objects.size() == 2);
  for (std::size_t index = 0; index < 2; ++index) {
    CHECK(page.objects[index].value() == json.objects[index].value());
  }

  const Page empty(testdata("metadata/empty.pb"));
  CHECK(empty.continue_token == "");
  CHECK(empty.objects.empty());
}

TEST_CASE("protobuf that ends too early, wherever, is an error") {
  const std::string whole = testdata("metadata/object.pb");
  const std::string list = testdata("metadata/list.pb");
  // kube-apiserver writes two empty fields behind what is read: 4 bytes.
  for (std::size_t size = 4; size < whole.size() - 4; ++size) {
    CAPTURE(size);
    CHECK(failure(whole.substr(0, size)) == ErrorCode::kInvalid);
  }
  for (std::size_t size = 4; size < list.size() - 4; ++size) {
    CAPTURE(size);
    const Page page(list.substr(0, size));
    REQUIRE_FALSE(page.continue_token);
    CHECK(page.continue_token.error().code == ErrorCode::kInvalid);
    CHECK(page.objects.empty());
  }
}

TEST_CASE("protobuf of another kind, compressed, without a name or with text that is not UTF-8 is an error") {
  const std::string good = object(named("n"));
  CHECK(ObjectMetaDecoder().decode(in_envelope("PartialObjectMetadata", good)));
  CHECK(failure(in_envelope("Secret", good)) == ErrorCode::kInvalid);
  CHECK(failure(in_envelope("PartialObjectMetadata", good, "gzip")) == ErrorCode::kInvalid);
  CHECK(failure(in_envelope("PartialObjectMetadata", object(""))) == ErrorCode::kInvalid);
  CHECK(failure(in_envelope("PartialObjectMetadata", object(named("\xff")))) == ErrorCode::kInvalid);
  // The name, and beside it the labels, a number.
  CHECK(failure(in_envelope("PartialObjectMetadata", object("\x08\x01"))) == ErrorCode::kInvalid);
  CHECK(failure(in_envelope("PartialObjectMetadata", object(named("n") + "\x58\x01"))) == ErrorCode::kInvalid);
  // What ends in the tag of OwnerReference.controller, and nothing behind it in memory.
  const std::string cut = std::string("k8s\0\x12\x05\x0a\x03\x6a\x01\x30", 11);
  const std::vector<char> exact(cut.begin(), cut.end());
  CHECK(failure(std::string_view(exact.data(), exact.size())) == ErrorCode::kInvalid);
  const Page secrets(in_envelope("SecretList", good));
  REQUIRE_FALSE(secrets.continue_token);
  CHECK(secrets.continue_token.error().message ==
        "not a list: kind \"SecretList\" instead of PartialObjectMetadataList");
}

TEST_CASE("in protobuf too, of what stands twice the last counts, and one bad object does not hide the others") {
  std::string metadata;
  pbf_writer writer(metadata);
  writer.add_string(1, "a");
  writer.add_string(6, "1");
  for (const char* value : {"1", "2"}) {
    pbf_writer entry(writer, 11);
    entry.add_string(1, "x");
    entry.add_string(2, value);
  }
  writer.add_string(1, "b");
  writer.add_string(99, "of a later version");
  std::string list;
  pbf_writer items(list);
  items.add_message(2, object(metadata));
  items.add_message(2, std::string("\x0a\x7f"));  // longer than what follows
  items.add_message(2, object(named("c")));
  const Page page(in_envelope("PartialObjectMetadataList", list));
  CHECK(page.continue_token == "");
  REQUIRE(page.objects.size() == 3);
  REQUIRE(page.objects[0]);
  CHECK(page.objects[0]->name == "b");
  CHECK(page.objects[0]->resource_version == "1");
  CHECK(page.objects[0]->labels == decltype(ObjectMeta::labels){{"x", "2"}});
  REQUIRE_FALSE(page.objects[1]);
  CHECK(page.objects[1].error().code == ErrorCode::kInvalid);
  REQUIRE(page.objects[2]);
  CHECK(page.objects[2]->name == "c");
}

TEST_CASE("a list in JSON gives the same: its objects, and the continue token") {
  const Page page(R"({"metadata":{"continue":"more"},"items":[{"metadata":{"name":"a"}},{"metadata":{}},)"
                  R"({"metadata":{"name":"b"}}]})");
  CHECK(page.continue_token == "more");
  REQUIRE(page.objects.size() == 3);
  CHECK(page.objects[0]->name == "a");
  CHECK(page.objects[1].error().code == ErrorCode::kInvalid);
  CHECK(page.objects[2]->name == "b");
  const Page broken(R"({"items":[{"metadata":{"name":"a"}})");
  REQUIRE_FALSE(broken.continue_token);
  CHECK(broken.continue_token.error().code == ErrorCode::kInvalid);
  CHECK(broken.objects.empty());
}
