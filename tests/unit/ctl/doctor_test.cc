#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/base64.h"
#include "certs/authority.h"
#include "controllerring/webhook_configuration.h"
#include "ctl/access.h"
#include "ctl/finding.h"
#include "ctl/replicas.h"
#include "ctl/ring_checks.h"
#include "ctl/suspects.h"
#include "tests/unit/ctl/facts.h"

using namespace sharder;
using namespace sharder::ctl;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

bool has(const std::vector<Finding>& findings, Check check) {
  return std::ranges::find(findings, check, &Finding::check) != findings.end();
}

std::string message_of(const std::vector<Finding>& findings, Check check) {
  const auto found = std::ranges::find(findings, check, &Finding::check);
  return found == findings.end() ? "" : found->message;
}

std::optional<Check> suspected(const RingFacts& ring, const RingResource& resource, const kube::ObjectMeta& object) {
  rebalancer::Placement placement;
  const auto suspicion = suspicion_of(ring, resource, facts::everything(), object, placement);
  return suspicion ? std::optional(suspicion->check) : std::nullopt;
}

membership::ShardLease decoded(const json& lease) {
  return *membership::decode_shard_lease(lease.dump());
}

kube::ObjectMeta draining(kube::ObjectMeta object) {
  object.labels.emplace_back(ring::drain_label("ring"), "a");
  return object;
}

// A ring with the members a and b, a dead shard, and the name of a Secret that belongs to a.
struct World {
  RingFacts ring = facts::with_leases(
      {facts::lease("ring", "a", "a"), facts::lease("ring", "b", "b"), facts::lease("ring", "dead", "")});
  std::string of_a = facts::name_for(ring, "a");
};

}  // namespace

