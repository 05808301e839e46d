#include "membership/membership.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/rfc3339.h"
#include "kube/client/resource.h"
#include "ring/names.h"
#include "tests/support/fake_api.h"

using namespace sharder;
using namespace std::chrono_literals;
using nlohmann::json;
using sharder::kube::Lane;
using sharder::kube::Method;
using sharder::membership::Membership;

namespace {

class Told final : public ring::Listener {
 public:
  explicit Told(const Membership*& membership) : membership_(membership) {}
  void on_ring_added(const std::string& ring) override { note("added " + ring); }
  void on_ring_changed(const std::string& ring) override { note("changed " + ring); }
  void on_ring_removed(const std::string& ring) override { note("removed " + ring); }
  void on_shards_changed(const std::string& ring) override { note("shards " + ring); }
  void on_leading(bool leading) override { lines.push_back(leading ? "leading" : "following"); }
  void on_trouble(const std::string& ring, const std::string& /*what*/, const std::optional<Error>& trouble) override {
    lines.push_back("trouble " + ring + (trouble ? ": " + trouble->message : " is over"));
  }
  std::vector<std::string> take() { return std::exchange(lines, {}); }

 private:
  // What a listener is told of has been published.
  void note(const std::string& line) {
    CHECK(membership_->snapshots().get() != nullptr);
    CHECK(membership_->ring_sets().get() != nullptr);
    lines.push_back(line);
  }
  const Membership*& membership_;
  std::vector<std::string> lines;
};

// A Membership whose API server the test plays. Its watches begin with a list as a stream.
struct Harness {
  testing::FakeClock clock;
  testing::FakeExecutor executor{clock};
  testing::FakeApi api{executor};
  prometheus::Registry registry;
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  WaitGroup leader_work;
  std::unique_ptr<Membership> membership =
      std::make_unique<Membership>(executor, api, clock, &registry, Logger::to_string(lines), leader_work);
  const Membership* view = membership.get();
  Told told{view};

  // It leads, or a write of it is without an answer.
  bool is_at_work() { return !leader_work.wait_for(std::chrono::seconds(0)); }
  Harness() {
    membership->add_listener(told);
    membership->start();
    executor.run();
  }
  ~Harness() {
    membership.reset();
    executor.run();
  }

  kube::StreamSink& rings() { return stream("/controllerrings"); }
  kube::StreamSink& leases() { return stream("/leases"); }
  // The newest watch of a resource.
  kube::StreamSink& stream(const std::string& resource) {
    for (auto each = api.streams.rbegin(); each != api.streams.rend(); ++each) {
      if ((*each)->request.target.contains(resource)) {
        return *(*each)->sink;
      }
    }
    throw std::runtime_error("no watch of " + resource);
  }
  void send(kube::StreamSink& sink, const std::string& type, const json& object) {
    sink.on_data(json({{"type", type}, {"object", object}}).dump() + "\n");
    executor.run();
  }
  void end_list(kube::StreamSink& sink) {
    send(sink, "BOOKMARK",
         {{"kind", "Bookmark"},
          {"metadata", {{"resourceVersion", "1"}, {"annotations", {{"k8s.io/initial-events-end", "true"}}}}}});
  }
  void sync() {
    rings().on_open();
    leases().on_open();
    end_list(rings());
    end_list(leases());
  }

