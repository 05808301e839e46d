#include "shard/lease_internal.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <optional>
#include <stdexcept>

#include "base/rfc3339.h"
#include "kube/election/election_driver.h"
#include "tests/support/lease_world.h"
#include "tests/support/threaded_lease_server.h"

using namespace sharder;
using namespace std::chrono_literals;
using kube::Method;
using nlohmann::json;
using testing::Fate;
using World = testing::LeaseWorld;
using Words = std::vector<std::string>;

namespace {

constexpr const char* kRingLabel = "alpha.sharding.timebertt.dev/controllerring";
constexpr const char* kStateLabel = "alpha.sharding.timebertt.dev/state";

shard::Options options_of_a() {
  return {.ring = "r", .name = "a", .lease_namespace = "ns"};
}

// The Lease of the shard "a", in the test's time.
struct Shard {
  explicit Shard(World& world, std::uint64_t seed = 1)
      : clock(world.clock),
        driver(std::make_shared<kube::ElectionDriver>(
            world.server, clock, shard::election_options(options_of_a()),
            kube::LeaderElection::Callbacks{.on_elected =
                                                [this, &world] {
                                                  CHECK(driver->valid());
                                                  told.emplace_back("acquired");
                                                  acquired_at = world.clock.steady();
                                                },
                                            .on_lost =
                                                [this, &world] {
                                                  CHECK_FALSE(driver->valid());
                                                  told.emplace_back("lost");
                                                  lost_at = world.clock.steady();
                                                }},
            Logger::to_string(lines), world.shared, seed)) {}

  void start() const { driver->post_start(); }
  bool logged(std::string_view text) const { return lines->contains(text); }
  bool named_a_twin() const { return logged("give each shard a name of its own"); }

  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  testing::MachineClock clock;
  Words told;
  SteadyTime acquired_at{};
  SteadyTime lost_at{};
  std::shared_ptr<kube::ElectionDriver> driver;
};

// What another writes now.
json record(const World& world, const std::string& holder, int seconds = 15) {
  const std::string now = format_micro_time(world.clock.wall() + 7us);  // its clock is not quite ours
  return {{"holderIdentity", holder},
          {"leaseDurationSeconds", seconds},
          {"acquireTime", now},
          {"renewTime", now},
          {"leaseTransitions", 3}};
}

Error unavailable() {
  return {.code = ErrorCode::kUnavailable, .message = "away"};
}

}  // namespace

TEST_CASE_FIXTURE(World, "a shard creates its Lease with the ring label and these fields (protocol, 3)") {
  Shard a(*this);
  a.start();
  executor.run();
  CHECK(a.told == Words{"acquired"});
  CHECK(server.lease["metadata"]["name"] == "a");
  CHECK(server.lease["metadata"]["namespace"] == "ns");
  CHECK(server.lease["metadata"]["labels"] == json{{kRingLabel, "r"}});
  CHECK(server.lease["spec"] == json{{"holderIdentity", "a"},
                                     {"leaseDurationSeconds", 15},
                                     {"acquireTime", "2026-01-01T00:00:00.000000Z"},
                                     {"renewTime", "2026-01-01T00:00:00.000000Z"},
                                     {"leaseTransitions", 0}});
}

