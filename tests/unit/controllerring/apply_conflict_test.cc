#include "controllerring/apply_conflict.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::controllerring;

namespace {

std::optional<ApplyConflict> parse(const std::string& message, ErrorCode code = ErrorCode::kConflict) {
  return parse_apply_conflict(Error{.code = code, .message = message, .http_status = 409});
}

}  // namespace

// Messages as kube-apiserver 1.36 makes them.
TEST_CASE("one conflict") {
  const auto conflict = parse(
      "PATCH /apis/...: 409 Conflict: Apply failed with 1 conflict: conflict with \"kubectl-edit\" using "
      "admissionregistration.k8s.io/v1: .webhooks[name=\"sharder.sharding.timebertt.dev\"].timeoutSeconds");
  REQUIRE(conflict);
  CHECK(conflict->managers == std::vector<std::string>{"kubectl-edit"});
  CHECK_FALSE(conflict->ca_bundle);
  CHECK(conflict->complete);
}

TEST_CASE("several conflicts with several managers") {
  const auto conflict = parse(
      "PATCH /x: 409 Conflict: Apply failed with 3 conflicts: conflicts with \"b\" using v1 at 2026-01-01T00:00:00Z:\n"
      "- .webhooks[name=\"s\"].failurePolicy\n- .webhooks[name=\"s\"].clientConfig.caBundle\n"
      "conflicts with \"a\" with subresource \"status\":\n- .webhooks[name=\"s\"].timeoutSeconds");
  REQUIRE(conflict);
  CHECK(conflict->managers == std::vector<std::string>{"a", "b"});
  CHECK(conflict->ca_bundle);
  CHECK(conflict->complete);
}

TEST_CASE("a message that was cut is not complete") {
  for (const char* message : {"Apply failed with 2 conflicts: conflicts with \"b\":\n- .x\n- ",
                              "Apply failed with 2 conflicts: conflicts with \"b", "Apply failed with ",
                              "Apply failed with 1 conflict: conflict with \"b\" using v1"}) {
    CAPTURE(message);
    const auto conflict = parse(message);
    REQUIRE(conflict);
    CHECK_FALSE(conflict->complete);
  }
}

TEST_CASE("other errors are no apply conflicts") {
  CHECK_FALSE(parse("the object has been modified; please apply your changes to the latest version"));
  CHECK_FALSE(parse("Apply failed with 1 conflict: conflict with \"x\": .y", ErrorCode::kInvalid));
}
