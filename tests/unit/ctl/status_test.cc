#include "ctl/status.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "certs/x509.h"
#include "tests/support/test_certificate.h"
#include "tests/unit/ctl/facts.h"

using namespace sharder;
using namespace sharder::ctl;

namespace {

Census count(const RingFacts& ring, const std::vector<kube::ObjectMeta>& objects, const Selection& selection) {
  Counter counter(ring, facts::kSecrets, selection);
  for (const auto& object : objects) {
    counter.count(object);
  }
  return counter.census();
}

StatusReport report_of(RingFacts ring, const std::vector<kube::ObjectMeta>& objects) {
  StatusReport report{.now = facts::kNow,
                      .leader = LeaderFacts{.lease = "sharding-system/sharder", .holder = "x", .renewed = facts::kNow},
                      .rings = {},
                      .strays = {},
                      .gaps = {}};
  RingReport one{.ring = std::move(ring), .selection = facts::everything()};
  one.census = count(one.ring, objects, one.selection);
  report.rings.push_back(std::move(one));
  return report;
}

}  // namespace

TEST_CASE("objects are counted by where they are and by where they belong") {
  const RingFacts ring = facts::with_leases({facts::lease("ring", "a", "a"), facts::lease("ring", "b", "b"),
                                             facts::lease("ring", "dead", ""),
                                             facts::cordoned(facts::lease("ring", "leaving", "leaving"))});
  const std::string of_a = facts::name_for(ring, "a");
  kube::ObjectMeta draining = facts::secret(of_a, "b");
  draining.labels.emplace_back(ring::drain_label("ring"), "a");
  const Census census =
      count(ring,
            {facts::secret(of_a, "a"), facts::secret(of_a, "b"), draining, facts::secret(of_a, ""),
             facts::secret(of_a, "dead"), facts::secret(of_a, "never-was"), facts::secret(of_a, "leaving")},
            facts::everything());
  CHECK(census.objects == 7);
  CHECK(census.unassigned == 3);  // without a label, on a dead shard, on one that never was
  CHECK(census.misplaced == 3);   // on b twice, and on the cordoned shard
  CHECK(census.draining == 1);
  CHECK(census.shards.at("a").belonging == 7);
  CHECK(census.shards.at("b").objects == 2);
  CHECK(census.shards.at("never-was").objects == 1);
  CHECK(census.example == "secrets ns/" + of_a);
}

TEST_CASE("objects that the ring does not select are not counted, and those of which that is not known neither") {
  const RingFacts ring = facts::with_members({"a"});
  Selection nowhere = facts::everything();
  nowhere.selector.match_labels = {{"kubernetes.io/metadata.name", "elsewhere"}};
  CHECK(count(ring, {facts::secret("x", "")}, nowhere).objects == 0);
  nowhere.by_name = false;  // the labels of namespaces may not be read
  Counter counter(ring, facts::kSecrets, nowhere);
  counter.count(facts::secret("x", ""));
  counter.count(facts::secret("y", "a"));
  CHECK(counter.census().objects == 1);
  CHECK(counter.uncertain());
}

TEST_CASE("what is not as it ought to be is found, with an example; what moves is no finding") {
  StatusReport report = report_of(facts::with_members({"a"}), {facts::secret("x", "a")});
  CHECK(findings(report).empty());
  CHECK(exit_code_of(report) == ExitCode::kOk);
  report.leader->holder.clear();
  report.rings[0].ring.conditions[0].status = "False";
  report.rings[0].census.unassigned = 2;
  report.rings[0].census.example = "secrets ns/x";
  report.rings[0].certificate_expiry = facts::kNow - std::chrono::seconds(1);
  const auto found = findings(report);
  CHECK(found == std::vector<std::string>{"no replica of the sharder leads: nobody moves objects",
                                          "ring ring: not ready: m",
                                          "ring ring: 2 objects without an available shard, such as secrets ns/x",
                                          "ring ring: the caBundle of the webhook configuration has expired"});
  CHECK(exit_code_of(report) == ExitCode::kFindings);
  report.gaps.push_back({.verb = "list",
                         .resource = "secrets",
                         .error = {.code = ErrorCode::kForbidden, .message = "not allowed to list secrets"}});
  CHECK(exit_code_of(report) == ExitCode::kNotAllowed);
}