TEST_SUITE("doctor: objects") {
  TEST_CASE("an object where it belongs, or on its way there, is no suspect") {
    const World world;
    CHECK_FALSE(suspected(world.ring, facts::kSecrets, facts::secret(world.of_a, "a")));
    CHECK_FALSE(suspected(world.ring, facts::kSecrets, draining(facts::secret(world.of_a, "b"))));
    CHECK_FALSE(suspected(world.ring, facts::kConfigMaps, facts::config_map("c", world.of_a, "a")));
  }

  TEST_CASE("each way to be in the wrong place has a check of its own") {
    const World world;
    CHECK(suspected(world.ring, facts::kSecrets, facts::secret(world.of_a, "")) == Check::kUnassigned);
    CHECK(suspected(world.ring, facts::kSecrets, facts::secret(world.of_a, "dead")) == Check::kOnDeadShard);
    CHECK(suspected(world.ring, facts::kSecrets, facts::secret(world.of_a, "never")) == Check::kOnUnknownShard);
    CHECK(suspected(world.ring, facts::kSecrets, facts::secret(world.of_a, "b")) == Check::kMisplaced);
    CHECK(suspected(world.ring, facts::kConfigMaps, facts::config_map("c", world.of_a, "b")) == Check::kAwayFromOwner);
  }

  TEST_CASE("without members, or when the ring does not select the object, nothing is wrong") {
    const RingFacts empty = facts::with_leases({facts::lease("ring", "dead", "")});
    CHECK_FALSE(suspected(empty, facts::kSecrets, facts::secret("s", "dead")));
    const World world;
    Selection others;
    others.selector.match_labels = {{"kubernetes.io/metadata.name", "other"}};
    rebalancer::Placement placement;
    CHECK_FALSE(suspicion_of(world.ring, facts::kSecrets, others, facts::secret(world.of_a, ""), placement));
  }

  TEST_CASE("a shard in grace keeps its objects") {
    json object = facts::ring("ring");
    object["metadata"]["annotations"][ring::kGracePeriodAnnotation] = "2m";
    for (const bool grace : {false, true}) {
      std::vector<RingFacts> rings{*decode_ring_facts(grace ? object : facts::ring("ring"))};
      enrol(rings, {decoded(facts::lease("ring", "a", "a")), decoded(facts::lease("ring", "back-soon", ""))},
            facts::kNow);
      const std::string name = facts::name_for(facts::with_members({"a", "back-soon"}), "back-soon");
      CHECK(suspected(rings[0], facts::kSecrets, facts::secret(name, "back-soon")).has_value() == !grace);
    }
  }

  TEST_CASE("suspects are counted, and a few are kept") {
    const World world;
    const Selection all = facts::everything();
    Suspects suspects(world.ring, facts::kSecrets, all);
    for (int i = 0; i < 40; ++i) {
      suspects.consider(facts::secret("s-" + std::to_string(i), ""));
    }
    REQUIRE(suspects.found().size() == 1);
    CHECK(suspects.found().at(Check::kUnassigned).count == 40);
    CHECK(suspects.found().at(Check::kUnassigned).examples.size() == Suspects::kExamples);
  }

  TEST_CASE("a controlled object on the shard of its misplaced owner is misplaced, not away from it") {
    const World world;
    const Suspect suspect{.object = facts::config_map("c", world.of_a, "b"),
                          .suspicion = {.check = Check::kAwayFromOwner, .shard = "b", .desired = "a"}};
    const Finding away = finding_of(world.ring, facts::kConfigMaps, suspect, 1, "a");
    CHECK(away.check == Check::kAwayFromOwner);
    CHECK(away.object == "configmaps ns/c");
    CHECK(away.message == "it is on b, its owner Secret/" + world.of_a + " is on a");
    CHECK(finding_of(world.ring, facts::kConfigMaps, suspect, 1, "b").check == Check::kMisplaced);
  }

  TEST_CASE("a drain is overdue after its time, and a shard that renews and lets go of nothing hangs") {
    const World world;
    const auto findings = [&world](std::vector<DrainFacts> drains) {
      Drains all(facts::kNow, 5min);
      for (DrainFacts& drain : drains) {
        all.add(std::move(drain));
      }
      return all.findings(world.ring);
    };
    const auto drain = [](const char* name, const char* shard, std::optional<std::chrono::minutes> age) {
      return DrainFacts{
          .object = name, .shard = shard, .since = age ? std::optional<WallTime>(facts::kNow - *age) : std::nullopt};
    };
    CHECK(findings({drain("secrets ns/x", "a", 4min), drain("secrets ns/y", "a", std::nullopt)}).empty());

    const auto hung = findings({drain("secrets ns/x", "a", 6min), drain("secrets ns/y", "a", 7min)});
    REQUIRE(hung.size() == 1);
    CHECK(hung[0].check == Check::kShardHangs);
    CHECK(hung[0].object == "leases shards/a");
    CHECK(hung[0].message.contains("any of 2 objects, such as secrets ns/y for 7m"));

    const auto slow = findings({drain("secrets ns/x", "a", 6min), drain("secrets ns/y", "a", 1min)});
    REQUIRE(slow.size() == 1);
    CHECK(slow[0].check == Check::kDrainOverdue);
    CHECK(slow[0].object == "secrets ns/x");
    CHECK(slow[0].count == 1);

    CHECK(has(findings({drain("secrets ns/x", "dead", 6min)}), Check::kDrainOverdue));  // it renews nothing
    CHECK(has(findings({drain("secrets ns/x", "", 0min)}), Check::kDrainWithoutShard));
  }
}

