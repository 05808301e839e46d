#include "webhook/admission_review.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "tests/unit/webhook/support.h"

namespace webhook = sharder::webhook;
using nlohmann::json;
using webhook::AdmissionReview;
using webhook::ReviewDecoder;
using webhook::testing::Body;
using webhook::testing::deployment_review;
using webhook::testing::replica_set_review;
using webhook::testing::secret_update_review;
using State = webhook::ControllerReference::State;

namespace {

constexpr std::size_t kMaxBody = 7 * 1024 * 1024;
constexpr std::string_view kLabel = "shard.alpha.sharding.timebertt.dev/example";

// Decodes with a decoder of its own and hands the review to `check` while the body lives.
void decode(const Body& body, const std::function<void(const AdmissionReview&)>& check) {
  ReviewDecoder decoder(kMaxBody);
  const auto review = decoder.decode(body.view(), kLabel);
  if (!review) {
    FAIL_CHECK(review.error().message);
    return;
  }
  check(*review);
}
void decode(const json& review, const std::function<void(const AdmissionReview&)>& check) {
  decode(Body(review.dump()), check);
}

// Why the body is no AdmissionReview; the same whatever stands behind the body.
std::string refusal(std::string_view text) {
  std::string reason;
  Body body(text);
  for (const char padding : {'}', ']', ',', '"', ':', '{', '0', ' ', '\0', '\xff'}) {
    body.set_padding(padding);
    CAPTURE(padding);
    ReviewDecoder decoder(kMaxBody);
    const auto review = decoder.decode(body.view(), kLabel);
    CHECK_FALSE(review.has_value());
    if (!review) {
      CHECK(review.error().code == sharder::ErrorCode::kInvalid);
      CHECK((reason.empty() || reason == review.error().message));
      reason = review.error().message;
    }
  }
  return reason;
}

bool is_no_json(std::string_view text) {
  return refusal(text) == "it is not valid JSON";
}

std::string problem_of(const json& review) {
  std::string problem = "the body was refused";
  decode(review, [&](const AdmissionReview& decoded) {
    CHECK(decoded.uid == "705ab4f5-6393-11e8-b7cc-42010a800002");
    problem = decoded.problem;
  });
  return problem;
}

std::string nested(int levels) {
  return std::string(static_cast<std::size_t>(levels), '[') + std::string(static_cast<std::size_t>(levels), ']');
}

}  // namespace

TEST_CASE("a review as kube-apiserver sends it is decoded") {
  decode(deployment_review(), [](const AdmissionReview& review) {
    CHECK(review.problem == "");
    CHECK(review.uid == "705ab4f5-6393-11e8-b7cc-42010a800002");
    CHECK(review.operation == "CREATE");
    CHECK(review.request_namespace == "default");
    CHECK(review.group == "apps");
    CHECK(review.version == "v1");
    CHECK(review.resource == "deployments");  // not that of requestResource
    CHECK_FALSE(review.dry_run);
    CHECK(review.object.api_version == "apps/v1");
    CHECK(review.object.kind == "Deployment");
    CHECK(review.object.name == "web");  // not that of the pod template
    CHECK(review.object.generate_name == "");
    CHECK(review.object.object_namespace == "default");
    CHECK(review.object.has_labels);
    CHECK(review.object.shard_label == "");
    CHECK(review.object.controller.state == State::kNone);
  });
}

TEST_CASE("the controller is the owner with controller true") {
  decode(replica_set_review(), [](const AdmissionReview& review) {
    CHECK(review.problem == "");
    CHECK(review.object.controller.state == State::kComplete);
    CHECK(review.object.controller.api_version == "apps/v1");
    CHECK(review.object.controller.kind == "Deployment");
    CHECK(review.object.controller.name == "web");
  });
}

TEST_CASE("an object without labels, a dry run and an update are decoded") {
  auto sent = secret_update_review();
  sent["request"]["dryRun"] = true;
  decode(sent, [](const AdmissionReview& review) {
    CHECK(review.problem == "");
    CHECK(review.operation == "UPDATE");
    CHECK(review.dry_run);
    CHECK(review.group == "");
    CHECK_FALSE(review.object.has_labels);
    CHECK(review.object.shard_label == "");  // not that of oldObject
  });
}

