#include "webhook/assign.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/base64.h"
#include "ring/object_key.h"
#include "tests/unit/webhook/support.h"
#include "webhook/admission_review.h"
#include "webhook/review_response.h"

namespace webhook = sharder::webhook;
namespace ring = sharder::ring;
using nlohmann::json;
using webhook::testing::Body;
using webhook::testing::deployment_review;
using webhook::testing::replica_set_review;
using webhook::testing::ring_set;
using webhook::testing::secret_update_review;

namespace {

constexpr const char* kLabel = "shard.alpha.sharding.timebertt.dev/example";
constexpr std::string_view kLabelPath = "/metadata/labels/shard.alpha.sharding.timebertt.dev~1example";

// What the API server sees of an answer.
struct Answer {
  json response;               // the whole of it
  std::string message;         // status.message
  std::string warning;         // "" for none
  json patch = json::array();  // decoded
  std::string patched(const char* pointer) const {
    for (const auto& operation : patch) {
      if (operation.at("path") == pointer) {
        return operation.at("value").get<std::string>();
      }
    }
    return "";
  }
  std::string shard() const { return patched(kLabelPath.data()); }
};

Answer answer(const json& review, const ring::RingSet* rings, std::string_view ring_name = "example",
              std::uint64_t seed = 1) {
  webhook::ReviewDecoder decoder(1 << 20);
  webhook::Assigner assigner{std::mt19937_64(seed)};
  const Body body(review.dump());
  const auto decoded = decoder.decode(body.view(), kLabel);
  REQUIRE(decoded.has_value());
  std::string text = "what was there before";
  webhook::write_review_response(text, decoded->uid, assigner.decide(*decoded, rings, ring_name));

  Answer result{.response = json::parse(text), .message = {}, .warning = {}};
  const json& response = result.response.at("response");
  // True of every answer (design, invariant 6):
  CHECK(result.response.at("apiVersion") == review.at("apiVersion"));
  CHECK(result.response.at("kind") == review.at("kind"));
  CHECK(response.at("uid") == review.at("request").at("uid"));
  CHECK(response.at("allowed") == true);
  CHECK(response.at("status").at("code") == 200);
  CHECK(response.contains("patch") == response.contains("patchType"));
  result.message = response.at("status").at("message").get<std::string>();
  if (response.contains("warnings")) {
    REQUIRE(response.at("warnings").size() == 1);
    result.warning = response.at("warnings").at(0).get<std::string>();
    CHECK(result.warning.size() <= 120);  // the API server cuts longer ones
  }
  if (response.contains("patch")) {
    CHECK(response.at("patchType") == "JSONPatch");
    result.patch = json::parse(sharder::decode_base64(response.at("patch").get<std::string>()).value());
    // The API server refuses a request whose patch does not apply.
    CHECK_NOTHROW(static_cast<void>(review.at("request").at("object").patch(result.patch)));
  }
  return result;
}

Answer answer(const json& review) {
  const auto rings = ring_set();
  return answer(review, &rings);
}

// The shard of a key in ring_set()'s ring.
std::string owner(std::string_view key) {
  return std::string(*ring::Ring({"shard-0", "shard-1", "shard-2"}).owner(key));
}

json generated(const std::string& prefix) {
  auto review = deployment_review();
  review["request"]["name"] = "";
  review["request"]["object"]["metadata"].erase("name");
  review["request"]["object"]["metadata"]["generateName"] = prefix;
  return review;
}

}  // namespace

// protocol, 5
TEST_CASE("an object with labels gets the shard label added") {
  const auto result = answer(deployment_review());
  CHECK(result.message == "assigning object");
  CHECK(result.warning == "");
  CHECK(result.patch ==
        json::array({{{"op", "add"}, {"path", kLabelPath}, {"value", owner("apps/Deployment/default/web")}}}));
}

