#include "controllerring/reachability_reporter.h"

#include <doctest/doctest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/base64.h"
#include "ring/names.h"
#include "tests/unit/controllerring/harness.h"

// docs/protocol.md, section 5: the leader reports in the condition WebhookReachable whether the API server accepts the
// certificate that it shows.
using namespace sharder;
using namespace sharder::controllerring;
using namespace std::chrono_literals;
using nlohmann::json;
using sharder::testing::ControllerHarness;
using sharder::testing::make_error;

namespace {

// A controller whose webhook shows a certificate of a CA.
struct Case : ControllerHarness {
  explicit Case(const std::string& ca_bundle = "CA") : ControllerHarness(settings(ca_bundle)) {
    controller->report_reachability(
        [this](const std::string& roots, const std::string& host) -> std::optional<Condition> {
          ++checks;
          CHECK(host == "sharder.sharding-system.svc");
          if (roots == shown_by) {
            return std::nullopt;
          }
          return Condition{.status = "False", .reason = "Untrusted", .message = "it trusts " + roots};
        });
    publish({make_ring("r")});
  }
  static WebhookSettings settings(const std::string& ca_bundle) {
    WebhookSettings webhook;
    webhook.client_config.ca_bundle = encode_base64(ca_bundle);
    return webhook;
  }
  void lead_watched() {
    lead();
    open_watch();
  }
  // Somebody puts another caBundle into the configuration, as the watch shows it. With a version of its own it is no
  // field of ours: nothing repairs it.
  void inject(const std::string& ca_bundle) {
    live["webhooks"][0]["clientConfig"]["caBundle"] = encode_base64(ca_bundle);
    show("MODIFIED", live);
    settle();
  }
  // As with the Go project's permissions, until the leader gives it up.
  void refuse_watch() {
    for (int i = 0; i < 20 && !api.streams.back()->cancelled; ++i) {
      api.streams.back()->sink->on_close(make_error(ErrorCode::kForbidden, "403"));
      advance(2s);
    }
  }
  json condition(const std::string& ring = "r") {
    for (const json& each : rings[ring].value("/status/conditions"_json_pointer, json::array())) {
      if (each["type"] == ring::kWebhookReachable) {
        return each;
      }
    }
    return {{"status", "none"}};
  }
  std::size_t writes() const {
    std::size_t count = 0;
    std::string before;
    for (const json& status : statuses) {
      std::string now;
      for (const json& each : status["conditions"]) {
        now += each["type"] == ring::kWebhookReachable ? each.dump() : "";
      }
      count += now == before ? 0 : 1;
      before = now;
    }
    return count;
  }

  std::string shown_by = "CA";
  int checks = 0;
};

// The caBundle belongs to somebody else, as with cert-manager's cainjector.
struct Injected : Case {
  Injected() : Case("") {
    publish({make_ring("r")});
    lead_watched();
    inject("CA");
    advance(1min);
  }
};

}  // namespace

TEST_CASE("a caBundle that trusts the certificate: True within a minute, one write, no Event (protocol, 5)") {
  Case c;
  c.lead_watched();
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
  CHECK(c.condition()["reason"] == "CertificateTrusted");
  CHECK(c.condition()["observedGeneration"] == 1);
  CHECK(c.statuses.size() == 2);  // with Ready's
  CHECK(c.ready(1)["status"] == "True");
  c.advance(1h);
  CHECK(c.statuses.size() == 2);
  CHECK(c.told.empty());
}