TEST_CASE("the value of the label asked for is read, and no other") {
  auto sent = deployment_review();
  sent["request"]["object"]["metadata"]["labels"][std::string(kLabel)] = "shard-1";
  sent["request"]["object"]["metadata"]["labels"][std::string(kLabel) + "2"] = "shard-2";
  decode(sent, [](const AdmissionReview& review) { CHECK(review.object.shard_label == "shard-1"); });

  ReviewDecoder decoder(kMaxBody);
  const Body body(sent.dump());
  CHECK(decoder.decode(body.view(), "another/label")->object.shard_label == "");
}

TEST_CASE("the order of keys, white space and escaped keys make no difference") {
  std::string text = R"( {
    "request" : {
      "object" : { "metadata" : { "labels" : { "shard.alpha.sharding.timebertt.dev\/example" : "a" },
                                  "n\u0061me" : "we\u0062" , "ownerReferences" : [ ] },
                   "kind" : "Deployment" , "apiVersion" : "apps/v1" } ,
      "resource" : { "resource" : "deployments" , "version" : "v1" , "group" : "apps" },
      "operation" : "CREATE" , "uid" : "u\u0031/\"\\x" } ,
    "apiVersion" : "admission.k8s.io\/v1" , "kind" : "AdmissionReview" })";
  text += "\n\t \r";
  decode(Body(text), [](const AdmissionReview& review) {
    CHECK(review.problem == "");
    CHECK(review.uid == R"(u\u0031/\"\\x)");  // byte by byte, escapes included
    CHECK(review.object.name == "web");
    CHECK(review.object.shard_label == "a");
    CHECK(review.resource == "deployments");
  });
}

TEST_CASE("null is as good as absent") {
  auto sent = deployment_review();
  auto& request = sent["request"];
  request["dryRun"] = nullptr;
  request["namespace"] = nullptr;
  auto& metadata = request["object"]["metadata"];
  metadata["name"] = nullptr;
  metadata["labels"] = nullptr;
  metadata["ownerReferences"] = nullptr;
  decode(sent, [](const AdmissionReview& review) {
    CHECK(review.problem == "");
    CHECK_FALSE(review.dry_run);
    CHECK(review.request_namespace == "");
    CHECK(review.object.name == "");
    CHECK_FALSE(review.object.has_labels);
    CHECK(review.object.controller.state == State::kNone);
  });
}

TEST_CASE("a decoder is reused, also after a bad body and after a large one") {
  ReviewDecoder decoder(kMaxBody);
  auto large = deployment_review();
  large["request"]["object"]["spec"]["padding"] = std::string(1 << 20, 'x');
  const Body large_body(large.dump());
  const Body small_body(replica_set_review().dump());
  const Body bad_body("{\"kind\":");
  for (int i = 0; i < 3; ++i) {
    CHECK(decoder.decode(small_body.view(), kLabel)->object.name == "web-5d9c7f");
    CHECK_FALSE(decoder.decode(bad_body.view(), kLabel).has_value());
    CHECK(decoder.decode(large_body.view(), kLabel)->object.name == "web");
    auto wrong = deployment_review();
    wrong["request"]["object"] = 1;
    const Body wrong_body(wrong.dump());
    CHECK(decoder.decode(wrong_body.view(), kLabel)->problem == "request.object is not an object");
  }
}

// protocol, 9: only a body that is no AdmissionReview is rejected
TEST_CASE("what is not JSON is refused with a reason") {
  const std::string good = deployment_review().dump();
  for (const std::string& bad : {std::string(),
                                 std::string(" "),
                                 std::string("{"),
                                 std::string("}"),
                                 std::string("{]"),
                                 std::string("{\"a\":1,}"),
                                 std::string("{\"a\":[1,]}"),
                                 std::string("{\"a\":[1}"),
                                 std::string("{\"a\":{]}"),
                                 std::string("{\"a\" 1}"),
                                 std::string("{\"a\":}"),
                                 std::string("{\"a\"}"),
                                 std::string("{1:2}"),
                                 std::string("{\"a\":1 2}"),
                                 std::string("{\"a\":\"b\":2}"),
                                 std::string("{\"a\":{\"b\":\"c\":2}}"),
                                 std::string("{\"a\":[\"b\":2]}"),
                                 std::string("{\"a\":1 \"b\":2}"),
                                 std::string("{\"a\":[1 2]}"),
                                 std::string("{,}"),
                                 std::string("{\"a\":1,,\"b\":2}"),
                                 std::string("{\"a\":nul}"),
                                 std::string("{\"a\":truee}"),
                                 std::string("{\"a\":fals}"),
                                 std::string("{\"a\":01}"),
                                 std::string("{\"a\":1.}"),
                                 std::string("{\"a\":NaN}"),
                                 std::string("{\"a\":'b'}"),
                                 std::string("{\"a\":\"b}"),
                                 std::string("{\"a\":\"\\x\"}"),
                                 std::string("{\"\\q\":1}"),
                                 std::string("{\"a\":{\"\\q\":1}}"),
                                 std::string("{\"a\":\"\n\"}"),
                                 std::string("{\"a\":\"\xff\"}"),
                                 std::string("{\"a\":\"\xed\xa0\x80\"}"),
                                 std::string("{\"a\":1}\0", 8),
                                 "\xef\xbb\xbf" + good,
                                 good + "x",
                                 good + "{}",
                                 good + "}",
                                 good + ",",
                                 good.substr(0, good.size() - 1),
                                 good.substr(0, good.size() - 2),
                                 good.substr(0, good.size() / 2),
                                 std::string("/**/{}")}) {
    CAPTURE(bad);
    CHECK(is_no_json(bad));
  }
}