TEST_CASE("an object without labels gets empty ones first") {
  for (const bool null : {false, true}) {
    auto review = secret_update_review();
    if (null) {
      review["request"]["object"]["metadata"]["labels"] = nullptr;
    }
    const auto result = answer(review);
    CHECK(result.message == "assigning object");
    CHECK(result.patch ==
          json::array({{{"op", "add"}, {"path", "/metadata/labels"}, {"value", json::object()}},
                       {{"op", "add"}, {"path", kLabelPath}, {"value", owner("/Secret/default/foo")}}}));
  }
  auto review = secret_update_review();
  review["request"]["object"]["metadata"]["labels"] = json::object();
  CHECK(answer(review).patch.size() == 1);
}

TEST_CASE("the answer is written exactly so") {
  auto review = secret_update_review();
  std::string text;
  webhook::write_review_response(text, R"(a\u0031b)", {.message = "assigning object", .warning = {}, .patch = "[]"});
  CHECK(text ==
        R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"a\u0031b","allowed":true,)"
        R"("patchType":"JSONPatch","patch":"W10=","status":{"code":200,"message":"assigning object"}}})");
  webhook::write_review_response(text, "u", {.message = "m", .warning = "say \"no\"\n", .patch = {}});
  CHECK(text == R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u","allowed":true,)"
                R"("status":{"code":200,"message":"m"},"warnings":["say \"no\"\n"]}})");
}

TEST_CASE("an assigned object stays where it is, also on a shard that is gone") {
  for (const char* shard : {"shard-1", "gone"}) {
    auto review = deployment_review();
    review["request"]["object"]["metadata"]["labels"][kLabel] = shard;
    const auto result = answer(review);
    CHECK(result.message == "object is already assigned");
    CHECK(result.patch.empty());
    CHECK(result.warning == "");
  }
}