TEST_CASE_FIXTURE(World, "a shard renews its Lease every couple of seconds, and takes times and durations as given") {
  shard::Options options = options_of_a();
  options.lease_duration = 6'500ms;
  options.renew_deadline = 4s;
  options.retry_period = 1s;
  const kube::LeaderElectionOptions election = shard::election_options(options);
  CHECK(election.lease_duration == 6'500ms);
  CHECK(election.renew_deadline == 4s);
  CHECK(election.retry_period == 1s);

  Shard a(*this);
  a.start();
  executor.advance(60s);
  CHECK(server.writes >= 30);
  CHECK(server.writes <= 40);
  CHECK(spec("renewTime") > "2026-01-01T00:00:57");
  CHECK(a.driver->valid_until() > clock.boot() + 7s);
  CHECK(a.told == Words{"acquired"});
}

TEST_CASE("a shard that acquires its Lease anew looks for the state label soon, and then less and less") {
  enum class Before { kNone, kReleased, kHeld };
  for (const auto before : {Before::kNone, Before::kReleased, Before::kHeld}) {
    for (const bool is_set : {true, false}) {
      CAPTURE(static_cast<int>(before));
      CAPTURE(is_set);
      World world;
      if (before != Before::kNone) {
        world.server.set_spec(record(world, before == Before::kHeld ? "a" : ""));
      }
      Shard a(world);
      a.start();
      while (a.told.empty()) {
        world.executor.advance(10ms);
      }
      const auto renewals_in = [&world](std::chrono::seconds time) {
        const int writes = world.server.writes;
        world.executor.advance(time);
        return world.server.writes - writes;
      };
      const bool looks = before != Before::kHeld;
      CHECK(renewals_in(1s) == (looks ? 4 : 0));
      if (is_set) {
        world.server.set_labels({{kRingLabel, "r"}, {kStateLabel, "ready"}});
        world.executor.advance(500ms);
        CHECK(a.driver->seen_label() == (looks ? "ready" : ""));
      } else {
        CHECK(renewals_in(1s) == (looks ? 2 : 1));
      }
      CHECK(renewals_in(10s) <= 7);
    }
  }
}

TEST_CASE("the next renewal puts the ring label back, and keeps the labels of others") {
  for (const json& before : {json{{kStateLabel, "ready"}, {"team", "blue"}},
                             json{{kRingLabel, "other"}, {kStateLabel, "ready"}, {"team", "blue"}}, json(nullptr)}) {
    CAPTURE(before);
    json after = before.is_null() ? json::object() : before;
    after[kRingLabel] = "r";
    {
      World world;
      Shard a(world);
      a.start();
      world.executor.advance(5s);
      world.server.set_labels(before);
      world.executor.advance(2s);
      CHECK(world.server.lease["metadata"]["labels"] == after);
      CHECK(a.told == Words{"acquired"});
    }
    {
      World world;
      world.server.set_spec(record(world, ""));  // it was there before
      world.server.set_labels(before);
      after.erase(kStateLabel);  // of another tenure: the sharder writes it anew (decision 9)
      Shard a(world);
      a.start();
      world.executor.run();
      CHECK(world.server.lease["metadata"]["labels"] == after);
      CHECK(a.told == Words{"acquired"});
    }
  }
}

TEST_CASE_FIXTURE(World,
                  "the state label that the sharder writes is kept, and its conflict with a renewal is no loss") {
  Shard a(*this);
  a.start();
  int conflicts = 0;
  server.fate = [&](const kube::Request& request) {
    conflicts += request.method == Method::kGet ? 1 : 0;  // a renewal begins with a write
    return Fate{.until_applied = 10ms, .until_answered = 20ms};
  };
  executor.advance(5s);
  for (const char* state : {"ready", "expired", "uncertain", "ready"}) {
    conflicts = 0;
    server.set_labels({{kRingLabel, "r"}, {kStateLabel, state}});
    executor.advance(2s);
    CHECK(conflicts == 1);
    CHECK(server.lease["metadata"]["labels"] == json{{kRingLabel, "r"}, {kStateLabel, state}});
    CHECK(a.driver->valid_until() > clock.boot() + 7s);
  }
  CHECK(a.told == Words{"acquired"});
  CHECK_FALSE(a.named_a_twin());
}

TEST_CASE_FIXTURE(World, "a Lease that cannot be renewed is lost renew_deadline after the last good renewal was sent") {
  Shard a(*this);
  a.start();
  SteadyTime sent{};
  bool away = false;
  Fate fate{};
  SUBCASE("nobody answers") {
    fate = {.lost = true};
  }
  SUBCASE("connections are refused") {
    fate = {.refused = unavailable()};
  }
  SUBCASE("renewals arrive, and no answer comes back") {
    fate = {.until_answered = 1h};
  }
  server.fate = [&](const kube::Request&) {
    sent = away ? sent : clock.steady();
    return away ? fate : Fate{.until_applied = 200ms, .until_answered = 500ms};
  };
  executor.advance(21s);
  away = true;
  executor.advance(7s);
  CHECK(a.told == Words{"acquired"});
  executor.advance(60s);
  CHECK(a.told == Words{"acquired", "lost"});
  CHECK(a.lost_at == sent + 10s);
  // It is tried for all the while. What is there is what this process has written last, so it need not wait.
  away = false;
  executor.advance(7s);
  CHECK(a.told == Words{"acquired", "lost", "acquired"});
  CHECK_FALSE(a.named_a_twin());
}

TEST_CASE_FIXTURE(World, "a Lease is lost at once when the machine has slept for too long") {
  Shard a(*this);
  a.start();
  executor.advance(5s);
  REQUIRE(a.driver->valid());
  a.clock.slept = 10s;
  CHECK_FALSE(a.driver->valid());  // without a timer, and before the callback
  server.fate = [](const kube::Request&) { return Fate{.lost = true}; };
  executor.advance(1s);
  CHECK(a.told == Words{"acquired", "lost"});
}

TEST_CASE_FIXTURE(World, "a Lease that the sharder has taken over is lost, and not acquired before that has expired") {
  Shard a(*this);
  a.start();
  executor.advance(5s);
  server.set_spec(record(*this, "shardlease-controller", 30));
  const int writes = server.writes;
  executor.advance(2s);
  CHECK(a.told == Words{"acquired", "lost"});
  const SteadyTime seen = a.lost_at;
  SUBCASE("nobody touches it") {
    executor.advance(seen + 30s - 1ns - clock.steady());
    CHECK(server.writes == writes);
    executor.advance(1ns);
    CHECK(server.lease["spec"]["leaseTransitions"] == 4);
  }
  SUBCASE("it is released") {
    server.set_spec(record(*this, ""));
    executor.advance(2s);
  }
  SUBCASE("the sharder deletes it") {
    server.lease = nullptr;
    executor.advance(2s);
    CHECK(server.lease["metadata"]["labels"] == json{{kRingLabel, "r"}});
  }
  CHECK(a.told == Words{"acquired", "lost", "acquired"});
  CHECK(holder() == "a");
}

TEST_CASE_FIXTURE(World,
                  "a Lease that was deleted is lost, as its objects are; then it is created with the ring label") {
  Shard a(*this);
  a.start();
  executor.advance(5s);
  SUBCASE("the next renewal shows it") {}
  SUBCASE("a read shows it, because the renewal before failed") {
    server.fate = [](const kube::Request&) { return Fate{.refused = unavailable()}; };
    executor.advance(2s);
    server.fate = [](const kube::Request&) { return Fate{}; };
  }
  server.lease = nullptr;
  for (int i = 0; i < 200 && a.driver->valid(); ++i) {
    executor.advance(10ms);
  }
  CHECK(a.told == Words{"acquired", "lost"});
  CHECK(server.lease.is_null());  // an attempt that has lost it does not make it
  executor.advance(2s);
  CHECK(a.told == Words{"acquired", "lost", "acquired"});
  CHECK(a.driver->was_taken());
  CHECK(holder() == "a");
  CHECK(server.lease["metadata"]["labels"] == json{{kRingLabel, "r"}});
}

TEST_CASE_FIXTURE(World,
                  "a Lease that another process renews under the same name is lost, with an error that says why") {
  Shard a(*this);
  a.start();
  executor.advance(5s);
  const int own = server.writes;
  for (int i = 0; i < 20; ++i) {
    server.set_spec(record(*this, "a"));
    executor.advance(2s);
  }
  CHECK(a.told == Words{"acquired", "lost"});
  CHECK(a.lost_at <= SteadyTime(1h) + 7s);
  CHECK(a.named_a_twin());
  CHECK(server.writes == own + 20);  // nothing was written over it
  // The other one ends.
  executor.advance(20s);
  CHECK(a.told == Words{"acquired", "lost", "acquired"});
  CHECK(a.acquired_at >= SteadyTime(1h) + 43s + 15s);  // its last renewal came at 43 s
}

TEST_CASE_FIXTURE(World, "of two processes with one name the second waits, until the first has ended") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    World world;
    world.server.fate = [](const kube::Request&) { return Fate{.until_applied = 30ms, .until_answered = 50ms}; };
    Shard first(world, seed);
    Shard second(world, seed + 1000);
    first.start();
    world.executor.advance(std::chrono::milliseconds(3000 + 37 * seed));
    second.start();
    world.executor.advance(60s);
    CHECK(first.told == Words{"acquired"});
    CHECK(second.told.empty());
    CHECK(second.named_a_twin());
    CHECK_FALSE(first.named_a_twin());
    const SteadyTime valid_until{first.driver->valid_until().time_since_epoch()};
    first.driver.reset();  // SIGKILL
    world.executor.advance(20s);
    CHECK(second.told == Words{"acquired"});
    CHECK(second.acquired_at > valid_until);
  }
}