TEST_CASE("a truncated review is rejected wherever it ends") {
  const std::string good = replica_set_review().dump();
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal(std::string_view(good).substr(0, size)) != "");
  }
}

TEST_CASE("lone surrogates are refused wherever they stand") {
  for (const char* pointer : {"/request/uid", "/request/object/metadata/name", "/request/object/metadata/labels/app",
                              "/request/object/spec/strategy/type", "/request/userInfo/username"}) {
    auto sent = deployment_review();
    sent[json::json_pointer(pointer)] = "SURROGATE";
    const std::string text = sent.dump();
    for (const char* surrogate : {R"(\ud800)", R"(\udc00)", R"(\ud800\u0041)", R"(\udc00\ud800)"}) {
      std::string bad = text;
      bad.replace(bad.find("SURROGATE"), 9, surrogate);
      CAPTURE(bad);
      CHECK(is_no_json(bad));
    }
  }
}

TEST_CASE("JSON that is no AdmissionReview is rejected with a reason") {
  CHECK(refusal("[]") == "it is no JSON object");
  CHECK(refusal("12") == "it is no JSON object");
  CHECK(refusal("[}") == "it is no JSON object");
  CHECK(refusal("\"AdmissionReview\"") == "it is no JSON object");
  CHECK(refusal("{}") == "its kind is not AdmissionReview");
  const auto changed = [](const char* pointer, const json& value) {
    auto review = deployment_review();
    review[json::json_pointer(pointer)] = value;
    return refusal(review.dump());
  };
  CHECK(changed("/kind", "Deployment") == "its kind is not AdmissionReview");
  CHECK(changed("/kind", 1) == "its kind is not AdmissionReview");
  CHECK(changed("/apiVersion", "admission.k8s.io/v1beta1") == "its apiVersion is not admission.k8s.io/v1");
  CHECK(changed("/apiVersion", nullptr) == "its apiVersion is not admission.k8s.io/v1");
  CHECK(changed("/request", nullptr) == "it has no request");
  CHECK(changed("/request", "x") == "it has no request");
  CHECK(changed("/request/uid", "") == "its request has no uid");
  CHECK(changed("/request/uid", 7) == "its request has no uid");
  CHECK(changed("/request/uid", json::object()) == "its request has no uid");
}

TEST_CASE("a review that has apiVersion, kind, request or uid twice is rejected") {
  std::string text = deployment_review().dump();
  for (const char* twice :
       {R"("kind":"AdmissionReview",)", R"("apiVersion":"admission.k8s.io/v1",)", R"("request":{"uid":"another"},)"}) {
    CAPTURE(twice);
    CHECK(refusal("{" + std::string(twice) + text.substr(1)) ==
          "apiVersion, kind, request or uid is given twice or of a wrong type");
  }
  text.insert(text.find("\"uid\":\"705"), R"("uid":"another",)");
  CHECK(refusal(text) == "apiVersion, kind, request or uid is given twice or of a wrong type");
}

TEST_CASE("a body past the limit is rejected unread") {
  const Body body(deployment_review().dump());
  ReviewDecoder decoder(body.view().size() - 1);
  CHECK(decoder.decode(body.view(), kLabel).error().message == "the body is too large");
  CHECK(ReviewDecoder(body.view().size()).decode(body.view(), kLabel).has_value());
}