TEST_SUITE("doctor: rings and shards") {
  TEST_CASE("a ring with ready shards has no finding") {
    CHECK(examine_ring(facts::with_members({"a", "b"}), facts::kNow).empty());
  }

  TEST_CASE("a ring that is not ready, or has no available shard") {
    RingFacts ring = facts::with_leases({});
    CHECK(message_of(examine_ring(ring, facts::kNow), Check::kNoMembers).starts_with("0 Leases"));
    CHECK_FALSE(has(examine_ring(ring, facts::kNow), Check::kRingNotReady));
    ring.conditions[0].status = "False";
    CHECK(message_of(examine_ring(ring, facts::kNow), Check::kRingNotReady) == "m");
    ring.conditions.clear();
    CHECK(message_of(examine_ring(ring, facts::kNow), Check::kRingNotReady) == "no sharder has looked at it");
  }

  TEST_CASE("the same Lease name in two namespaces, and a name that is no label value") {
    json other = facts::lease("ring", "a", "a");
    other["metadata"]["namespace"] = "elsewhere";
    const auto twice = examine_ring(facts::with_leases({facts::lease("ring", "a", "a"), other}), facts::kNow);
    CHECK(message_of(twice, Check::kLeaseTwice).contains("elsewhere, shards"));
    CHECK_FALSE(has(twice, Check::kNameTooLong));
    const std::string name(64, 'x');
    const auto long_name = examine_ring(facts::with_leases({facts::lease("ring", name, name)}), facts::kNow);
    CHECK(message_of(long_name, Check::kNameTooLong).contains("64 characters"));
  }

  TEST_CASE("a Lease that is held and not renewed") {
    const RingFacts ring = facts::with_members({"a"});
    RingFacts later = ring;
    later.shards[0].state = membership::LeaseState::kExpired;
    CHECK_FALSE(has(examine_ring(ring, facts::kNow), Check::kLeaseNotRenewed));
    CHECK(message_of(examine_ring(later, facts::kNow + 20s), Check::kLeaseNotRenewed).contains("20s ago, expired"));
  }

  TEST_CASE("two rings with the same main resource, and a Lease of no ring") {
    std::vector<RingFacts> rings{*decode_ring_facts(facts::ring("one"))};
    CHECK(examine_shared_resources(rings, "").empty());
    rings.push_back(*decode_ring_facts(facts::ring("two")));
    CHECK(message_of(examine_shared_resources(rings, ""), Check::kSharedResource).contains("one, two"));
    CHECK(examine_shared_resources(rings, "three").empty());

    const auto strays =
        enrol(rings, {*membership::decode_shard_lease(facts::lease("gone", "a", "a").dump())}, facts::kNow);
    const auto found = examine_strays(strays);
    REQUIRE(found.size() == 1);
    CHECK(found[0].object == "leases shards/a");
    CHECK(examine_strays({}).empty());
  }

  TEST_CASE("a resource that is not served") {
    const Finding found = examine_unknown_resource(facts::with_members({"a"}), "things.example.com");
    CHECK(found.check == Check::kUnknownResource);
    CHECK(found.message == "the API server serves no things.example.com");
  }
}

namespace {

// The ring's webhook configuration as the sharder applies it.
json configuration_of(const RingFacts& ring, const std::string& ca_pem = "") {
  controllerring::WebhookSettings settings;
  settings.client_config.url = "https://127.0.0.1:9443";
  settings.client_config.ca_bundle = ca_pem.empty() ? "" : encode_base64(ca_pem);
  return json::parse(controllerring::webhook_configuration(ring.object.spec, settings));
}

certs::Authority authority(std::chrono::seconds lifetime = 24h * 30) {
  return *certs::make_authority("test", facts::kNow, lifetime);
}

std::string chain(const certs::Authority& of, const char* address, std::chrono::seconds lifetime = 24h * 30) {
  return certs::issue({.common_name = "sharder", .ip_addresses = {address}, .now = facts::kNow, .lifetime = lifetime},
                      of)
      ->certificate_chain_pem;
}

}  // namespace

