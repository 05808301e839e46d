#include "membership/lease_keeper.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/rfc3339.h"
#include "membership/lease_requests.h"

using namespace sharder;
using namespace sharder::membership;
using namespace std::chrono_literals;
using Source = LeaseKeeper::Source;

namespace {

// A keeper that leads, with the ring "r", and a clock.
struct Keeper {
  LeaseKeeper keeper{1};
  Now now{.wall = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1), .steady = SteadyTime(1h)};

  Keeper() {
    keeper.ring_shown("r");
    keeper.set_leading(true);
    keeper.watch_opened();
  }
  // Time passes with a probe answered every 2 s.
  void pass(std::chrono::seconds time) {
    for (auto passed = 0s; passed < time; passed += 1s) {
      now.wall += 1s;
      now.steady += 1s;
      if (passed.count() % 2 == 0) {
        keeper.probe_succeeded(now);
      }
    }
  }
  ShardLease lease(const std::string& version, const std::string& label, WallTime renewed,
                   const std::string& holder = "a") const {
    ShardLease lease;
    lease.id = {"default", "a"};
    lease.uid = "u";
    lease.resource_version = version;
    lease.ring = "r";
    lease.state_label = label;
    lease.holder_identity = holder;
    lease.lease_duration = 15s;
    lease.acquire_time = lease.renew_time = renewed;
    return lease;
  }
  // A lease that is uncertain, labelled so, and without a renewal for long enough.
  Action read_before_take_over() {
    keeper.upsert(lease("1", "uncertain", now.wall - 1min), Source::kWatch, now);
    pass(20s);
    auto actions = keeper.due(now);
    REQUIRE(actions.size() == 1);
    REQUIRE(actions[0].kind == ActionKind::kRead);
    CHECK(actions[0].precondition == kube::Precondition::of("1"));
    return actions[0];
  }
  static ActionAnswer answer(const ShardLease& lease) {
    const nlohmann::json document = {
        {"metadata", {{"name", lease.id.name}, {"resourceVersion", lease.resource_version}}}};
    return {.lease = lease, .document = document.dump()};
  }
};

}  // namespace

TEST_CASE("a take-over goes on only with the version it was decided on (protocol, 9; design, 6.4)") {
  Keeper k;
  const ShardLease seen = k.lease("1", "uncertain", k.now.wall - 1min);
  const Action read = k.read_before_take_over();
  SUBCASE("the same version: PUT, with its resourceVersion") {
    k.keeper.finished(read, Keeper::answer(seen), k.now);
    const auto actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kTakeOver);
    const auto body = nlohmann::json::parse(actions[0].body.value().text());
    CHECK(body["metadata"]["resourceVersion"] == "1");
    CHECK(body["spec"]["holderIdentity"] == "shardlease-controller");
    CHECK(body["spec"]["leaseDurationSeconds"] == 30);
    CHECK(body["spec"]["renewTime"] == format_micro_time(k.now.wall));
  }
  SUBCASE("a renewal: none") {
    k.keeper.finished(read, Keeper::answer(k.lease("2", "uncertain", k.now.wall)), k.now);
    const auto actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kSetLabel);
    CHECK(actions[0].state == LeaseState::kReady);
    CHECK(actions[0].precondition == kube::Precondition::of("2"));
  }
  SUBCASE("a newer version without a renewal: decided anew, and read again") {
    auto labelled = seen;
    labelled.resource_version = "2";
    k.keeper.finished(read, Keeper::answer(labelled), k.now);
    const auto actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kRead);
    CHECK(actions[0].precondition == kube::Precondition::of("2"));
  }
  SUBCASE("another object of that name: none, and the watch has to show it first") {
    auto other = seen;
    other.uid = "v";
    k.keeper.finished(read, Keeper::answer(other), k.now);
    CHECK(k.keeper.due(k.now).empty());
    k.now.steady += 1s;
    CHECK(k.keeper.due(k.now).empty());
  }
  SUBCASE("an answer that makes no sense: none") {
    k.keeper.finished(read, ActionAnswer{.lease = std::nullopt, .document = "nonsense"}, k.now);
    CHECK(k.keeper.due(k.now).empty());
  }
  SUBCASE("the leadership ended meanwhile: none") {
    k.keeper.set_leading(false);
    k.keeper.finished(read, Keeper::answer(seen), k.now);
    CHECK(k.keeper.due(k.now).empty());
    CHECK_FALSE(k.keeper.next_due());
  }
  SUBCASE("the ring went meanwhile: none") {
    k.keeper.ring_removed("r");
    k.keeper.finished(read, Keeper::answer(seen), k.now);
    CHECK(k.keeper.due(k.now).empty());
  }
  SUBCASE("the lease went meanwhile: none") {
    k.keeper.remove(read.lease);
    k.keeper.finished(read, Keeper::answer(seen), k.now);
    CHECK(k.keeper.due(k.now).empty());
  }
  SUBCASE("the read fails: the observation begins anew") {
    k.keeper.finished(read, fail(ErrorCode::kTimeout, "no answer"), k.now);
    k.pass(10s);
    CHECK(k.keeper.due(k.now).empty());
    k.pass(20s);
    const auto actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kRead);
  }
}