TEST_CASE("a foreign caBundle: False within a minute with one Event, and True again within a minute (protocol, 5)") {
  Injected c;
  REQUIRE(c.condition()["status"] == "True");
  const auto applies = c.applies.size();
  c.inject("OTHER");
  c.advance(1min);
  CHECK(c.condition()["status"] == "False");
  CHECK(c.condition()["reason"] == "Untrusted");
  CHECK(c.condition()["message"] == "Webhook configuration controllerring-r: it trusts OTHER");
  CHECK(c.ready(c.statuses.size() - 1)["status"] == "True");  // that keeps its meaning
  REQUIRE(c.told.size() == 1);
  CHECK(c.told[0]["type"] == "Warning");
  CHECK(c.told[0]["reason"] == "WebhookNotReachable");
  CHECK(c.told[0]["message"] == c.condition()["message"]);
  CHECK(c.told[0]["involvedObject"]["name"] == "r");
  c.advance(1min);
  CHECK(c.told.size() == 1);
  c.inject("CA");
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
  CHECK(c.told.size() == 1);
  CHECK(c.statuses.size() == 4);
  CHECK(c.applies.size() == applies);  // it belongs to somebody else
}

TEST_CASE(
    "a change of the certificate, and one that expires, is noticed without a change of the configuration (protocol, "
    "5)") {
  Injected c;
  c.shown_by = "NEXT";
  c.advance(1min);
  CHECK(c.condition()["status"] == "False");
  c.shown_by = "CA";
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
}

TEST_CASE("what is different for a moment alone is not reported") {
  Injected c;
  const auto before = c.statuses.size();
  c.inject("");
  c.advance(3s);
  c.inject("CA");
  c.advance(1min);
  CHECK(c.statuses.size() == before);
  CHECK(c.told.empty());
}

TEST_CASE("a caBundle that changes again and again costs few writes, and one Event for each reason (protocol, 5)") {
  Injected c;
  const auto before = c.statuses.size();
  for (int i = 0; i < 55; ++i) {  // 20 minutes
    c.inject("OTHER");
    c.advance(11s);
    c.inject("CA");
    c.advance(11s);
  }
  CHECK(c.statuses.size() - before <= 65);  // grown pauses are at least 20 s
  CHECK(c.statuses.size() - before > 4);
  CHECK(c.told.size() == 1);
  // When it has been right for a sync period, the next time gets an Event.
  c.advance(11min);
  c.inject("OTHER");
  c.advance(1min);
  CHECK(c.told.size() == 2);
}

TEST_CASE("a new generation is written once, with Ready") {
  Injected c;
  const auto before = c.statuses.size();
  c.publish({c.make_ring("r", 2)});
  c.controller->on_ring_changed("r");
  c.advance(1min);
  CHECK(c.condition()["observedGeneration"] == 2);
  CHECK(c.statuses.size() == before + 1);
}

TEST_CASE("a status that somebody wrote meanwhile is read again; what cannot be written is tried with pauses") {
  Injected c;
  c.status_errors = {make_error(ErrorCode::kConflict, "409"), make_error(ErrorCode::kConflict, "409")};
  c.shown_by = "NEXT";
  c.advance(20s);
  CHECK(c.condition()["status"] == "False");
  c.status_errors = {make_error(ErrorCode::kForbidden, "403"), make_error(ErrorCode::kForbidden, "403"),
                     make_error(ErrorCode::kForbidden, "403")};
  c.shown_by = "CA";
  c.advance(1min);
  CHECK(c.status_errors.empty());
  CHECK(c.condition()["status"] == "True");
  CHECK(c.told.size() == 1);
}

TEST_CASE("a condition that somebody took away comes back within a sync period") {
  Injected c;
  c.rings["r"]["status"]["conditions"] = json::array();
  c.advance(6min);
  CHECK(c.condition()["status"] == "True");
}

TEST_CASE("a new leader that finds what the status says writes nothing and records no Event") {
  Injected c;
  c.inject("OTHER");
  c.advance(1min);
  REQUIRE(c.told.size() == 1);
  const auto before = c.statuses.size();
  c.controller->on_leading(false);
  c.settle();
  c.lead();
  c.advance(5min);
  CHECK(c.condition()["status"] == "False");
  CHECK(c.statuses.size() == before);
  CHECK(c.told.size() == 1);
}