TEST_SUITE("doctor: the webhook") {
  TEST_CASE("a configuration as the sharder applies it has no finding, with a url and with a Service") {
    const RingFacts ring = facts::with_members({"a"});
    CHECK(examine_webhook(ring, configuration_of(ring), std::nullopt, facts::kNow).empty());
    const json service = json::parse(controllerring::webhook_configuration(ring.object.spec, {}));
    CHECK(changed_fields(ring, service).empty());
  }

  TEST_CASE("one that is missing, or that somebody has changed") {
    const RingFacts ring = facts::with_members({"a"});
    CHECK(has(examine_webhook(ring, json(), std::nullopt, facts::kNow), Check::kWebhookMissing));
    const auto changed = [&ring](const char* pointer, json value) {
      json live = configuration_of(ring);
      live[json::json_pointer(pointer)] = std::move(value);
      return message_of(examine_webhook(ring, live, std::nullopt, facts::kNow), Check::kWebhookChanged);
    };
    CHECK(changed("/webhooks/0/rules", json::array()) == "somebody else has changed: rules");
    CHECK(changed("/webhooks/0/failurePolicy", "Fail").ends_with("failurePolicy"));
    CHECK(changed("/webhooks/0/objectSelector", json::object()).ends_with("objectSelector"));
    CHECK(changed("/webhooks/0/clientConfig/url", "https://127.0.0.1:9443/other").ends_with("clientConfig.url"));
    CHECK(changed("/webhooks/0/name", "other").ends_with("webhooks"));
    CHECK(changed("/metadata/ownerReferences", json::array()).ends_with("ownerReferences"));
    CHECK(changed("/webhooks/0/namespaceSelector", json::object()).empty());  // the ring has none: it is configured
    RingFacts with_selector = ring;
    with_selector.object.spec.namespace_selector =
        ring::LabelSelector{.match_labels = {{"a", "b"}}, .match_expressions = {}};
    CHECK(changed_fields(with_selector, configuration_of(ring)) == std::vector<std::string>{"namespaceSelector"});
  }

  TEST_CASE("where the webhook is called") {
    const RingFacts ring = facts::with_members({"a"});
    const auto target = webhook_target(configuration_of(ring));
    REQUIRE(target);
    CHECK(target->host == "127.0.0.1");
    CHECK(target->port == "9443");
    CHECK_FALSE(target->is_service);
    json live = configuration_of(ring);
    live["webhooks"][0]["clientConfig"]["url"] = "https://[::1]/x";
    CHECK(webhook_target(live)->host == "::1");
    CHECK(webhook_target(live)->port == "443");
    const auto service = webhook_target(json::parse(controllerring::webhook_configuration(ring.object.spec, {})));
    CHECK(service->host == "sharder.sharding-system.svc");
    CHECK(service->is_service);
    CHECK_FALSE(webhook_target(json::object()));
  }

  TEST_CASE("the certificate that is shown, against the caBundle") {
    const RingFacts ring = facts::with_members({"a"});
    const certs::Authority ours = authority();
    const auto examine = [&ring](const certs::Authority& trusted, const std::string& shown,
                                 WallTime now = facts::kNow) {
      return examine_webhook(ring, configuration_of(ring, trusted.certificate_pem),
                             ServedCertificate{.where = "127.0.0.1:9443", .chain_pem = shown}, now);
    };
    CHECK(examine(ours, chain(ours, "127.0.0.1")).empty());
    CHECK(message_of(examine(authority(), chain(ours, "127.0.0.1")), Check::kCertificateNotTrusted)
              .starts_with("the caBundle does not trust it (checked: the certificate that 127.0.0.1:9443 shows"));
    CHECK(message_of(examine(ours, chain(ours, "127.0.0.2")), Check::kCertificateNotTrusted)
              .starts_with("the certificate is not for the name 127.0.0.1"));
    CHECK(examine(ours, chain(ours, "127.0.0.1"), facts::kNow + 24h * 26).empty());
    const auto late = examine(ours, chain(ours, "127.0.0.1", 24h * 31), facts::kNow + 24h * 28);
    REQUIRE(late.size() == 2);  // the bundle and the certificate have less than a tenth of their life
    CHECK(late[0].check == Check::kCertificateExpires);
    CHECK(late[0].message.starts_with("the caBundle expires at 2026-12-23"));
    CHECK(late[1].message.starts_with("the certificate that 127.0.0.1:9443 shows expires at 2026-12-24"));
    CHECK(has(examine(ours, chain(ours, "127.0.0.1"), facts::kNow + 24h * 40), Check::kCertificateNotTrusted));
  }

  TEST_CASE("without the certificate, the sharder's own condition counts, and the finding says so") {
    RingFacts ring = facts::with_members({"a"});
    ring.conditions.push_back({.type = "WebhookReachable", .status = "True", .reason = "R", .message = "fine"});
    CHECK(examine_webhook(ring, configuration_of(ring), std::nullopt, facts::kNow).empty());
    ring.conditions.back() = {.type = "WebhookReachable", .status = "False", .reason = "R", .message = "not trusted"};
    CHECK(message_of(examine_webhook(ring, configuration_of(ring), std::nullopt, facts::kNow),
                     Check::kCertificateNotTrusted)
              .contains("checked: the ring's condition WebhookReachable"));
  }

  TEST_CASE("a dry run shows whether the webhook answers") {
    const RingFacts ring = facts::with_members({"a"});
    CHECK(examine_dry_run(ring, {.outcome = DryRun::Outcome::kLabelled}).empty());
    const auto silent = examine_dry_run(ring, {.outcome = DryRun::Outcome::kNotLabelled, .object = "secrets ns/x"});
    REQUIRE(has(silent, Check::kWebhookSilent));
    CHECK(silent[0].object == "secrets ns/x");
    CHECK(message_of(examine_dry_run(ring, {.reason = "why"}), Check::kWebhookNotChecked) == "why");
  }
}