TEST_CASE_FIXTURE(World, "a Lease that an earlier process has left is acquired two retry periods later (decision 9)") {
  server.set_spec(record(*this, "a"));
  Shard a(*this);
  const SteadyTime began = clock.steady();
  SUBCASE("nobody renews it") {
    a.start();
    executor.advance(4s - 1ns);
    CHECK(a.told.empty());
    executor.advance(1ns);
    CHECK(a.told == Words{"acquired"});
    CHECK_FALSE(a.named_a_twin());
    CHECK(server.lease["spec"]["leaseTransitions"] == 3);
  }
  SUBCASE("the sharder labels it meanwhile") {
    a.start();
    executor.advance(3s);
    server.set_labels({{kRingLabel, "r"}, {kStateLabel, "expired"}});
    executor.advance(1s);
    CHECK(a.told == Words{"acquired"});
    CHECK(server.lease["metadata"]["labels"][kStateLabel] == "expired");
  }
  SUBCASE("it is renewed once more: for its whole duration it is another's") {
    a.start();
    executor.advance(3s);
    server.set_spec(record(*this, "a"));
    executor.advance(15s);
    CHECK(a.told.empty());
    CHECK(a.named_a_twin());
    executor.advance(4s);
    CHECK(a.told == Words{"acquired"});
  }
  SUBCASE("it is renewed just when it is acquired") {
    server.fate = [&](const kube::Request& request) {
      if (request.method == Method::kPut && clock.steady() < began + 5s) {
        server.set_spec(record(*this, "a"));
      }
      return Fate{};
    };
    a.start();
    executor.advance(18s);
    CHECK(a.told.empty());
    executor.advance(4s);
    CHECK(a.told == Words{"acquired"});
  }
  SUBCASE("a Lease of a short duration is not waited for longer than that") {
    server.set_spec(record(*this, "a", 1));
    a.start();
    executor.advance(1s);
    CHECK(a.told == Words{"acquired"});
  }
}