TEST_CASE("when the leadership ends the condition is neither looked at nor written any more") {
  Injected c;
  c.shown_by = "NEXT";
  c.controller->on_leading(false);
  const int checks = c.checks;
  const auto before = c.statuses.size();
  c.advance(5min);
  CHECK(c.checks == checks);
  CHECK(c.statuses.size() == before);
  CHECK_FALSE(c.is_at_work());
}

TEST_CASE("without a webhook configuration the condition is Unknown") {
  Injected c;
  c.apply_errors.assign(100, make_error(ErrorCode::kForbidden, "403"));
  c.show("DELETED", c.live);
  c.live = nullptr;
  c.advance(1min);
  CHECK(c.condition()["status"] == "Unknown");
  CHECK(c.condition()["reason"] == "NoWebhookConfiguration");
  CHECK(c.told.size() == 1);
  CHECK(c.told[0]["reason"] == "ReconciliationFailed");
}

TEST_CASE("where webhook configurations may not be watched, the answer of each apply shows them") {
  Case c;
  c.lead();
  c.refuse_watch();
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
}

TEST_CASE("where they may not be watched, one is read again before it is said to be wrong, and while it is") {
  Case c("");
  c.readable = false;  // except by a patch
  c.lead();
  c.inject("CA");  // behind the apply, as cainjector does for a new ring
  c.refuse_watch();
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
  c.shown_by = "NEXT";  // a renewal
  c.inject("NEXT");
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
  CHECK(c.writes() == 1);
  CHECK(c.told.empty());

  c.inject("OTHER");
  c.advance(6min);
  CHECK(c.condition()["reason"] == "Untrusted");
  CHECK(c.told.size() == 1);
  const auto reads = c.patch_reads;
  c.advance(10min);
  CHECK(c.patch_reads - reads <= 20);
  CHECK(c.writes() == 2);
  c.inject("NEXT");
  c.advance(1min);
  CHECK(c.condition()["status"] == "True");
  CHECK(c.told.size() == 1);
}

TEST_CASE("a ring that is made anew gets a condition of its own") {
  Injected c;
  c.rings.erase("r");
  ring::RingStatus anew = c.make_ring("r");
  anew.spec.uid = "uid-anew";
  c.publish({anew});
  c.rings["r"]["metadata"]["uid"] = "uid-anew";
  c.controller->on_ring_changed("r");
  c.shown_by = "NEXT";
  c.inject("CA");
  c.advance(1min);
  CHECK(c.condition()["status"] == "False");
  for (const json& status : c.statuses) {
    CHECK(status["conditions"].size() <= 2);
  }
}

TEST_CASE("an answer about a ring that was deleted meanwhile says nothing of the one that is made anew") {
  Injected c;
  c.shown_by = "NEXT";
  while (c.api.pending.empty() || c.api.pending.front().request.method != kube::Method::kPut) {
    c.api.pending.empty() ? c.executor.advance(50ms) : c.serve();
    c.executor.run();
  }
  auto late = std::move(c.api.pending.front());
  c.api.pending.pop_front();
  c.controller->on_ring_removed("r");
  c.rings.erase("r");
  ring::RingStatus anew = c.make_ring("r");
  anew.spec.uid = "uid-anew";
  c.publish({anew});
  c.controller->on_ring_added("r");
  c.inject("CA");
  c.advance(ReachabilityReporter::kEvery);  // the new ring has been looked at once
  late.callback(kube::Response{.status = 200, .body = late.request.body});
  c.advance(1min);
  CHECK(c.condition()["status"] == "False");
  REQUIRE(c.told.size() == 1);
  CHECK(c.told[0]["involvedObject"]["uid"] == "uid-anew");
}

TEST_CASE("a ring that goes while its webhook configuration is read gets no condition") {
  Case c("");
  c.lead();
  while (c.api.pending.empty() || !c.api.pending.front().request.target.contains("dryRun")) {
    c.api.pending.empty() ? c.executor.advance(50ms) : c.serve();
    c.executor.run();
  }
  c.publish({});
  c.live = nullptr;
  const auto before = c.statuses.size();
  c.advance(1min);
  CHECK(c.statuses.size() == before);
}