TEST_CASE("a take-over that fails again and again is tried after growing pauses") {
  Keeper k;
  const ShardLease seen = k.lease("1", "uncertain", k.now.wall - 1min);
  Action read = k.read_before_take_over();
  std::vector<std::chrono::nanoseconds> pauses;
  for (int i = 0; i < 8; ++i) {
    k.keeper.finished(read, Keeper::answer(seen), k.now);
    auto actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    REQUIRE(actions[0].kind == ActionKind::kTakeOver);
    k.keeper.finished(actions[0], fail(ErrorCode::kForbidden, "no"), k.now);
    REQUIRE(k.keeper.due(k.now).empty());
    const auto next = k.keeper.next_due();
    REQUIRE(next);
    pauses.push_back(*next - k.now.steady);
    k.now.steady = *next;
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    read = actions[0];
  }
  CHECK(pauses.front() <= 1s);
  CHECK(pauses.back() >= 30s);
  CHECK(pauses.back() <= 1min);
}

TEST_CASE("one action is under way for a lease at a time, and each carries uid and version (design, 6.5)") {
  Keeper k;
  k.keeper.upsert(k.lease("7", "", k.now.wall), Source::kWatch, k.now);
  auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  CHECK(actions[0].kind == ActionKind::kSetLabel);
  CHECK(actions[0].uid == "u");
  CHECK(actions[0].precondition == kube::Precondition::of("7"));
  k.keeper.upsert(k.lease("8", "", k.now.wall), Source::kWatch, k.now);
  CHECK(k.keeper.due(k.now).empty());
  SUBCASE("it met the version that has come meanwhile: at once again with that") {
    k.keeper.finished(actions[0], fail(ErrorCode::kConflict, "conflict"), k.now);
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kSetLabel);
    CHECK(actions[0].precondition == kube::Precondition::of("8"));
  }
  SUBCASE("it met one that the watch has not shown yet: read, after a pause") {
    k.keeper.finished(actions[0], fail(ErrorCode::kConflict, "conflict"), k.now);
    actions = k.keeper.due(k.now);
    k.keeper.finished(actions[0], fail(ErrorCode::kConflict, "conflict"), k.now);
    CHECK(k.keeper.due(k.now).empty());
    k.now.steady = *k.keeper.next_due();
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kRead);
    k.keeper.finished(actions[0], Keeper::answer(k.lease("9", "", k.now.wall)), k.now);
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kSetLabel);
    CHECK(actions[0].precondition == kube::Precondition::of("9"));
  }
}

TEST_CASE("answers to our requests are ahead of the watch, and what it shows late is ignored") {
  Keeper k;
  k.keeper.upsert(k.lease("5", "", k.now.wall), Source::kWatch, k.now);
  CHECK(k.keeper.upsert(k.lease("9", "dead", k.now.wall, ""), Source::kAnswer, k.now));
  CHECK_FALSE(k.keeper.upsert(k.lease("7", "ready", k.now.wall), Source::kWatch, k.now));
  CHECK_FALSE(k.keeper.find({"default", "a"})->held());
  CHECK_FALSE(k.keeper.upsert(k.lease("8", "ready", k.now.wall), Source::kAnswer, k.now));
  SUBCASE("but not for ever: an etcd restored from a backup counts on from a lower number") {
    k.pass(31s);
    CHECK(k.keeper.upsert(k.lease("3", "ready", k.now.wall), Source::kWatch, k.now));
    CHECK(k.keeper.find({"default", "a"})->held());
  }
  SUBCASE("nor behind a new list: the server's data may be an older copy") {
    k.keeper.list_begins();
    CHECK(k.keeper.upsert(k.lease("3", "ready", k.now.wall), Source::kWatch, k.now));
    CHECK(k.keeper.find({"default", "a"})->held());
  }
  SUBCASE("nor for a new object of that name") {
    auto other = k.lease("6", "", k.now.wall);
    other.uid = "v";
    CHECK(k.keeper.upsert(other, Source::kWatch, k.now));
  }
  SUBCASE("an answer about what the watch does not show is ignored") {
    auto other = k.lease("10", "", k.now.wall);
    other.uid = "v";
    CHECK_FALSE(k.keeper.upsert(other, Source::kAnswer, k.now));
    other = k.lease("10", "", k.now.wall);
    other.ring = "";
    CHECK_FALSE(k.keeper.upsert(other, Source::kAnswer, k.now));
    other.id.name = "unknown";
    CHECK_FALSE(k.keeper.upsert(other, Source::kAnswer, k.now));
  }
}

