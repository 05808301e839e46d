#include "kube/codec/status.h"

#include <doctest/doctest.h>

#include <protozero/pbf_writer.hpp>
#include <string>

#include "tests/support/metadata_protobuf.h"

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a Status says in JSON and in protobuf the same") {
  const auto json =
      decode_status(R"({"kind":"Status","metadata":{"continue":"go on"},"message":"too old","reason":"Expired",)"
                    R"("details":{"retryAfterSeconds":7},"code":410})");
  std::string meta;
  protozero::pbf_writer(meta).add_string(3, "go on");
  std::string details;
  protozero::pbf_writer(details).add_int32(5, 7);
  std::string text;
  protozero::pbf_writer fields(text);
  fields.add_message(1, meta);
  fields.add_string(3, "too old");
  fields.add_string(4, "Expired");
  fields.add_message(5, details);
  fields.add_int32(6, 410);
  const auto protobuf = decode_status(testing::in_envelope("Status", text));
  for (const auto& status : {json, protobuf}) {
    REQUIRE(status);
    CHECK(status->code == 410);
    CHECK(status->reason == "Expired");
    CHECK(status->message == "too old");
    CHECK(status->continue_token == "go on");
    CHECK(status->retry_after == 7s);
  }
}

TEST_CASE("of a Status everything may be absent or wrong, and no pause is longer than an hour") {
  for (const char* text : {"{}", R"({"code":"410","details":null,"reason":[],"message":1,"metadata":"x"})"}) {
    CAPTURE(text);
    const auto status = decode_status(text);
    REQUIRE(status);
    CHECK(status->code == 0);
    CHECK(status->reason.empty());
    CHECK(status->message.empty());
    CHECK(status->retry_after == 0s);
  }
  CHECK(decode_status(R"({"details":{"retryAfterSeconds":99999999999}})")->retry_after == 1h);
  CHECK(decode_status(R"({"details":{"retryAfterSeconds":-1}})")->retry_after == 0s);
}

TEST_CASE("what is no Status is an error") {
  for (const char* text : {"", "[]", "7", "no healthy upstream", "k8s"}) {
    CAPTURE(text);
    CHECK(decode_status(text).error().code == ErrorCode::kInvalid);
  }
  CHECK_FALSE(decode_status(testing::in_envelope("Secret", "")));
}

}  // namespace
}  // namespace sharder::kube
