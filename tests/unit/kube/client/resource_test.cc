#include "kube/client/resource.h"

#include <doctest/doctest.h>

#include "kube/codec/json.h"

using namespace sharder;
using namespace sharder::kube;

namespace {
const Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};
}  // namespace

TEST_CASE("paths follow the API server's layout") {
  CHECK(path(kSecrets, "") == "/api/v1/secrets");
  CHECK(path(kSecrets, "ns", "a") == "/api/v1/namespaces/ns/secrets/a");
  CHECK(path(kDeployments, "ns", "a", "status") == "/apis/apps/v1/namespaces/ns/deployments/a/status");
  CHECK(path(kControllerRings, "", "r", "status") == "/apis/sharding.timebertt.dev/v1alpha1/controllerrings/r/status");
}

TEST_CASE("a query leaves out empty values and escapes the others") {
  CHECK(path(kSecrets, "", {}, {}, {{"limit", "500"}, {"continue", ""}, {"labelSelector", "a in (b,c)"}}) ==
        "/api/v1/secrets?limit=500&labelSelector=a%20in%20%28b%2Cc%29");
  CHECK(path(kSecrets, "", {}, {}, {{"continue", ""}}) == "/api/v1/secrets");
}

TEST_CASE("everything but unreserved characters is percent-encoded") {
  CHECK(percent_encode("aZ09-._~") == "aZ09-._~");
  CHECK(percent_encode("a/b?c&d=e+f%g h") == "a%2Fb%3Fc%26d%3De%2Bf%25g%20h");
  CHECK(percent_encode("\xc3\xa4\n") == "%C3%A4%0A");
  CHECK(path(kSecrets, "ns", "../x") == "/api/v1/namespaces/ns/secrets/..%2Fx");
}

TEST_CASE("each verb makes its request") {
  const Request get = get_request(kLeases, "ns", "a");
  CHECK(get.method == Method::kGet);
  CHECK(get.target == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/a");
  CHECK(get.body.empty());
  CHECK(get.content_type.empty());

  const Request create = create_request(kLeases, "ns", "{}", "sharder");
  CHECK(create.method == Method::kPost);
  CHECK(create.target == "/apis/coordination.k8s.io/v1/namespaces/ns/leases?fieldManager=sharder");
  CHECK(create.body == "{}");
  CHECK(create.content_type == "application/json");

  const Request update = update_request(kControllerRings, "", "r", "status",
                                        VersionedObject::of({{"metadata", {{"resourceVersion", "7"}}}}).value(), "");
  CHECK(update.body == R"({"metadata":{"resourceVersion":"7"}})");
  CHECK(update.method == Method::kPut);
  CHECK(update.target == "/apis/sharding.timebertt.dev/v1alpha1/controllerrings/r/status");

  const Request patch = patch_request(kLeases, "ns", "a", kMergePatch, "{}", "sharder");
  CHECK(patch.method == Method::kPatch);
  CHECK(patch.content_type == "application/merge-patch+json");
  CHECK(patch.target.ends_with("/leases/a?fieldManager=sharder"));
}

TEST_CASE("server-side apply forces only when asked to") {
  const Request apply = apply_request(kMutatingWebhookConfigurations, "", "c", "{}", "m", false);
  CHECK(apply.method == Method::kPatch);
  CHECK(apply.content_type == "application/apply-patch+yaml");
  CHECK(apply.target.ends_with("/mutatingwebhookconfigurations/c?fieldManager=m"));
  CHECK(apply_request(kMutatingWebhookConfigurations, "", "c", "{}", "m", true)
            .target.ends_with("/mutatingwebhookconfigurations/c?fieldManager=m&force=true"));
}

TEST_CASE("a deletion carries uid and resourceVersion as preconditions") {
  const Precondition precondition = Precondition::of("42").value();
  const Request request = delete_request(kLeases, "ns", "a", "uid-1", precondition);
  CHECK(request.method == Method::kDelete);
  CHECK(request.content_type == "application/json");
  const auto body = parse_json(request.body).value();
  CHECK(string_at(body, "/kind") == "DeleteOptions");
  CHECK(string_at(body, "/preconditions/uid") == "uid-1");
  CHECK(string_at(body, "/preconditions/resourceVersion") == "42");
  const auto without_uid = parse_json(delete_request(kLeases, "ns", "a", "", precondition).body).value();
  CHECK_FALSE(without_uid["preconditions"].contains("uid"));
}

TEST_CASE("what is written carries a resourceVersion that is not empty (design, 6.5)") {
  CHECK_FALSE(Precondition::of(""));
  CHECK(Precondition::of("7")->resource_version() == "7");
  for (const char* object : {R"({"metadata":{"name":"x"}})", R"({"metadata":{"resourceVersion":""}})",
                             R"({"metadata":{"resourceVersion":7}})", "{}", "[]"}) {
    CAPTURE(object);
    const auto guarded = VersionedObject::of(parse_json(object).value());
    REQUIRE_FALSE(guarded);
    CHECK(guarded.error().code == ErrorCode::kInvalid);
  }
}

TEST_CASE("bytes that are not UTF-8 in an object are replaced, and do not throw") {
  const auto body = VersionedObject::of({{"metadata", {{"resourceVersion", "7"}}}, {"message", "a\xff"}});
  REQUIRE(body);
  CHECK(body->text().contains("a\xef\xbf\xbd"));
}