  static json ring_json(const std::string& name, int generation = 1) {
    return {{"metadata", {{"name", name}, {"uid", "ring-uid"}, {"generation", generation}, {"resourceVersion", "1"}}},
            {"spec", {{"resources", {{{"group", ""}, {"resource", "secrets"}}}}}}};
  }
  json lease_json(const std::string& name, const std::string& version, const std::string& holder,
                  const std::string& state = "ready") const {
    const std::string now = format_micro_time(clock.wall());
    return {{"metadata",
             {{"name", name},
              {"namespace", "default"},
              {"uid", "uid-" + name},
              {"resourceVersion", version},
              {"labels", {{ring::kRingLabel, "r"}, {ring::kStateLabel, state}}}}},
            {"spec",
             {{"holderIdentity", holder},
              {"leaseDurationSeconds", 15},
              {"acquireTime", now},
              {"renewTime", now},
              {"leaseTransitions", 0}}}};
  }
  std::vector<std::string> members() const {
    const auto set = membership->ring_sets().get();
    const ring::RingEntry* entry = set ? set->find("r") : nullptr;
    return entry ? entry->ring().shards() : std::vector<std::string>{"(no ring)"};
  }
  // Time passes; probes are answered with `lease` as it stands, everything else is left waiting.
  void pass(std::chrono::seconds time, const json& lease) {
    for (auto passed = 0s; passed < time; passed += 1s) {
      executor.advance(1s);
      answer_probes(lease);
    }
  }
  void answer_probes(const json& lease) {
    while (!api.pending.empty() && is_probe(api.pending.front().request)) {
      api.answer(lease.dump());
      executor.run();
    }
  }
  // A read with the probe's deadline.
  static bool is_probe(const kube::Request& request) {
    return request.method == Method::kGet && request.timeout == 3s && request.target.contains("/leases/");
  }
  std::string metrics() const {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, registry.Collect());
    return text.str();
  }
};

}  // namespace

TEST_CASE("nothing is published before rings and leases have synced, and the reason is known (design, 6.2)") {
  Harness h;
  CHECK(h.membership->not_ready() == "waiting for ControllerRings");
  h.rings().on_open();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.end_list(h.rings());
  CHECK(h.membership->not_ready() == "waiting for shard Leases");
  h.leases().on_open();
  h.send(h.leases(), "ADDED", h.lease_json("a", "1", "a"));
  h.send(h.leases(), "ADDED", h.lease_json("b", "2", ""));
  CHECK_FALSE(h.membership->ring_sets().get());
  CHECK_FALSE(h.membership->snapshots().get());
  CHECK(h.told.take().empty());

  h.end_list(h.leases());
  CHECK_FALSE(h.membership->not_ready());
  CHECK(h.members() == std::vector<std::string>{"a"});
  CHECK(h.membership->ring_sets().get()->version == 1);
  CHECK(h.told.take() == std::vector<std::string>{"added r"});
}

TEST_CASE("the order in which the two lists come does not matter (design, 6.2)") {
  Harness h;
  h.leases().on_open();
  h.send(h.leases(), "ADDED", h.lease_json("a", "1", "a"));
  h.end_list(h.leases());
  CHECK_FALSE(h.membership->ring_sets().get());
  CHECK(h.membership->not_ready() == "waiting for ControllerRings");
  h.rings().on_open();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.end_list(h.rings());
  CHECK(h.members() == std::vector<std::string>{"a"});
}

TEST_CASE("only leases with the ring label are watched (protocol, 9)") {
  Harness h;
  int watches = 0;
  for (const auto& stream : h.api.streams) {
    if (stream->request.target.contains("/leases")) {
      ++watches;
      CHECK(stream->request.target.contains("labelSelector=alpha.sharding.timebertt.dev%2Fcontrollerring"));
    }
  }
  CHECK(watches == 1);
}

TEST_CASE(
    "the reason for not being ready has fixed words; what the API server said is in the log alone (design, 6.12)") {
  Harness h;
  h.rings().on_close(
      Error{.code = ErrorCode::kUnavailable, .message = "GET /apis/...: connection refused", .http_status = 0});
  h.executor.run();
  CHECK(h.membership->not_ready() == "waiting for ControllerRings: unavailable");
  CHECK(h.lines->contains("connection refused"));
}

TEST_CASE("a missing CustomResourceDefinition is logged once, and waited for") {
  Harness h;
  for (int i = 0; i < 5; ++i) {
    h.rings().on_close(Error{.code = ErrorCode::kNotFound, .message = "GET: 404", .http_status = 404});
    h.executor.advance(5s);
    while (!h.api.pending.empty()) {
      h.api.fail(Error{.code = ErrorCode::kNotFound, .message = "GET: 404", .http_status = 404});
      h.executor.run();
    }
  }
  const std::string hint = "CustomResourceDefinition of ControllerRing is not installed";
  const auto first = h.lines->find(hint);
  REQUIRE(first != std::string::npos);
  CHECK(h.lines->find(hint, first + 1) == std::string::npos);
  h.sync();
  CHECK_FALSE(h.membership->not_ready());
}