TEST_SUITE("doctor: the sharder") {
  TEST_CASE("what the sharder may not is named by resource") {
    CHECK(examine_access("ring", "sharding-system/sharder", {}).empty());
    const auto found = examine_access("ring", "sharding-system/sharder",
                                      {{.verb = "list", .resource = {.group = "", .resource = "secrets"}},
                                       {.verb = "patch", .resource = {.group = "", .resource = "secrets"}}});
    REQUIRE(found.size() == 1);
    CHECK(found[0].object == "serviceaccounts sharding-system/sharder");
    CHECK(found[0].message == "it may not list, patch secrets");
    CHECK(needs_of_ring(facts::with_members({"a"})).size() == 6);  // list, watch and patch of two resources
  }

  TEST_CASE("a leader that is gone") {
    CHECK(examine_leader({.lease = "s/sharder", .holder = "x"}).empty());
    CHECK(message_of(examine_leader({.lease = "s/sharder"}), Check::kNoLeader).starts_with("nobody holds it"));
    CHECK(message_of(examine_leader({.lease = "s/sharder", .holder = "x", .expired = true}), Check::kNoLeader)
              .starts_with("x does not renew it"));
  }

  TEST_CASE("replicas of two versions") {
    const SharderPod one{.object_namespace = "s", .name = "p-1", .image = "sharder:1"};
    SharderPod other = one;
    CHECK(examine_images({one, other}).empty());
    other.name = "p-2";
    other.image = "sharder:2";
    CHECK(message_of(examine_images({one, other}), Check::kVersionsApart) ==
          "there are sharder:1 (s/p-1), sharder:2 (s/p-2)");
  }

  TEST_CASE("a replica that answers with another ring") {
    const RingFacts ring = facts::with_members({"a", "b"});
    CHECK(examine_answers(ring, {{.pod = "s/p", .asked = 8}}).empty());
    CHECK(has(examine_answers(ring, {{.pod = "s/p", .asked = 8, .wrong = 1}}), Check::kReplicasDisagree));
    CHECK(has(examine_answers(ring, {{.pod = "s/p", .failure = "503"}}), Check::kNotAnswered));
  }

  TEST_CASE("a replica is asked for names of which each member has some") {
    const RingFacts ring = facts::with_members({"a", "b", "c"});
    const auto names = probe_names(ring, facts::kSecrets);
    CHECK(names.size() == 12);
    for (const char* const member : {"a", "b", "c"}) {
      CHECK(std::ranges::count(names, member, [](const auto& name) { return name.second; }) == 4);
    }
    for (const auto& [name, shard] : names) {
      CHECK(ring.entry->ring().owner("/Secret/default/" + name) == shard);
    }
  }

  TEST_CASE("the shard in an answer to an admission review") {
    const json patch = {{{"op", "add"}, {"path", "/metadata/labels"}, {"value", json::object()}},
                        {{"op", "add"}, {"path", "/metadata/labels/shard.x~1ring"}, {"value", "a"}}};
    CHECK(answered_shard({{"response", {{"patch", encode_base64(patch.dump())}}}}) == "a");
    CHECK_FALSE(answered_shard({{"response", {{"allowed", true}}}}));
    const json review = probe_review(facts::kSecrets, "x");
    CHECK(review["request"]["dryRun"] == true);
    CHECK(review["request"]["object"]["metadata"]["namespace"] == "default");
  }

  TEST_CASE("what could not be read is named once, with verb and resource") {
    const Gap forbidden{.verb = "list",
                        .resource = "secrets",
                        .error = {.code = ErrorCode::kForbidden, .message = "not allowed to list secrets: 403"}};
    const auto found = findings_of({forbidden, forbidden});
    REQUIRE(found.size() == 1);
    CHECK(found[0].check == Check::kNotPermitted);
    CHECK(found[0].advice.contains("list on secrets"));
    Gap away = forbidden;
    away.error.code = ErrorCode::kUnavailable;
    CHECK(findings_of({away})[0].check == Check::kNotAnswered);
  }
}

