#include "tests/apiserver/protobuf_body.h"

#include <doctest/doctest.h>

#include <protozero/pbf_writer.hpp>
#include <string>

namespace sharder::apiserver {
namespace {

using nlohmann::json;
using protozero::pbf_writer;

std::string envelope(const std::string& api_version, const std::string& kind, const std::string& raw) {
  std::string body("k8s\0", 4);
  pbf_writer unknown(body);
  {
    pbf_writer type(unknown, 1);
    type.add_string(1, api_version);
    type.add_string(2, kind);
  }
  unknown.add_bytes(2, raw);
  unknown.add_string(3, "");
  unknown.add_string(4, "");
  return body;
}

void add_entry(pbf_writer& object, std::uint32_t tag, const std::string& key, const std::string& value) {
  pbf_writer entry(object, tag);
  entry.add_string(1, key);
  entry.add_string(2, value);
}

// As client-go releases a Lease: what is empty is written too.
std::string released_lease() {
  std::string raw;
  pbf_writer lease(raw);
  {
    pbf_writer metadata(lease, 1);
    metadata.add_string(1, "a");
    metadata.add_string(2, "");
    metadata.add_string(3, "ns");
    metadata.add_string(6, "17");
    metadata.add_int64(7, 0);
    {
      const pbf_writer creation(metadata, 8);
    }
    add_entry(metadata, 11, "x", "1");
    add_entry(metadata, 11, "y", "");
    pbf_writer managed(metadata, 17);
    managed.add_string(1, "a-manager");
    pbf_writer fields(managed, 7);
    fields.add_bytes(1, R"({"f:spec":{}})");
  }
  {
    pbf_writer spec(lease, 2);
    spec.add_string(1, "");
    spec.add_int32(2, 1);
    {
      pbf_writer renewed(spec, 4);
      renewed.add_int64(1, 1'700'000'000);
      renewed.add_int32(2, 42'000);
    }
    spec.add_int32(5, 0);
  }
  return raw;
}

TEST_CASE("a Lease in protobuf is what it is in JSON") {
  const auto object = parse_protobuf(envelope("coordination.k8s.io/v1", "Lease", released_lease()));
  REQUIRE(object);
  CHECK(*object == json::parse(R"({
    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
    "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "17", "labels": {"x": "1", "y": ""},
                 "managedFields": [{"manager": "a-manager", "fieldsV1": {"f:spec": {}}}]},
    "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0,
             "renewTime": "2023-11-14T22:13:20.000042Z"}})"));
}

TEST_CASE("what belongs to an object, in protobuf") {
  std::string raw;
  pbf_writer map(raw);
  {
    pbf_writer metadata(map, 1);
    metadata.add_string(1, "a");
    pbf_writer owner(metadata, 13);
    owner.add_string(1, "Secret");
    owner.add_bool(6, true);
    owner.add_bool(7, false);
  }
  add_entry(map, 2, "k", "v");
  add_entry(map, 3, "k", "v");
  const auto object = parse_protobuf(envelope("v1", "ConfigMap", raw));
  REQUIRE(object);
  CHECK(*object == json::parse(R"({
    "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}, "binaryData": {"k": "dg=="},
    "metadata": {"name": "a", "ownerReferences": [{"kind": "Secret", "controller": true, "blockOwnerDeletion": false}]}
  })"));
}

TEST_CASE("what is not known is refused, never dropped") {
  CHECK(parse_protobuf(envelope("v1", "Pod", "")).error().code == 415);
  CHECK(parse_protobuf(envelope("v2", "Secret", "")).error().code == 415);
  std::string raw;
  pbf_writer(raw).add_string(99, "later");
  CHECK(parse_protobuf(envelope("v1", "Secret", raw)).error().code == 400);
  const std::string whole = envelope("coordination.k8s.io/v1", "Lease", released_lease());
  CHECK(parse_protobuf(std::string_view(whole).substr(0, 60)).error().code == 400);
  CHECK(parse_protobuf("{}").error().code == 400);
  CHECK(parse_protobuf("").error().code == 400);
}

}  // namespace
}  // namespace sharder::apiserver