TEST_CASE_FIXTURE(World, "after an outage a new process acquires its Lease long before the sharder takes it over") {
  server.set_spec(record(*this, "a"));
  Shard a(*this);
  SteadyTime ended{};
  Fate fate{};
  SUBCASE("connections are refused") {
    fate = {.refused = unavailable()};
  }
  SUBCASE("requests hang") {
    fate = {.lost = true};
  }
  server.fate = [&](const kube::Request&) { return fate; };
  a.start();
  executor.advance(60s);
  ended = clock.steady();
  fate = {};
  // Decision 2: at the earliest 15 s after the end, less the retry_period between the last renewal and the outage.
  executor.advance(13s);
  CHECK(a.told == Words{"acquired"});
  CHECK(a.acquired_at < ended + 10s);
}

TEST_CASE_FIXTURE(World, "renewals whose answers were lost are known as this process's own") {
  for (std::chrono::milliseconds late = 0ms; late <= 9s; late += 300ms) {
    CAPTURE(late.count());
    World world;
    Shard a(world);
    a.start();
    world.executor.advance(4s);
    bool once = true;
    world.server.fate = [&](const kube::Request& request) {
      const bool first = request.method == Method::kPut && std::exchange(once, false);
      return first ? Fate{.until_applied = late, .until_answered = 1h} : Fate{.until_answered = 10ms};
    };
    world.executor.advance(3s);
    world.server.set_labels({{kRingLabel, "r"}, {kStateLabel, "ready"}});  // the next renewal meets a conflict too
    world.executor.advance(30s);
    CHECK(a.told == Words{"acquired"});
    CHECK_FALSE(a.named_a_twin());
  }
}

TEST_CASE_FIXTURE(World, "what the Lease was before is known, even if the answer to its first write was lost") {
  bool taken = false;
  SUBCASE("there was none") {
    taken = true;
  }
  SUBCASE("it was released") {
    server.set_spec(record(*this, ""));
    taken = true;
  }
  SUBCASE("it was another's") {
    server.set_spec(record(*this, "shardlease-controller"));
    taken = true;
  }
  SUBCASE("it was held under this name all the time") {
    server.set_spec(record(*this, "a"));
  }
  int writes = 0;
  server.fate = [&](const kube::Request& request) {
    return request.method != Method::kGet && ++writes == 1 ? Fate{.until_answered = 1h} : Fate{};
  };
  Shard a(*this);
  a.start();
  executor.advance(60s);
  CHECK(writes > 1);
  CHECK(a.told == Words{"acquired"});
  CHECK(a.driver->was_taken() == taken);
}