TEST_SUITE("doctor: findings") {
  TEST_CASE("codes are unique and in order, and errors stand first") {
    CHECK(std::ranges::is_sorted(checks(), {}, &CheckFacts::code));
    CHECK(std::ranges::adjacent_find(checks(), {}, &CheckFacts::name) == checks().end());
    std::vector<Finding> findings{{.check = Check::kSharedResource},
                                  {.check = Check::kMisplaced},
                                  {.check = Check::kNoLeader},
                                  {.check = Check::kUnassigned}};
    sort_findings(findings);
    CHECK(findings[0].check == Check::kUnassigned);
    CHECK(findings[1].check == Check::kNoLeader);
    CHECK(findings[3].check == Check::kSharedResource);
  }

  TEST_CASE("the threshold decides about the exit code") {
    const std::vector<Finding> warning{{.check = Check::kMisplaced}};
    CHECK(exit_code_of({}, Severity::kWarning) == ExitCode::kOk);
    CHECK(exit_code_of(warning, Severity::kWarning) == ExitCode::kFindings);
    CHECK(exit_code_of(warning, Severity::kError) == ExitCode::kOk);
    CHECK(exit_code_of({{.check = Check::kCertManager}}, Severity::kWarning) == ExitCode::kOk);
  }

  TEST_CASE("a finding is shown with its object, what to do, and its page") {
    CHECK(render_findings({}, {}) == "no findings\n");
    const Finding finding{.check = Check::kUnassigned,
                          .ring = "ring",
                          .object = "secrets ns/x",
                          .message = "it has no shard label",
                          .advice = "look",
                          .count = 3};
    CHECK(render_findings({finding}, {}) ==
          "SHD101 error unassigned\n"
          "  ring:   ring\n"
          "  object: secrets ns/x, and 2 more\n"
          "  found:  it has no shard label\n"
          "  do:     look\n"
          "  page:   docs/operate/doctor/SHD101.md\n");
    const auto document = to_json(std::vector<Finding>{finding});
    CHECK(document[0]["code"] == "SHD101");
    CHECK(document[0]["severity"] == "error");
    CHECK(document[0]["count"] == 3);
  }
}