TEST_CASE("once synced it stays ready during an outage (design, 6.11)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "1", "a"));
  const Error away{.code = ErrorCode::kUnavailable, .message = "connection refused"};
  h.rings().on_close(away);
  h.leases().on_close(away);
  h.executor.advance(10min);
  CHECK_FALSE(h.membership->not_ready());
  CHECK(h.members() == std::vector<std::string>{"a"});
}

TEST_CASE("a renewal publishes nothing, a release at once") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "1", "a"));
  const auto set = h.membership->ring_sets().version();
  const auto snapshot = h.membership->snapshots().version();
  h.told.take();
  for (int version = 2; version < 50; ++version) {
    h.executor.advance(2s);
    h.send(h.leases(), "MODIFIED", h.lease_json("a", std::to_string(version), "a"));
  }
  CHECK(h.membership->ring_sets().version() == set);
  CHECK(h.membership->snapshots().version() == snapshot);
  CHECK(h.told.take().empty());

  h.send(h.leases(), "MODIFIED", h.lease_json("a", "60", ""));
  CHECK(h.members().empty());
  CHECK(h.told.take() == std::vector<std::string>{"shards r"});
  h.send(h.leases(), "DELETED", h.lease_json("a", "61", ""));
  CHECK(h.told.take() == std::vector<std::string>{"shards r"});
  CHECK(h.membership->snapshots().get()->find("r")->shards.empty());
}

TEST_CASE("rings come, change and go") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.rings(), "MODIFIED", Harness::ring_json("r", 2));
  json status = Harness::ring_json("r", 2);
  status["status"] = {{"shards", 3}, {"availableShards", 2}, {"observedGeneration", 2}};
  h.send(h.rings(), "MODIFIED", status);
  CHECK(h.membership->snapshots().get()->find("r")->status_shards == 3);
  h.send(h.rings(), "DELETED", Harness::ring_json("r", 2));
  CHECK(h.told.take() == std::vector<std::string>{"added r", "changed r", "removed r"});
  CHECK(h.membership->ring_sets().get()->rings.empty());
}

TEST_CASE("objects that cannot be decoded are ignored, and that is logged") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", {{"metadata", {{"uid", "x"}, {"resourceVersion", "5"}}}});
  h.send(h.leases(), "ADDED", {{"metadata", {{"name", 7}, {"resourceVersion", "5"}}}});
  CHECK(h.lines->contains("ignoring an object that cannot be decoded"));
  CHECK_FALSE(h.membership->not_ready());
}

TEST_CASE("only the leader acts: the state label is a merge patch with the resourceVersion (protocol, 3)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "5", "a", ""));
  CHECK(h.api.pending.empty());
  CHECK_FALSE(h.is_at_work());

  h.membership->set_leading(true);
  h.executor.run();
  CHECK(h.told.take() == std::vector<std::string>{"added r", "shards r", "leading"});
  REQUIRE(h.api.pending.size() == 1);
  CHECK(h.is_at_work());
  const kube::Request request = h.api.answer(h.lease_json("a", "6", "a", "ready").dump());
  h.executor.run();
  CHECK(request.method == Method::kPatch);
  CHECK(request.target == "/apis/coordination.k8s.io/v1/namespaces/default/leases/a?fieldManager=sharder");
  CHECK(request.content_type == kube::kMergePatch);
  CHECK(json::parse(request.body) ==
        json({{"metadata", {{"uid", "uid-a"}, {"resourceVersion", "5"}, {"labels", {{ring::kStateLabel, "ready"}}}}}}));
  CHECK(h.membership->snapshots().get()->find("r")->shards[0].state == "ready");
  CHECK(h.api.pending.empty());

  h.membership->set_leading(false);
  h.executor.run();
  CHECK(h.told.take() == std::vector<std::string>{"following"});
  CHECK_FALSE(h.is_at_work());
  h.send(h.leases(), "MODIFIED", h.lease_json("a", "7", "", "ready"));
  CHECK(h.api.pending.empty());

  // A write without an answer is waited for, though it leads no more.
  h.membership->set_leading(true);
  h.executor.run();
  REQUIRE(h.api.pending.size() == 1);
  h.membership->set_leading(false);
  h.executor.run();
  CHECK(h.is_at_work());
  h.api.answer(h.lease_json("a", "8", "", "dead").dump());
  h.executor.run();
  CHECK_FALSE(h.is_at_work());
}