TEST_CASE("a lease that is shown without a resourceVersion is read before anything is written (design, 6.5)") {
  Keeper k;
  k.keeper.upsert(k.lease("", "", k.now.wall), Source::kWatch, k.now);
  auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  CHECK(actions[0].kind == ActionKind::kRead);
  CHECK_FALSE(actions[0].precondition);
  SUBCASE("it has one: on with it") {
    k.keeper.finished(actions[0], Keeper::answer(k.lease("7", "", k.now.wall)), k.now);
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kSetLabel);
    CHECK(actions[0].precondition == kube::Precondition::of("7"));
  }
  SUBCASE("it has none: nothing is written, and it is read again with growing pauses") {
    int reads = 1;
    for (int second = 0; second < 300; ++second) {
      for (const Action& action : std::exchange(actions, {})) {
        CHECK(action.kind == ActionKind::kRead);
        const auto answer = read_answer(action, kube::Response{.status = 200, .body = R"({"metadata":{"name":"a"}})"});
        REQUIRE_FALSE(answer);
        k.keeper.finished(action, std::unexpected(answer.error()), k.now);
      }
      k.pass(1s);
      actions = k.keeper.due(k.now);
      reads += static_cast<int>(actions.size());
    }
    CHECK(reads > 3);
    CHECK(reads < 15);
  }
}

TEST_CASE("an orphan is deleted once, and again only when the watch still shows it") {
  Keeper k;
  k.keeper.upsert(k.lease("1", "orphaned", k.now.wall - 10min, ""), Source::kWatch, k.now);
  auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  CHECK(actions[0].kind == ActionKind::kDelete);
  CHECK(actions[0].uid == "u");
  CHECK(actions[0].precondition == kube::Precondition::of("1"));
  k.keeper.finished(actions[0], ActionAnswer{}, k.now);
  CHECK(k.keeper.due(k.now).empty());
  SUBCASE("it is gone") {
    k.keeper.remove({"default", "a"});
    k.pass(10s);
    CHECK(k.keeper.due(k.now).empty());
    CHECK(k.keeper.find({"default", "a"}) == nullptr);
  }
  SUBCASE("its shard was back in between: not deleted") {
    k.keeper.upsert(k.lease("2", "ready", k.now.wall), Source::kWatch, k.now);
    CHECK(k.keeper.due(k.now).empty());
  }
  SUBCASE("the watch does not come: tried again") {
    k.pass(3s);
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kDelete);
    k.keeper.finished(actions[0], fail(ErrorCode::kNotFound, "gone"), k.now);
    CHECK(k.keeper.due(k.now).empty());
  }
}

TEST_CASE("the probe reads the held lease that has gone longest without a renewal") {
  Keeper k;
  CHECK_FALSE(k.keeper.probe_target());
  auto b = k.lease("1", "ready", k.now.wall, "b");
  b.id.name = "b";
  auto released = k.lease("1", "dead", k.now.wall, "");
  released.id.name = "c";
  k.keeper.upsert(released, Source::kWatch, k.now);
  CHECK_FALSE(k.keeper.probe_target());
  k.keeper.upsert(b, Source::kWatch, k.now);
  k.keeper.upsert(k.lease("1", "ready", k.now.wall), Source::kWatch, k.now);
  k.pass(4s);
  b.renew_time = k.now.wall;
  k.keeper.upsert(b, Source::kWatch, k.now);
  CHECK(k.keeper.probe_target() == LeaseId{"default", "a"});
}

