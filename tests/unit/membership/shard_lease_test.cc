#include "membership/shard_lease.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/rfc3339.h"

using namespace sharder;
using namespace sharder::membership;
using nlohmann::json;
using std::chrono::seconds;

namespace {

constexpr const char* kLease = R"({
  "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
  "metadata": {"name": "shard-0", "namespace": "default", "uid": "u-1", "resourceVersion": "309",
    "labels": {"alpha.sharding.timebertt.dev/controllerring": "bench", "alpha.sharding.timebertt.dev/state": "ready"},
    "managedFields": [{"manager": "sim"}]},
  "spec": {"acquireTime": "2026-11-23T07:46:01.418239Z", "holderIdentity": "shard-0", "leaseDurationSeconds": 15,
    "leaseTransitions": 3, "renewTime": "2026-11-23T07:46:04.423994Z", "strategy": "OldestEmulationVersion"}})";

ShardLease decode_with(const char* pointer, json value) {
  json document = json::parse(kLease);
  document[json::json_pointer(pointer)] = std::move(value);
  return decode_shard_lease(document.dump()).value();
}

}  // namespace

TEST_CASE("a Lease is cordoned by its annotation, with the value true alone (protocol, 12)") {
  for (const auto& [annotations, cordoned] :
       {std::pair(R"({"sharder.alpha.sharding.timebertt.dev/cordoned": "true"})", true),
        {R"({"sharder.alpha.sharding.timebertt.dev/cordoned": "false"})", false},
        {R"({"sharder.alpha.sharding.timebertt.dev/cordoned": true})", false},
        {R"({"cordoned": "true"})", false},
        {"7", false}}) {
    const std::string text = std::string(R"({"metadata": {"name": "a", "annotations": )") + annotations + "}}";
    CHECK(decode_shard_lease(text).value().cordoned == cordoned);
  }
}

TEST_CASE("a lease is read as a shard writes it") {
  const auto lease = decode_shard_lease(kLease);
  REQUIRE(lease);
  CHECK(lease->id == LeaseId{"default", "shard-0"});
  CHECK(to_string(lease->id) == "default/shard-0");
  CHECK(lease->uid == "u-1");
  CHECK(lease->resource_version == "309");
  CHECK(lease->ring == "bench");
  CHECK(lease->state_label == "ready");
  CHECK(lease->held());
  CHECK(lease->lease_duration == seconds(15));
  CHECK(format_micro_time(*lease->acquire_time) == "2026-11-23T07:46:01.418239Z");
  CHECK(format_micro_time(*lease->renew_time) == "2026-11-23T07:46:04.423994Z");
  CHECK(lease->lease_transitions == 3);
}

TEST_CASE("nonsense in a lease counts as missing") {
  for (const json& duration :
       {json(0), json(-15), json(15.5), json("15"), json(nullptr), json(2147483648LL), json(18446744073709551615ULL),
        json(-9223372036854775807LL), json::array(), json(true)}) {
    CAPTURE(duration.dump());
    CHECK_FALSE(decode_with("/spec/leaseDurationSeconds", duration).lease_duration);
  }
  CHECK(decode_with("/spec/leaseDurationSeconds", 2147483647).lease_duration == seconds(2147483647));
  for (const json& time : {json("yesterday"), json(""), json(17), json(nullptr), json("2026-11-23T07:46:61.000000Z")}) {
    CAPTURE(time.dump());
    CHECK_FALSE(decode_with("/spec/renewTime", time).renew_time);
    CHECK_FALSE(decode_with("/spec/acquireTime", time).acquire_time);
  }
  for (const json& text : {json(17), json(nullptr), json::object()}) {
    CAPTURE(text.dump());
    CHECK_FALSE(decode_with("/spec/holderIdentity", text).held());
    CHECK(decode_with("/metadata/labels", text).ring.empty());
    CHECK(decode_with("/metadata/uid", text).uid.empty());
    CHECK_FALSE(decode_with("/spec", text).renew_time);
  }
  CHECK(decode_with("/spec/leaseTransitions", -1).lease_transitions == 0);
  CHECK(decode_with("/spec/leaseTransitions", "many").lease_transitions == 0);
}

TEST_CASE("what is no object with a name is an error, never a crash") {
  for (const char* text : {"", "{", "[]", "null", "17", "{}", R"({"metadata":null})", R"({"metadata":{"name":""}})",
                           R"({"metadata":{"name":7}})", "\xff\xfe", R"({"metadata":[{"name":"x"}]})"}) {
    CAPTURE(text);
    const auto lease = decode_shard_lease(text);
    REQUIRE_FALSE(lease);
    CHECK(lease.error().code == ErrorCode::kInvalid);
  }
}

TEST_CASE("the same tenure does not depend on labels and versions, a renewal changes it") {
  const ShardLease lease = *decode_shard_lease(kLease);
  CHECK(lease.same_tenure(decode_with("/metadata/resourceVersion", "310")));
  CHECK(lease.same_tenure(decode_with("/metadata/labels", json::object())));
  CHECK_FALSE(lease.same_tenure(decode_with("/spec/renewTime", "2026-11-23T07:46:04.423995Z")));
  CHECK_FALSE(lease.same_tenure(decode_with("/spec/holderIdentity", "")));
  CHECK_FALSE(lease.same_tenure(decode_with("/spec/leaseDurationSeconds", 16)));
  CHECK_FALSE(lease.same_tenure(decode_with("/spec/leaseTransitions", 4)));
  CHECK_FALSE(lease.same_tenure(decode_with("/metadata/uid", "u-2")));
}

TEST_CASE("a take-over changes the tenure and leaves everything else as it stands (protocol, 3)") {
  const WallTime now = *parse_rfc3339("2026-11-23T08:00:00.000007Z");
  const auto body = take_over_body(kLease, seconds(15), now);
  REQUIRE(body);
  json expected = json::parse(kLease);
  expected["spec"]["holderIdentity"] = "shardlease-controller";
  expected["spec"]["leaseDurationSeconds"] = 30;
  expected["spec"]["acquireTime"] = "2026-11-23T08:00:00.000007Z";
  expected["spec"]["renewTime"] = "2026-11-23T08:00:00.000007Z";
  expected["spec"]["leaseTransitions"] = 4;
  CHECK(json::parse(body->text()) == expected);

  SUBCASE("without a spec") {
    const auto bare = take_over_body(R"({"metadata":{"name":"x","resourceVersion":"7"}})", seconds(15), now);
    REQUIRE(bare);
    CHECK(json::parse(bare->text())["spec"]["leaseTransitions"] == 1);
  }
  SUBCASE("int32 is not left") {
    json document = json::parse(kLease);
    document["spec"]["leaseTransitions"] = 2147483647;
    const auto largest = take_over_body(document.dump(), seconds(2147483647), now);
    REQUIRE(largest);
    CHECK(json::parse(largest->text())["spec"]["leaseTransitions"] == 2147483647);
    CHECK(json::parse(largest->text())["spec"]["leaseDurationSeconds"] == 2147483647);
  }
  SUBCASE("without a resourceVersion there is none") {
    CHECK_FALSE(take_over_body(R"({"metadata":{"name":"x"}})", seconds(15), now));
    CHECK_FALSE(take_over_body(R"({"metadata":{"name":"x","resourceVersion":""}})", seconds(15), now));
  }
  SUBCASE("of what is no object") {
    CHECK_FALSE(take_over_body("[]", seconds(15), now));
    CHECK_FALSE(take_over_body("{", seconds(15), now));
  }
}