TEST_CASE("a dead shard's lease is labelled, read, and taken over with the version of the label (protocol, 3 and 9)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  json lease = h.lease_json("a", "5", "a", "expired");
  h.send(h.leases(), "ADDED", lease);
  h.pass(40s, lease);
  h.membership->set_leading(true);
  h.executor.run();

  // The label.
  REQUIRE(h.api.pending.size() == 1);
  lease["metadata"]["labels"][std::string(ring::kStateLabel)] = "uncertain";
  lease["metadata"]["resourceVersion"] = "6";
  kube::Request request = h.api.answer(lease.dump());
  h.executor.run();
  CHECK(request.method == Method::kPatch);
  CHECK(request.lane == Lane::kUrgent);

  // The quorum read.
  REQUIRE(h.api.pending.size() == 1);
  request = h.api.answer(lease.dump());
  h.executor.run();
  CHECK(request.method == Method::kGet);
  CHECK(request.lane == Lane::kUrgent);
  CHECK(request.target == "/apis/coordination.k8s.io/v1/namespaces/default/leases/a");
  CHECK(h.members() == std::vector<std::string>{"a"});

  // The take-over.
  REQUIRE(h.api.pending.size() == 1);
  request = h.api.pending.front().request;
  CHECK(request.method == Method::kPut);
  CHECK(request.lane == Lane::kUrgent);
  CHECK(request.target == "/apis/coordination.k8s.io/v1/namespaces/default/leases/a?fieldManager=sharder");
  json body = json::parse(request.body);
  CHECK(body["metadata"]["resourceVersion"] == "6");
  CHECK(body["spec"]["holderIdentity"] == "shardlease-controller");
  CHECK(body["spec"]["leaseDurationSeconds"] == 30);
  CHECK(body["spec"]["leaseTransitions"] == 1);
  body["metadata"]["resourceVersion"] = "7";
  h.api.answer(body.dump());
  h.executor.run();
  CHECK(h.members().empty());  // without waiting for the watch
}

TEST_CASE("probes that are not answered keep everything as it is (protocol, 9)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  const json lease = h.lease_json("a", "5", "a", "uncertain");
  h.send(h.leases(), "ADDED", lease);
  h.membership->set_leading(true);
  h.executor.run();
  while (!h.api.pending.empty()) {
    h.api.answer(h.lease_json("a", "5", "a", "uncertain").dump());
    h.executor.run();
  }
  for (int i = 0; i < 60; ++i) {
    h.executor.advance(3s);
    while (!h.api.pending.empty()) {
      CHECK(h.api.pending.front().request.method != Method::kPut);
      h.api.fail(Error{.code = ErrorCode::kTimeout, .message = "no answer"});
      h.executor.run();
    }
  }
  CHECK(h.members() == std::vector<std::string>{"a"});
}

TEST_CASE("every probe is one cheap quorum read with a deadline, and one at a time") {
  Harness h;
  h.sync();
  h.executor.advance(10s);
  CHECK(h.api.pending.empty());  // nobody to probe for
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "5", "a"));
  h.executor.advance(30s);
  REQUIRE(h.api.pending.size() == 1);
  const kube::Request probe = h.api.fail(Error{.code = ErrorCode::kNotFound, .message = "404"});
  CHECK(Harness::is_probe(probe));
  CHECK(probe.lane == Lane::kUrgent);
  CHECK(probe.target == "/apis/coordination.k8s.io/v1/namespaces/default/leases/a");
  h.executor.advance(1900ms);
  CHECK(h.api.pending.empty());
  h.executor.advance(200ms);
  CHECK(h.api.pending.size() == 1);
}

