#include "certs/serving_secret.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/base64.h"

// docs/decisions/0008-serving-certificates.md
namespace {

using namespace sharder;
using namespace sharder::certs;
using nlohmann::json;

TEST_CASE("what is written to the Secret is read back the same") {
  const ServingSecret secret{.resource_version = "7",
                             .certificate_pem = "crt",
                             .private_key_pem = "key",
                             .roots_pem = "roots",
                             .root_key_pem = "root key"};
  json object = json::parse(new_secret("name", secret));
  CHECK(object["type"] == "kubernetes.io/tls");
  CHECK(object["metadata"]["name"] == "name");
  CHECK_FALSE(object["metadata"].contains("resourceVersion"));
  object["metadata"]["resourceVersion"] = "7";
  CHECK(decode_serving_secret(object.dump()).value() == secret);

  const json patch = json::parse(secret_patch(secret));
  CHECK(patch["metadata"] == json{{"resourceVersion", "7"}});
  CHECK(patch["data"] == object["data"]);
}

TEST_CASE("absent values are empty, and what is no value names its key and is not quoted (design, 6.12)") {
  const auto with = [](const json& data) {
    return decode_serving_secret(json{{"metadata", {{"resourceVersion", "1"}}}, {"data", data}}.dump());
  };
  CHECK(
      with(nullptr).value() ==
      ServingSecret{
          .resource_version = "1", .certificate_pem = "", .private_key_pem = "", .roots_pem = "", .root_key_pem = ""});
  const auto bad = with({{"tls.key", "MARKER!"}});
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message == "tls.key: not valid base64");
  for (const char* text : {"MARKER", "{}", "[]", R"({"metadata":{"resourceVersion":7}})"}) {
    const auto none = decode_serving_secret(text);
    REQUIRE_FALSE(none);
    CHECK_FALSE(none.error().message.contains("MARKER"));
  }
}

TEST_CASE("the caBundles of a list of webhook configurations; webhooks without one are left out") {
  const auto webhook = [](const std::string& bundle) { return json{{"clientConfig", {{"caBundle", bundle}}}}; };
  const json list{{"items",
                   {{{"webhooks", {webhook(encode_base64("a")), webhook(encode_base64("b"))}}},
                    {{"webhooks", {json::object(), webhook("")}}},
                    json::object()}}};
  CHECK(ca_bundles(list.dump()).value() == std::vector<std::string>{"a", "b"});
  CHECK(ca_bundles("{}").value().empty());
  CHECK_FALSE(ca_bundles("MARKER"));
  CHECK_FALSE(ca_bundles(json{{"items", {{{"webhooks", {webhook("!")}}}}}}.dump()));
}

}  // namespace