// protocol, 9: an undecodable object
TEST_CASE("an object that cannot be decoded is a problem, but the review is not rejected") {
  const auto problem = [](const char* pointer, const json& value) {
    auto review = deployment_review();
    review[json::json_pointer(pointer)] = value;
    return problem_of(review);
  };
  CHECK(problem("/request/object", nullptr) == "request.object is missing");
  CHECK(problem("/request/object", json::array()) == "request.object is not an object");
  CHECK(problem("/request/object", 12) == "request.object is not an object");
  CHECK(problem("/request/object/kind", 1) == "request.object.kind is not a string");
  CHECK(problem("/request/object/apiVersion", true) == "request.object.apiVersion is not a string");
  CHECK(problem("/request/object/metadata", "m") == "request.object.metadata is not an object");
  CHECK(problem("/request/object/metadata/name", json::object()) == "request.object.metadata.name is not a string");
  CHECK(problem("/request/object/metadata/generateName", 1.5) ==
        "request.object.metadata.generateName is not a string");
  CHECK(problem("/request/object/metadata/namespace", false) == "request.object.metadata.namespace is not a string");
  CHECK(problem("/request/object/metadata/labels", json::array()) == "request.object.metadata.labels is not an object");
  CHECK(problem("/request/object/metadata/labels", {{std::string(kLabel), 5}}) ==
        "the object's shard label is not a string");
  CHECK(problem("/request/operation", 1) == "request.operation is not a string");
  CHECK(problem("/request/namespace", 1) == "request.namespace is not a string");
  CHECK(problem("/request/dryRun", "true") == "request.dryRun is not a boolean");
  CHECK(problem("/request/resource", "deployments") == "request.resource is not an object");
  CHECK(problem("/request/resource/group", 1) == "request.resource.group is not a string");
  CHECK(problem("/request/resource/version", 1) == "request.resource.version is not a string");
  CHECK(problem("/request/resource/resource", 1) == "request.resource.resource is not a string");
  // What is not used may be anything.
  CHECK(problem("/request/object/spec", 1) == "");
  CHECK(problem("/request/object/metadata/managedFields", "x") == "");
  CHECK(problem("/request/object/metadata/labels/app", 1) == "");
  CHECK(problem("/request/userInfo", nullptr) == "");
}

TEST_CASE("a key that is read must not stand twice") {
  const auto with = [](const char* before, const char* inserted) {
    std::string text = deployment_review().dump();
    const auto at = text.find(before);
    REQUIRE(at != std::string::npos);
    text.insert(at, inserted);
    std::string problem;
    decode(Body(text), [&](const AdmissionReview& review) { problem = review.problem; });
    return problem;
  };
  CHECK(with("\"managedFields\":[", "\"name\":\"other\",") == "request.object.metadata.name is given twice");
  CHECK(with("\"managedFields\":[", "\"n\\u0061me\":\"other\",") == "request.object.metadata.name is given twice");
  CHECK(with("\"object\":{", "\"object\":{},") == "request.object is given twice");
  CHECK(with("\"labels\":{\"app\"", "\"labels\":{},") == "request.object.metadata.labels is given twice");
  CHECK(with("\"managedFields\":[", "\"ownerReferences\":[],\"ownerReferences\":[],") ==
        "request.object.metadata.ownerReferences is given twice");
  CHECK(with("\"app\":\"web\",\"weird", "\"app\":\"x\",") == "");  // not read
}

TEST_CASE("of oldObject and managedFields only the brackets count") {
  for (const char* pointer : {"/request/oldObject", "/request/object/metadata/managedFields"}) {
    auto sent = deployment_review();
    sent[json::json_pointer(pointer)] = "SKIPPED";
    const std::string text = sent.dump();
    const auto with = [&](const char* skipped) {
      std::string changed = text;
      return changed.replace(changed.find("\"SKIPPED\""), 9, skipped);
    };
    for (const char* skipped : {R"([{"a":[{}]},{"b":"]}"}])", "{}", "null", "\"x\"", R"({"a":tru,"b":01})"}) {
      CAPTURE(skipped);
      decode(Body(with(skipped)), [](const AdmissionReview& review) {
        CHECK(review.problem == "");
        CHECK(review.object.name == "web");
        CHECK(review.resource == "deployments");
      });
    }
    for (const char* skipped : {"[", "]", "}", "{", "[[]", "[]]", "", ",", "\"", "{\"\xff\":1}"}) {
      CAPTURE(skipped);
      CHECK(is_no_json(with(skipped)));
    }
  }
}