TEST_CASE_FIXTURE(World, "a Lease is released if it is this process's, and an outage holds that up for 5 s at most") {
  Shard a(*this);
  a.start();
  executor.advance(5s);
  std::optional<SteadyTime> released;
  a.driver->post_stop([] {});
  executor.run();
  const SteadyTime began = clock.steady();
  const auto release = [&] { a.driver->post_release([&] { released = clock.steady(); }); };
  SUBCASE("it is ours") {
    server.set_labels({{kRingLabel, "r"}, {kStateLabel, "ready"}});
    release();
    executor.run();
    CHECK(released);
    CHECK(server.lease["spec"] == json{{"holderIdentity", ""},
                                       {"leaseDurationSeconds", 1},
                                       {"acquireTime", "2026-01-01T00:00:05.000000Z"},
                                       {"renewTime", "2026-01-01T00:00:05.000000Z"},
                                       {"leaseTransitions", 0}});
    CHECK(server.lease["metadata"]["labels"] == json{{kRingLabel, "r"}, {kStateLabel, "ready"}});
    CHECK(a.logged("released the lease"));
  }
  SUBCASE("another process of this name holds it") {
    server.set_spec(record(*this, "a"));
    release();
    executor.run();
    CHECK(released);
    CHECK(holder() == "a");
  }
  SUBCASE("the sharder holds it") {
    server.set_spec(record(*this, "shardlease-controller", 30));
    release();
    executor.run();
    CHECK(released);
    CHECK(holder() == "shardlease-controller");
  }
  SUBCASE("nobody answers") {
    server.fate = [](const kube::Request&) { return Fate{.lost = true}; };
    release();
    executor.advance(1min);
    CHECK(released == began + 5s);
    CHECK(holder() == "a");
    CHECK(a.logged("could not be released"));
  }
  const int writes = server.writes;
  executor.advance(1min);
  CHECK(server.writes == writes);
  CHECK(a.told == Words{"acquired", "lost"});
}

namespace {

// A Lease with a thread of its own, and what it says.
struct RealLease {
  RealLease() {
    lease->start();
    REQUIRE(acquired.get_future().wait_for(10s) == std::future_status::ready);
  }

  testing::ThreadedLeaseServer server;
  SystemClock clock;
  std::promise<void> acquired;
  std::atomic<bool> lost = false;
  std::atomic<BootTime> renewed{BootTime::min()};
  std::unique_ptr<shard::Lease> lease =
      shard::LeaseAccess::over(server, clock, options_of_a(),
                               {.on_acquired = [this] { acquired.set_value(); },
                                .on_lost = [this] { lost = true; },
                                .on_renewed = [this](BootTime valid_until) { renewed = valid_until; }},
                               Logger::none());
};

}  // namespace

TEST_CASE_FIXTURE(RealLease, "a Lease is released when the shard's work has ended, and not before") {
  CHECK(lease->valid());
  CHECK(lease->valid_until() > clock.boot());
  bool ended = false;
  lease->stop([&] {
    CHECK(lost);
    CHECK_FALSE(lease->valid());
    CHECK(renewed.load() == lease->valid_until());
    CHECK(lease->valid_until() <= clock.boot());
    CHECK(server.holder() == "a");
    ended = true;
  });
  CHECK(ended);
  CHECK(server.holder().empty());
}

TEST_CASE_FIXTURE(RealLease, "a Lease that is abandoned is not released, and expires by itself") {
  SUBCASE("at once") {
    lease->abandon();
  }
  SUBCASE("while stop() waits for work that does not end") {
    lease->stop([&] { lease->abandon(); });
  }
  CHECK(lost);
  CHECK_FALSE(lease->valid());
  lease->stop();
  CHECK(server.holder() == "a");
}

TEST_CASE("a Lease that is dropped is released") {
  testing::ThreadedLeaseServer server;
  const SystemClock clock;
  std::promise<void> acquired;
  {
    const auto lease =
        shard::LeaseAccess::over(server, clock, options_of_a(),
                                 {.on_acquired = [&] { acquired.set_value(); }, .on_lost = [] {}}, Logger::none());
    CHECK_FALSE(lease->valid());
    CHECK(lease->valid_until() == BootTime::min());
    lease->start();
    REQUIRE(acquired.get_future().wait_for(10s) == std::future_status::ready);
    CHECK(server.holder() == "a");
  }
  CHECK(server.holder().empty());
}

TEST_CASE("a Lease needs ring, name and namespace, and durations that fit") {
  testing::ThreadedLeaseServer server;
  const SystemClock clock;
  const auto throws = [&](const shard::Options& options) {
    CHECK_THROWS_AS(
        shard::LeaseAccess::over(server, clock, options, {.on_acquired = [] {}, .on_lost = [] {}}, Logger::none()),
        std::invalid_argument);
  };
  throws({.ring = "", .name = "a", .lease_namespace = "ns"});
  throws({.ring = "r", .lease_namespace = "ns"});
  throws({.ring = "r", .name = "a"});
  shard::Options options = options_of_a();
  options.renew_deadline = options.lease_duration;
  throws(options);
  options = options_of_a();
  options.retry_period = 0ms;
  throws(options);
}