TEST_CASE("an empty shard label is none, and the drain label is nobody's business here") {
  auto review = deployment_review();
  review["request"]["object"]["metadata"]["labels"][kLabel] = "";
  review["request"]["object"]["metadata"]["labels"]["drain.alpha.sharding.timebertt.dev/example"] = "true";
  review["request"]["object"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  const auto result = answer(review);
  CHECK(result.message == "assigning object");
  CHECK(result.patch.size() == 1);
  CHECK(result.shard() == owner("apps/Deployment/default/web"));
}

TEST_CASE("a dry run is answered alike") {
  auto review = deployment_review();
  const auto wet = answer(review).response;
  review["request"]["dryRun"] = true;
  CHECK(answer(review).response == wet);
}

TEST_CASE("without an available shard there is no patch") {
  const auto rings = ring_set({});
  for (const auto& review : {deployment_review(), replica_set_review(), generated("web-")}) {
    const auto result = answer(review, &rings);
    CHECK(result.message == "there is no available shard");
    CHECK(result.patch.empty());
    CHECK(result.warning == "");
  }
}

// protocol, 4
TEST_CASE("a controlled object goes where its controller is") {
  const auto result = answer(replica_set_review());
  CHECK(result.message == "assigning object");
  CHECK(result.shard() == answer(deployment_review()).shard());
}

TEST_CASE("a controlled object without a controller is not sharded") {
  auto review = replica_set_review();
  review["request"]["object"]["metadata"].erase("ownerReferences");
  const auto result = answer(review);
  CHECK(result.message == "object should not be assigned");
  CHECK(result.patch.empty());
  CHECK(result.warning == "");
}

TEST_CASE("a resource listed as main and as controlled counts as main") {
  auto review = secret_update_review();  // secrets are both
  review["request"]["object"]["metadata"]["ownerReferences"] =
      json::array({{{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", "owner"}, {"uid", "1"}, {"controller", true}}});
  CHECK(answer(review).shard() == owner("/Secret/default/foo"));
}

TEST_CASE("group and kind of the key are the object's own, the resource is the matched one") {
  auto review = deployment_review();
  review["request"]["kind"] = {{"group", "extensions"}, {"version", "v1beta1"}, {"kind", "Other"}};
  review["request"]["object"]["apiVersion"] = "extensions/v1beta1";
  review["request"]["object"]["kind"] = "DeploymentX";
  CHECK(answer(review).shard() == owner("extensions/DeploymentX/default/web"));
}

TEST_CASE("the namespace of the key is the object's, the request's where it has none") {
  auto review = deployment_review();
  review["request"]["namespace"] = "elsewhere";
  CHECK(answer(review).shard() == owner("apps/Deployment/default/web"));
  review["request"]["object"]["metadata"].erase("namespace");
  CHECK(answer(review).shard() == owner("apps/Deployment/elsewhere/web"));
}

TEST_CASE("a cluster-scoped object has no namespace in its key, a Namespace not even its own") {
  auto review = secret_update_review();
  auto& request = review["request"];
  request["resource"] = {{"group", "rbac.authorization.k8s.io"}, {"version", "v1"}, {"resource", "clusterroles"}};
  request["object"] = {
      {"apiVersion", "rbac.authorization.k8s.io/v1"}, {"kind", "ClusterRole"}, {"metadata", {{"name", "viewer"}}}};
  request.erase("namespace");
  CHECK(answer(review).shard() == owner("rbac.authorization.k8s.io/ClusterRole//viewer"));

  // For Namespaces kube-apiserver sends their own name as request.namespace.
  for (int i = 0; i < 20; ++i) {
    const std::string name = "team-" + std::to_string(i);
    request["resource"] = {{"group", ""}, {"version", "v1"}, {"resource", "namespaces"}};
    request["namespace"] = name;
    request["object"] = {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}};
    CHECK(answer(review).shard() == owner("/Namespace//" + name));
  }
}

// protocol, 9
TEST_CASE("an unknown ring and a foreign resource are allowed with a message only") {
  const auto rings = ring_set();
  auto result = answer(deployment_review(), &rings, "nobody");
  CHECK(result.message == "there is no such ring");
  CHECK(result.patch.empty());
  CHECK(result.warning == "");
  result = answer(deployment_review(), &rings, "other");
  CHECK(result.message == "resource is not part of the ring");
  CHECK(result.patch.empty());
  CHECK(result.warning == "");
}

// design, invariant 2
TEST_CASE("before the first RingSet everything is allowed without a patch") {
  for (const auto& review : {deployment_review(), replica_set_review(), generated("web-")}) {
    const auto result = answer(review, nullptr);
    CHECK(result.message == "the sharder does not know its rings yet");
    CHECK(result.patch.empty());
    CHECK(result.warning == "");
  }
}

TEST_CASE("what cannot be decided is allowed with a warning") {
  const auto expect = [](const json& review, std::string_view reason) {
    const auto result = answer(review);
    CHECK(result.message == "object cannot be assigned");
    CHECK(result.warning == "sharder: the object gets no shard: " + std::string(reason));
    CHECK(result.patch.empty());
  };
  auto review = replica_set_review();
  review["request"]["object"]["metadata"]["ownerReferences"][1]["apiVersion"] = "a/b/c";
  expect(review, "its controller reference is malformed");
  review = deployment_review();
  review["request"]["object"]["metadata"]["labels"] = "none";
  expect(review, "request.object.metadata.labels is not an object");
  review = deployment_review();
  review["request"]["object"].erase("kind");
  expect(review, "it has no apiVersion or kind");
  review = deployment_review();
  review["request"]["object"]["metadata"].erase("name");
  expect(review, "it has no name");
  review = generated("web-");
  review["request"]["operation"] = "UPDATE";
  expect(review, "it has no name");
  review = deployment_review();
  review["request"].erase("object");
  expect(review, "request.object is missing");
}

TEST_CASE("a malformed reference does not matter for a main resource") {
  auto review = deployment_review();
  review["request"]["object"]["metadata"]["ownerReferences"] = json::array({{{"controller", true}}});
  CHECK(answer(review).message == "assigning object");
}

// protocol, 9: the webhook names objects with generateName
TEST_CASE("a generated name has 10 random characters where they fit, else 5 as the API server gives") {
  struct Case {
    std::size_t prefix;
    std::size_t kept;
    std::size_t random;
  };
  for (const Case& one : {Case{1, 1, 10}, Case{42, 42, 10}, Case{43, 43, 5}, Case{47, 47, 5}, Case{53, 53, 5},
                          Case{58, 58, 5}, Case{59, 58, 5}, Case{70, 58, 5}, Case{253, 58, 5}}) {
    CAPTURE(one.prefix);
    const std::string prefix = std::string(one.prefix - 1, 'p') + "-";
    const auto result = answer(generated(prefix));
    const std::string name = result.patched("/metadata/name");
    CHECK(result.message == "assigning object");
    REQUIRE(name.size() == one.kept + one.random);
    CHECK(name.starts_with(prefix.substr(0, one.kept)));
    CHECK(name.find_first_not_of("bcdfghjklmnpqrstvwxz2456789", one.kept) == std::string::npos);
    CHECK(result.shard() == owner("apps/Deployment/default/" + name));  // the shard is that of the name
    CHECK(result.patch.size() == 2);
  }
}

TEST_CASE("a prefix is not cut within a character") {
  std::string prefix(57, 'p');
  prefix += "\xc3\xa4\xc3\xa4";  // the 58th byte is the first half of a letter
  const std::string name = answer(generated(prefix)).patched("/metadata/name");
  CHECK(name.size() == 57 + 5);
  CHECK(name.starts_with(prefix.substr(0, 57)));
}

TEST_CASE("a prefix that needs escapes comes back as it was") {
  const std::string name = answer(generated("a\"\\\n\xc3\xa4-")).patched("/metadata/name");
  CHECK(name.starts_with("a\"\\\n\xc3\xa4-"));
}

TEST_CASE("generated names differ, and use the whole alphabet") {
  std::set<std::string> names;
  std::set<char> characters;
  const auto rings = ring_set();
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const std::string name = answer(generated("j-"), &rings, "example", seed).patched("/metadata/name");
    names.insert(name);
    characters.insert(name.begin() + 2, name.end());
  }
  CHECK(names.size() == 300);
  CHECK(characters.size() == 27);
}

TEST_CASE("a controlled object's generateName is left to the API server") {
  auto review = replica_set_review();
  review["request"]["object"]["metadata"].erase("name");
  review["request"]["object"]["metadata"]["generateName"] = "web-";
  const auto result = answer(review);
  CHECK(result.message == "assigning object");
  CHECK(result.patch.size() == 1);
  CHECK(result.shard() == owner("apps/Deployment/default/web"));
}

TEST_CASE("a name beside generateName is the name") {
  auto review = deployment_review();
  review["request"]["object"]["metadata"]["generateName"] = "web-";
  const auto result = answer(review);
  CHECK(result.patch.size() == 1);
  CHECK(result.shard() == owner("apps/Deployment/default/web"));
}

// design, invariant 1: the rebalancer computes key and owner with the same two functions
TEST_CASE("webhook and rebalancer give the same shard for the same object and ring set") {
  const auto rings = ring_set({"a", "b", "c", "d", "e"});
  const auto* entry = rings.find("example");
  std::set<std::string> shards;
  for (int i = 0; i < 200; ++i) {
    auto review = deployment_review();
    const std::string name = "web-" + std::to_string(i);
    review["request"]["object"]["metadata"]["name"] = name;
    std::string key;
    ring::object_key(key, "apps", "Deployment", "default", name);
    const auto result = answer(review, &rings);
    CHECK(result.shard() == entry->ring().owner(key));
    shards.insert(result.shard());
  }
  CHECK(shards.size() == 5);
}