TEST_CASE("numbers beyond 64 bits are numbers") {
  std::string text = deployment_review().dump();
  const std::string replicas = "\"replicas\":3";
  for (const char* number : {"18446744073709551616", "-9223372036854775809", "1e400", "123456789012345678901234567890",
                             "0.1234567890123456789012345678901234567890"}) {
    std::string changed = text;
    changed.replace(changed.find(replicas), replicas.size(), "\"replicas\":" + std::string(number));
    decode(Body(changed), [](const AdmissionReview& review) { CHECK(review.problem == ""); });
  }
}

TEST_CASE("what is nested deeper than the limit is a problem, not a refusal") {
  // Levels: review, request, object, spec, then the arrays.
  const auto problem = [](const char* pointer, const char* marker, int levels) {
    auto review = deployment_review();
    review[json::json_pointer(pointer)] = marker;
    std::string text = review.dump();
    const std::string quoted = "\"" + std::string(marker) + "\"";
    text.replace(text.find(quoted), quoted.size(), nested(levels));
    std::string result = "refused";
    decode(Body(text), [&](const AdmissionReview& decoded) { result = decoded.problem; });
    return result;
  };
  CHECK(problem("/request/object/spec", "DEEP", webhook::kMaxDepth - 3) == "");
  CHECK(problem("/request/userInfo", "DEEP", webhook::kMaxDepth - 2) == "");
  for (const int levels : {webhook::kMaxDepth - 2, 10'000, 200'000}) {
    CAPTURE(levels);
    CHECK(problem("/request/object/spec", "DEEP", levels) == "the review is nested deeper than 128 levels");
    CHECK(problem("/request/userInfo", "DEEP", levels + 1) == "the review is nested deeper than 128 levels");
    CHECK(problem("/request/object/metadata/name", "DEEP", levels) == "request.object.metadata.name is not a string");
    CHECK(problem("/request/oldObject", "DEEP", levels) == "");
    CHECK(problem("/request/object/metadata/managedFields", "DEEP", levels) == "");
    CHECK(problem("/request/uid2", "DEEP", levels + 1) == "the review is nested deeper than 128 levels");
  }
  std::string deep;
  for (int i = 0; i < 10'000; ++i) {
    deep += "{\"a\":";
  }
  CHECK(is_no_json(deep));
  CHECK(is_no_json(deep + std::string(9'999, '}')));
  CHECK(refusal(nested(10'000)) == "it is no JSON object");
}

// protocol, 9: a malformed controller reference
TEST_CASE("a controller reference that cannot be used is distinguished from none") {
  struct Case {
    const char* owners;
    State state;
  };
  for (const Case& one : {
           Case{"[]", State::kNone},
           Case{"null", State::kNone},
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","controller":false}])", State::kNone},
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","controller":null}])", State::kNone},
           Case{R"([{"kind":7}])", State::kNone},  // an owner, no controller: not our business
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","controller":true}])", State::kComplete},
           // the first controller counts
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","controller":true},{"controller":true}])",
                State::kComplete},
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","controller":true},3])", State::kComplete},
           Case{R"([{"controller":true},{"apiVersion":"v1","kind":"Secret","name":"a","controller":true}])",
                State::kMalformed},
           Case{R"("x")", State::kMalformed},
           Case{R"({})", State::kMalformed},
           Case{R"([null])", State::kMalformed},
           Case{R"(["x"])", State::kMalformed},
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","controller":"true"}])", State::kMalformed},
           Case{R"([{"kind":"Secret","name":"a","controller":true}])", State::kMalformed},
           Case{R"([{"apiVersion":"v1","name":"a","controller":true}])", State::kMalformed},
           Case{R"([{"apiVersion":"v1","kind":"Secret","controller":true}])", State::kMalformed},
           Case{R"([{"apiVersion":"a/b/c","kind":"Secret","name":"a","controller":true}])", State::kMalformed},
           Case{R"([{"apiVersion":"v1","kind":5,"name":"a","controller":true}])", State::kMalformed},
           Case{R"([{"apiVersion":"v1","kind":"Secret","name":"a","name":"b","controller":true}])", State::kMalformed},
       }) {
    CAPTURE(one.owners);
    auto sent = replica_set_review();
    sent["request"]["object"]["metadata"]["ownerReferences"] = "OWNERS";
    std::string text = sent.dump();
    text.replace(text.find("\"OWNERS\""), 8, one.owners);
    decode(Body(text), [&](const AdmissionReview& review) {
      CHECK(review.problem == "");
      CHECK(review.object.controller.state == one.state);
      CHECK(review.object.controller.name == (one.state == State::kComplete ? "a" : ""));
    });
  }
}