TEST_CASE("during a rotation a caBundle is valid as long as one of its certificates") {
  const sharder::testing::TestCa ca;
  const std::string expired =
      ca.issue({.valid_from = std::chrono::hours(-2), .valid_for = std::chrono::hours(-1)}).certificate_pem;
  const std::string valid = ca.issue({}).certificate_pem;
  const auto until = certs::read_certificates(valid)->front().not_after;
  CHECK(last_expiry(expired + valid) == until);
  CHECK(last_expiry(valid + expired) == until);
  CHECK(last_expiry(expired) < until);
  CHECK(last_expiry("") == std::nullopt);
}

TEST_CASE("a shard that has Leases in two namespaces is counted once, as in the table") {
  nlohmann::json elsewhere = facts::lease("ring", "a", "a");
  elsewhere["metadata"]["namespace"] = "other";
  const StatusReport report =
      report_of(facts::with_leases({facts::lease("ring", "a", "a"), elsewhere, facts::lease("ring", "b", "b")}),
                {facts::secret("x", "a"), facts::secret("y", "a"), facts::secret("z", "b")});
  const auto json = to_json(report);
  const auto sum = [&json](const char* field) {
    double all = 0;
    for (const auto& shard : json["rings"][0]["shards"]) {
      all += shard[field].get<double>();
    }
    return all;
  };
  CHECK(json["rings"][0]["shards"].size() == 3);
  CHECK(sum("objects") == 3);
  CHECK(sum("belonging") == 3);
  CHECK(sum("share") == doctest::Approx(1));
}

TEST_CASE("a status has not changed when only time has passed") {
  StatusReport report = report_of(facts::with_members({"a"}), {facts::secret("x", "a")});
  const auto before = without_times(to_json(report));
  report.now += std::chrono::seconds(2);
  report.leader->renewed = report.now;
  *report.rings[0].ring.shards[0].lease.renew_time += std::chrono::seconds(1);
  CHECK(without_times(to_json(report)) == before);
  CHECK(before["rings"][0]["shards"][0]["objects"] == 1);
  report.rings[0].census.misplaced = 1;
  CHECK(without_times(to_json(report)) != before);
}

TEST_CASE("a leader whose Lease has expired does not lead") {
  nlohmann::json lease = facts::lease("", "sharder", "host_1");
  CHECK(decode_leader(lease, facts::kNow).leads());
  CHECK(!decode_leader(lease, facts::kNow + std::chrono::seconds(16)).leads());
  lease["spec"]["holderIdentity"] = "";
  CHECK(!decode_leader(lease, facts::kNow).leads());
}

TEST_CASE("status is readable at 40 columns, and says the same in JSON") {
  const StatusReport report =
      report_of(facts::with_leases({facts::lease("ring", "a", "a"), facts::lease("ring", "b", "")}),
                {facts::secret("x", "a"), facts::secret("y", "b"), facts::secret("z", "gone")});
  const std::string narrow = render_status(report, true, true, {.width = 40});
  std::istringstream lines(narrow);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.size() <= 40);
  }
  CHECK(narrow.contains("no Lease"));
  const std::string wide = render_status(report, true, true, {});
  CHECK(wide.contains("RING   READY   SHARDS   OBJECTS"));
  CHECK(wide.contains("LEASE AGE"));
  const auto json = to_json(report);
  CHECK(json["kind"] == "Status");
  CHECK(json["rings"][0]["objects"] == 3);
  CHECK(json["rings"][0]["unassigned"] == 2);
  CHECK(json["rings"][0]["shards"].size() == 2);
  CHECK(json["rings"][0]["labelsWithoutLease"]["gone"] == 1);
}