TEST_CASE("a bare renewal gives the leader nothing to do, and a standby nothing to remember") {
  Keeper k;
  k.keeper.upsert(k.lease("1", "ready", k.now.wall), Source::kWatch, k.now);
  CHECK(k.keeper.due(k.now).empty());
  for (int version = 2; version < 100; ++version) {
    k.pass(2s);
    k.keeper.upsert(k.lease(std::to_string(version), "ready", k.now.wall), Source::kWatch, k.now);
    REQUIRE(k.keeper.due(k.now).empty());
    REQUIRE(k.keeper.next_due() == k.now.steady + 15s);
  }
  k.keeper.set_leading(false);
  k.keeper.upsert(k.lease("200", "ready", k.now.wall), Source::kWatch, k.now);
  CHECK_FALSE(k.keeper.next_due());
}

TEST_CASE("a lease is looked at within a minute: somebody may set the wall clock") {
  Keeper k;
  auto lease = k.lease("1", "ready", k.now.wall);
  lease.lease_duration = std::chrono::seconds(2147483647);
  k.keeper.upsert(lease, Source::kWatch, k.now);
  CHECK(k.keeper.due(k.now).empty());
  CHECK(k.keeper.next_due() == k.now.steady + 1min);
  k.now.steady += 1min;
  k.now.wall += std::chrono::years(100);
  const auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  CHECK(actions[0].state == LeaseState::kExpired);
}

TEST_CASE("an error of another kind begins its pauses anew") {
  Keeper k;
  k.keeper.upsert(k.lease("1", "", k.now.wall), Source::kWatch, k.now);
  for (int i = 0; i < 10; ++i) {
    auto actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    k.keeper.finished(actions[0], fail(ErrorCode::kForbidden, "no"), k.now);
    k.keeper.due(k.now);
    k.now.steady = *k.keeper.next_due();
  }
  auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  k.keeper.finished(actions[0], fail(ErrorCode::kUnavailable, "away"), k.now);
  k.keeper.due(k.now);
  CHECK(*k.keeper.next_due() - k.now.steady <= 2s);
}

TEST_CASE("a state label that somebody strips is set again with growing pauses, that of another state at once") {
  Keeper k;
  int version = 1;
  int labels = 0;
  // A shard that renews every 2 s, and writes its Lease without our label.
  const auto renew = [&] {
    k.keeper.upsert(k.lease(std::to_string(++version), "", k.now.wall), Source::kWatch, k.now);
  };
  const auto act = [&] {
    for (const Action& action : k.keeper.due(k.now)) {
      REQUIRE(action.kind == ActionKind::kSetLabel);
      ++labels;
      const ShardLease* const seen = k.keeper.find(action.lease);
      k.keeper.finished(
          action,
          Keeper::answer(k.lease(std::to_string(++version), std::string(to_string(action.state)), *seen->renew_time)),
          k.now);
    }
  };
  for (auto passed = 0s; passed < 1h; passed += 2s) {
    k.pass(2s);
    renew();
    act();
  }
  CHECK(labels > 12);
  CHECK(labels < 40);
  // It is not renewed any more: the next states are labelled as they come.
  labels = 0;
  k.pass(16s);
  act();
  CHECK(k.keeper.find({"default", "a"})->state_label == "expired");
  CHECK(labels == 1);
  // And what has lasted ends the pauses.
  renew();
  act();
  for (auto passed = 0s; passed < 10min; passed += 2s) {
    k.pass(2s);
    k.keeper.upsert(k.lease(std::to_string(++version), "ready", k.now.wall), Source::kWatch, k.now);
    act();
  }
  CHECK(labels == 2);
  renew();
  act();
  CHECK(labels == 3);
}

TEST_CASE("a take-over does not wait for a state label that somebody strips") {
  Keeper k;
  int version = 0;
  const WallTime renewed = k.now.wall - 1min;
  const auto strip = [&] { k.keeper.upsert(k.lease(std::to_string(++version), "", renewed), Source::kWatch, k.now); };
  strip();
  std::optional<Action> read;
  for (auto passed = 0s; passed < 20s && !read; passed += 1s) {
    k.pass(2s);
    for (const Action& action : k.keeper.due(k.now)) {
      if (action.kind == ActionKind::kRead) {
        read = action;
        break;
      }
      REQUIRE(action.kind == ActionKind::kSetLabel);
      k.keeper.finished(action, Keeper::answer(k.lease(std::to_string(++version), "uncertain", renewed)), k.now);
      strip();
    }
  }
  REQUIRE(read);
  k.keeper.finished(*read, Keeper::answer(k.lease(std::to_string(version), "", renewed)), k.now);
  const auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  CHECK(actions[0].kind == ActionKind::kTakeOver);
}