TEST_CASE("a probe's answer that is newer than what the watch shows counts") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "5", "a"));
  h.executor.advance(3s);
  REQUIRE(h.api.pending.size() == 1);
  h.api.answer(h.lease_json("a", "6", "").dump());
  h.executor.run();
  CHECK(h.members().empty());
}

TEST_CASE("an orphan is deleted with uid and resourceVersion (protocol, 9)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "5", "", "orphaned"));
  for (int minute = 0; minute < 2; ++minute) {
    h.executor.advance(1min);
    h.send(h.rings(), "BOOKMARK", json::object());
    h.send(h.leases(), "BOOKMARK", json::object());
  }
  h.membership->set_leading(true);
  h.executor.run();
  REQUIRE(h.api.pending.size() == 1);
  const kube::Request request = h.api.answer("{}");
  h.executor.run();
  CHECK(request.method == Method::kDelete);
  const json preconditions = json::parse(request.body)["preconditions"];
  CHECK(preconditions == json({{"uid", "uid-a"}, {"resourceVersion", "5"}}));
  CHECK(h.api.pending.empty());
}

TEST_CASE("a shard whose name is no label value gets one Event, and no place in the ring (protocol, 4)") {
  Harness h;
  h.sync();
  h.membership->set_leading(true);
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  const std::string name(64, 'x');
  h.send(h.leases(), "ADDED", h.lease_json(name, "5", name));
  h.send(h.leases(), "MODIFIED", h.lease_json(name, "6", name));
  CHECK(h.members().empty());
  int told = 0;
  for (const auto& pending : h.api.pending) {
    if (pending.request.target.contains("/events")) {
      ++told;
      CHECK(pending.request.body.contains("InvalidShardName"));
      CHECK(pending.request.body.contains("Warning"));
    }
  }
  CHECK(told == 1);
}

TEST_CASE("listeners are notified once of a lasting failure, and once of its end; it stays ready") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "5", "a", ""));
  h.membership->set_leading(true);
  h.executor.run();
  h.told.take();
  const Error full{.code = ErrorCode::kUnavailable, .message = "500: no space", .http_status = 500};
  int tries = 0;
  const auto refuse = [&](std::chrono::seconds time) {
    for (auto passed = 0ms; passed < time; passed += 100ms) {
      for (; !h.api.pending.empty(); h.executor.run()) {
        if (Harness::is_probe(h.api.pending.front().request)) {
          h.api.answer(h.lease_json("a", "5", "a", "").dump());  // reads work
        } else {
          ++tries;
          h.api.fail(full);
        }
      }
      h.executor.advance(100ms);
    }
  };
  refuse(9s);
  CHECK(h.told.take().empty());
  refuse(4s);
  CHECK(h.told.take() == std::vector<std::string>{"trouble r: cannot set a shard lease's state label: 500: no space"});
  CHECK(h.lines->contains("no space"));
  CHECK_FALSE(h.membership->not_ready());
  const int before = tries;
  refuse(70s);
  CHECK(tries <= before + 10);
  CHECK(h.told.take().empty());
  // A shard renews again: writes work.
  h.send(h.leases(), "MODIFIED", h.lease_json("a", "6", "a", ""));
  while (!h.api.pending.empty()) {
    h.api.answer(h.lease_json("a", "7", "a").dump());
    h.executor.run();
  }
  CHECK(h.told.take() == std::vector<std::string>{"trouble r is over"});
}

TEST_CASE("a watch of shard Leases that fails for long is in the condition of each ring while it leads (design, 6.9)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.membership->set_leading(true);
  h.executor.run();
  h.told.take();
  const Error forbidden{.code = ErrorCode::kForbidden, .message = "403", .http_status = 403};
  h.leases().on_close(forbidden);
  for (int tries = 0; tries < 100; ++tries) {
    h.executor.advance(100ms);
    if (!h.api.streams.back()->cancelled && h.api.streams.back()->request.target.contains("/leases")) {
      h.leases().on_close(forbidden);
    }
    while (!h.api.pending.empty()) {
      h.api.fail(forbidden);
      h.executor.run();
    }
  }
  const std::string trouble = ": list and watch leases.coordination.k8s.io: 403";
  CHECK(h.told.take() == std::vector<std::string>{"trouble r" + trouble});
  CHECK_FALSE(h.membership->not_ready());

  h.send(h.rings(), "ADDED", Harness::ring_json("new"));
  CHECK(h.told.take() == std::vector<std::string>{"added new", "trouble new" + trouble});
  h.membership->set_leading(false);
  h.executor.run();
  CHECK(h.told.take() == std::vector<std::string>{"following", "trouble new is over", "trouble r is over"});
  h.membership->set_leading(true);
  h.executor.run();
  CHECK(h.told.take() == std::vector<std::string>{"leading", "trouble new" + trouble, "trouble r" + trouble});
  h.send(h.rings(), "DELETED", Harness::ring_json("new"));
  CHECK(h.told.take() == std::vector<std::string>{"removed new", "trouble new is over"});

  h.executor.advance(3s);
  h.leases().on_open();
  h.end_list(h.leases());
  CHECK(h.told.take() == std::vector<std::string>{"trouble r is over"});
}

TEST_CASE("each computation of a ring is counted (protocol, 8)") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "1", "a"));
  h.send(h.leases(), "ADDED", h.lease_json("b", "2", "b"));
  h.send(h.leases(), "MODIFIED", h.lease_json("b", "3", "b"));
  CHECK(h.metrics().contains("controller_sharding_ring_calculations_total{controllerring=\"r\"} 3"));
  CHECK(h.lines->contains("shard joined the ring"));
}

TEST_CASE("a Lease that is deleted while its shard holds it is counted and named, every other one is not") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  const auto count = [&](int wanted) {
    return h.metrics().contains("controller_sharding_shard_leases_deleted_total{controllerring=\"r\"} " +
                                std::to_string(wanted) + "\n");
  };
  CHECK(count(0));
  for (const auto* name : {"held", "released", "anew"}) {
    h.send(h.leases(), "ADDED", h.lease_json(name, "1", name));
  }
  SUBCASE("released, and then deleted") {
    h.send(h.leases(), "MODIFIED", h.lease_json("released", "2", ""));
    h.send(h.leases(), "DELETED", h.lease_json("released", "3", ""));
    CHECK(count(0));
  }
  SUBCASE("deleted") {
    h.send(h.leases(), "DELETED", h.lease_json("held", "2", "held"));
    CHECK(count(1));
    CHECK(h.lines->contains("a shard lease was deleted while its shard held it"));
  }
  SUBCASE("deleted and made anew before the watch has shown that") {
    auto again = h.lease_json("anew", "2", "anew");
    again["metadata"]["uid"] = "another";
    h.send(h.leases(), "MODIFIED", again);
    CHECK(count(1));
  }
}

TEST_CASE("many events make one RingSet") {
  Harness h;
  h.rings().on_open();
  h.leases().on_open();
  h.end_list(h.rings());
  h.end_list(h.leases());
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  const auto before = h.membership->ring_sets().version();
  for (int i = 0; i < 100; ++i) {
    h.leases().on_data(
        json({{"type", "ADDED"}, {"object", h.lease_json("s" + std::to_string(i), std::to_string(200 + 2 * i), "x")}})
            .dump() +
        "\n");
    h.leases().on_data(
        json({{"type", "MODIFIED"},
              {"object", h.lease_json("s" + std::to_string(i), std::to_string(201 + 2 * i), "s" + std::to_string(i))}})
            .dump() +
        "\n");
  }
  h.executor.run();
  CHECK(h.members().size() == 100);
  CHECK(h.membership->ring_sets().version() == before + 1);
}

TEST_CASE("what comes after its end is ignored") {
  Harness h;
  h.sync();
  h.send(h.rings(), "ADDED", Harness::ring_json("r"));
  h.send(h.leases(), "ADDED", h.lease_json("a", "5", "a", ""));
  h.membership->set_leading(true);
  h.executor.run();
  REQUIRE(h.api.pending.size() == 1);
  h.membership->set_leading(false);
  h.membership.reset();
  h.api.answer(h.lease_json("a", "6", "a").dump());
  h.executor.advance(1min);
  CHECK(h.told.take().back() == "leading");
}