TEST_CASE("a lasting failure is given out once for all leases of the ring, and is over with the last of them") {
  Keeper k;
  const auto lease = [&](const std::string& name, const std::string& label) {
    ShardLease made = k.lease("1", label, k.now.wall);
    made.id.name = made.holder_identity = name;
    return made;
  };
  for (const char* name : {"a", "b"}) {
    k.keeper.upsert(lease(name, ""), Source::kWatch, k.now);
  }
  const auto refuse = [&](const Error& error, std::chrono::seconds time) {
    std::size_t told = 0;
    for (auto passed = 0s; passed < time; passed += 1s) {
      for (const Action& action : k.keeper.due(k.now)) {
        k.keeper.finished(action, std::unexpected(error), k.now);
      }
      for (const LeaseTrouble& trouble : k.keeper.take_troubles()) {
        CHECK(trouble.ring == "r");
        CHECK(trouble.error.has_value());
        ++told;
      }
      k.now.steady += 1s;
    }
    return told;
  };
  CHECK(refuse({.code = ErrorCode::kUnavailable, .message = "connection refused"}, 1min) == 0);
  CHECK(refuse({.code = ErrorCode::kConflict, .message = "409", .http_status = 409}, 1min) == 0);
  CHECK(refuse({.code = ErrorCode::kUnavailable, .message = "500", .http_status = 500}, 1min) == 1);
  CHECK(refuse({.code = ErrorCode::kForbidden, .message = "403", .http_status = 403}, 5min) == 1);
  k.keeper.remove({"default", "a"});
  CHECK(k.keeper.take_troubles().empty());
  k.keeper.remove({"default", "b"});
  const auto over = k.keeper.take_troubles();
  REQUIRE(over.size() == 1);
  CHECK_FALSE(over[0].error);
}

TEST_CASE("a lease in grace is taken over when that is over in healthy time, not sooner (decision 11)") {
  Keeper k;
  k.keeper.ring_shown("r", 30s);
  const ShardLease released = k.lease("1", "dead", k.now.wall, "");
  k.keeper.upsert(released, Source::kWatch, k.now);
  CHECK(k.keeper.due(k.now).empty());
  CHECK(k.keeper.probe_target() == released.id);  // else no time would pass
  k.pass(29s);
  CHECK(k.keeper.due(k.now).empty());
  k.pass(4s);
  auto actions = k.keeper.due(k.now);
  REQUIRE(actions.size() == 1);
  REQUIRE(actions[0].kind == ActionKind::kRead);

  SUBCASE("the same version: it is taken over") {
    k.keeper.finished(actions[0], Keeper::answer(released), k.now);
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kTakeOver);
    CHECK(nlohmann::json::parse(actions[0].body.value().text())["spec"]["holderIdentity"] == "shardlease-controller");
  }
  SUBCASE("the shard has come back meanwhile: it is not") {
    k.keeper.finished(actions[0], Keeper::answer(k.lease("2", "", k.now.wall, "a")), k.now);
    actions = k.keeper.due(k.now);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].kind == ActionKind::kSetLabel);
    CHECK(actions[0].state == LeaseState::kReady);
  }
  SUBCASE("the grace period is longer now: it is not") {
    k.keeper.ring_shown("r", 1h);
    k.keeper.finished(actions[0], Keeper::answer(released), k.now);
    CHECK(k.keeper.due(k.now).empty());
  }
}

TEST_CASE("without an observation there is no grace that is over: probes that fail, and a watch that is lost") {
  Keeper k;
  k.keeper.ring_shown("r", 30s);
  k.keeper.upsert(k.lease("1", "dead", k.now.wall, ""), Source::kWatch, k.now);
  k.now.steady += 10min;
  k.now.wall += 10min;
  k.keeper.probe_succeeded(k.now);
  CHECK(k.keeper.due(k.now).empty());
  k.keeper.watch_lost();
  k.pass(60s);
  CHECK(k.keeper.due(k.now).empty());
}
