#include "kube/election/leader_election.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <random>

#include "base/rfc3339.h"
#include "kube/codec/json.h"
#include "kube/election/election_driver.h"
#include "tests/support/fake_api.h"
#include "tests/support/lease_world.h"
#include "tests/support/threaded_lease_server.h"

using namespace sharder;
using namespace sharder::kube;
using namespace std::chrono_literals;
using testing::Fate;

namespace {

using testing::MachineClock;
using World = testing::LeaseWorld;

struct Elector {
  Elector(World& world, std::string name, std::uint64_t seed = 1, bool unique_identity = true)
      : clock(world.clock),
        driver(std::make_shared<ElectionDriver>(
            world.server, clock,
            LeaderElectionOptions{.lease_namespace = "ns",
                                  .lease_name = "l",
                                  .identity = std::move(name),
                                  .unique_identity = unique_identity},
            LeaderElection::Callbacks{.on_elected =
                                          [this, &world] {
                                            CHECK(driver->valid());
                                            told.push_back("elected");
                                            elected_at = world.now();
                                            if (on_elected) {
                                              on_elected();
                                            }
                                          },
                                      .on_lost =
                                          [this, &world] {
                                            CHECK_FALSE(driver->valid());
                                            told.push_back("lost");
                                            lost_at = world.now();
                                          },
                                      .on_event =
                                          [this](const ObjectReference& reference, const std::string& message) {
                                            CHECK(reference.kind == "Lease");
                                            CHECK(reference.object_namespace == "ns");
                                            CHECK(reference.name == "l");
                                            CHECK_FALSE(reference.uid.empty());
                                            events.push_back(message);
                                          },
                                      .on_renewed =
                                          [this](BootTime valid_until) {
                                            CHECK(valid_until == driver->valid_until());
                                            CHECK(driver->valid() == (told.back() == "elected"));
                                            renewed.push_back(valid_until);
                                          }},
            Logger::to_string(lines), world.shared, seed)) {}

  bool leading() const { return driver->valid(); }

  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  MachineClock clock;
  std::vector<std::string> told;
  std::vector<std::string> events;
  std::vector<BootTime> renewed;
  double elected_at = -1;
  double lost_at = -1;
  std::function<void()> on_elected;
  std::shared_ptr<ElectionDriver> driver;
};

using Words = std::vector<std::string>;

nlohmann::json foreign_spec(World& world, const std::string& holder) {
  return {{"holderIdentity", holder},
          {"leaseDurationSeconds", 15},
          {"acquireTime", format_micro_time(world.clock.wall())},
          {"renewTime", format_micro_time(world.clock.wall())},
          {"leaseTransitions", 4}};
}

}  // namespace

TEST_CASE_FIXTURE(World, "without a Lease the first one makes it, as client-go writes it") {
  Elector a(*this, "a_1");
  a.driver->post_start();
  executor.run();
  CHECK(a.leading());
  CHECK(a.told == Words{"elected"});
  CHECK(a.events == Words{"a_1 became leader"});
  CHECK(server.lease["apiVersion"] == "coordination.k8s.io/v1");
  CHECK(server.lease["kind"] == "Lease");
  CHECK(server.lease["metadata"]["name"] == "l");
  CHECK(server.lease["metadata"]["namespace"] == "ns");
  CHECK(server.lease["spec"] == nlohmann::json{{"holderIdentity", "a_1"},
                                               {"leaseDurationSeconds", 15},
                                               {"acquireTime", "2026-01-01T00:00:00.000000Z"},
                                               {"renewTime", "2026-01-01T00:00:00.000000Z"},
                                               {"leaseTransitions", 0}});
}

TEST_CASE_FIXTURE(World, "the leader renews every retry period, with one request") {
  Elector a(*this, "a_1");
  a.driver->post_start();
  executor.run();
  int requests = 0;
  server.fate = [&](const Request& request) {
    ++requests;
    CHECK(request.lane == Lane::kUrgent);
    CHECK(request.method == Method::kPut);
    CHECK(request.target == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l");
    return Fate{};
  };
  executor.advance(60s);
  CHECK(requests >= 29);
  CHECK(requests <= 34);
  CHECK(spec("acquireTime") == "2026-01-01T00:00:00.000000Z");
  CHECK(spec("renewTime") > "2026-01-01T00:00:57");
  CHECK(a.told == Words{"elected"});
}

TEST_CASE_FIXTURE(World, "labels, annotations and owners of the Lease stay, managedFields are not sent") {
  server.set_spec({{"holderIdentity", ""}, {"leaseTransitions", 7}, {"strategy", "x"}});
  server.lease["metadata"]["labels"] = {{"a", "b"}};
  server.lease["metadata"]["managedFields"] = nlohmann::json::array({1});
  Elector a(*this, "a_1");
  a.driver->post_start();
  executor.run();
  CHECK(a.leading());
  CHECK(server.lease["metadata"]["labels"]["a"] == "b");
  CHECK_FALSE(server.lease["metadata"].contains("managedFields"));
  CHECK(server.lease["spec"]["leaseTransitions"] == 8);
  CHECK_FALSE(server.lease["spec"].contains("strategy"));
}

TEST_CASE_FIXTURE(World,
                  "a foreign lease is respected for its duration since we saw it change, whatever its clock says") {
  for (const auto offset : {-3600s, 0s, 3600s}) {
    CAPTURE(offset.count());
    World world;
    Elector b(world, "b");
    b.clock.wall_offset = offset;
    world.server.set_spec(foreign_spec(world, "a"));
    b.driver->post_start();
    for (int i = 0; i < 20; ++i) {  // a renews for 40 s
      world.executor.advance(2s);
      world.server.set_spec(foreign_spec(world, "a"));
    }
    world.executor.advance(15s);
    CHECK(b.told.empty());
    CHECK(world.holder() == "a");
    world.executor.advance(4s);  // 15 s + 2 * 2 s after the last renewal
    CHECK(b.leading());
    CHECK(world.holder() == "b");
    CHECK(world.server.lease["spec"]["leaseTransitions"] == 5);
  }
}

TEST_CASE_FIXTURE(World, "only the spec shows that a lease was renewed") {
  server.set_spec(foreign_spec(*this, "a"));
  Elector b(*this, "b");
  b.driver->post_start();
  for (int i = 0; i < 9; ++i) {
    executor.advance(2s);
    server.set_spec(server.lease["spec"]);  // another label: a new resourceVersion, the same spec
  }
  executor.advance(1s);
  CHECK(b.leading());
}

TEST_CASE_FIXTURE(World, "another's lease lasts as long as its record says, nonsense as long as ours") {
  const auto seconds_until_led = [](const nlohmann::json& duration) {
    World world;
    auto spec = foreign_spec(world, "a");
    spec["leaseDurationSeconds"] = duration;
    world.server.set_spec(spec);
    Elector b(world, "b");
    b.driver->post_start();
    world.executor.advance(200s);
    return b.elected_at;
  };
  CHECK(seconds_until_led(60) == doctest::Approx(60).epsilon(0.01));
  CHECK(seconds_until_led(15) == doctest::Approx(15).epsilon(0.01));
  CHECK(seconds_until_led(0) == doctest::Approx(15).epsilon(0.01));
  CHECK(seconds_until_led(-5) == doctest::Approx(15).epsilon(0.01));
  CHECK(seconds_until_led(nullptr) == doctest::Approx(15).epsilon(0.01));
  CHECK(seconds_until_led("x") == doctest::Approx(15).epsilon(0.01));
  CHECK(seconds_until_led(std::numeric_limits<std::int64_t>::max()) == -1);
}

TEST_CASE_FIXTURE(World, "a released lease is taken within a retry period") {
  server.set_spec(foreign_spec(*this, "a"));
  Elector b(*this, "b");
  b.driver->post_start();
  executor.advance(5s);
  auto released = foreign_spec(*this, "");
  released["leaseDurationSeconds"] = 1;
  server.set_spec(released);
  executor.advance(2s);
  CHECK(b.leading());
}

TEST_CASE_FIXTURE(World, "a leader that cannot renew stops renew_deadline after its last renewal began") {
  Elector a(*this, "a");
  double last_success = 0;
  a.driver->post_start();
  executor.run();
  bool away = false;
  const char* how = "";
  SUBCASE("connections are refused") {
    how = "refused";
  }
  SUBCASE("requests hang") {
    how = "hang";
  }
  SUBCASE("answers are lost") {
    how = "answer lost";
  }
  server.fate = [&](const Request&) {
    if (!away) {
      last_success = now();
      return Fate{};
    }
    if (how == std::string("refused")) {
      return Fate{.refused = Error{.code = ErrorCode::kUnavailable, .message = "refused"}};
    }
    return how == std::string("hang") ? Fate{.lost = true} : Fate{.until_answered = 1h};
  };
  executor.advance(21s);
  away = true;
  executor.advance(9s);
  CHECK(a.told == Words{"elected"});
  executor.advance(60s);
  CHECK(a.told == Words{"elected", "lost"});
  CHECK(a.lost_at == doctest::Approx(last_success + 10));
  CHECK(a.events == Words{"a became leader", "a stopped leading"});
  away = false;
  executor.advance(8s);
  CHECK(a.told == Words{"elected", "lost", "elected"});
}

TEST_CASE_FIXTURE(World, "an API server that takes no writes is logged once, though reads work") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  server.fate = [](const Request& request) {
    return request.method == Method::kGet
               ? Fate{}
               : Fate{.refused = Error{.code = ErrorCode::kUnavailable, .message = "no space", .http_status = 500}};
  };
  executor.advance(10min);
  CHECK(a.told == Words{"elected", "lost"});
  const auto said = a.lines->find("no space");
  REQUIRE(said != std::string::npos);
  CHECK(a.lines->find("no space", said + 1) == std::string::npos);
  server.fate = [](const Request&) { return Fate{}; };
  executor.advance(5s);
  CHECK(a.lines->contains("requests about the lease work again"));
}

TEST_CASE_FIXTURE(World, "a leader whose machine slept does not believe in its lease") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  REQUIRE(a.leading());
  a.clock.slept = 20s;
  CHECK_FALSE(a.leading());  // at once, no timer needed
  server.fate = [](const Request&) { return Fate{.lost = true}; };
  executor.advance(1s);
  CHECK(a.told == Words{"elected", "lost"});
}

TEST_CASE_FIXTURE(World, "a renewal that is answered too late does not prolong anything") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.run();
  server.fate = [&](const Request&) { return Fate{.until_applied = 1s, .until_answered = 4s}; };
  executor.advance(30s);
  CHECK(a.leading());  // slow, but in time
  a.clock.slept = 10s;
  CHECK_FALSE(a.leading());
}

TEST_CASE_FIXTURE(World, "a leader that finds another's name stops at once") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  server.set_spec(foreign_spec(*this, "b"));
  executor.advance(2s);
  CHECK(a.told == Words{"elected", "lost"});
  CHECK(holder() == "b");
}

TEST_CASE_FIXTURE(World, "a conflict with a write that left the lease ours is no loss") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  server.set_spec(server.lease["spec"]);
  executor.advance(30s);
  CHECK(a.told == Words{"elected"});
}

TEST_CASE_FIXTURE(World, "a record under a unique identity is ours, whoever wrote it") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  server.set_spec(foreign_spec(*this, "a"));  // restored from a backup, or edited
  executor.advance(30s);
  CHECK(a.told == Words{"elected"});
}

TEST_CASE_FIXTURE(World,
                  "a holder that finds its Lease released was not the only one: it loses it, and acquires it anew") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  server.set_spec(foreign_spec(*this, ""));
  executor.advance(2s);
  CHECK(a.told == Words{"elected", "lost", "elected"});
  CHECK(a.leading());
}

TEST_CASE_FIXTURE(World, "each renewal is notified with the time until which it holds, a loss with one that is past") {
  Elector a(*this, "a");
  std::vector<BootTime> sent;
  bool away = false;
  server.fate = [&](const Request& request) {
    if (request.method != Method::kGet && !away) {
      sent.push_back(clock.boot());
    }
    return Fate{.until_applied = 50ms, .until_answered = 100ms, .lost = away};
  };
  a.driver->post_start();
  executor.advance(21s);
  away = true;
  executor.advance(9s);
  CHECK(a.leading());
  CHECK(a.renewed.size() == sent.size());
  executor.advance(60s);
  REQUIRE(a.renewed.size() == sent.size() + 1);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    CHECK(a.renewed[i] == sent[i] + 10s);
  }
  CHECK(a.renewed.back() == sent.back() + 10s);  // that is when it was lost
  CHECK(a.told == Words{"elected", "lost"});
}

TEST_CASE_FIXTURE(World, "a Lease that somebody deleted is made again") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  server.lease = nullptr;
  executor.advance(2s);
  CHECK(a.told == Words{"elected"});
  CHECK(holder() == "a");
}

TEST_CASE_FIXTURE(World, "what is no Lease is no reason to lead or to stop") {
  testing::FakeApi api(executor);
  bool elected = false;
  const auto lines = std::make_shared<std::string>();
  const auto driver = std::make_shared<ElectionDriver>(
      api, clock, LeaderElectionOptions{.lease_namespace = "ns", .lease_name = "l", .identity = "a"},
      LeaderElection::Callbacks{.on_elected = [&] { elected = true; }, .on_lost = [] {}}, Logger::to_string(lines),
      shared);
  driver->post_start();
  for (const char* body : {"x", "[]", "{}", R"({"metadata":1})", R"({"metadata":{"name":"l"}})"}) {
    executor.run();
    REQUIRE(api.pending.size() == 1);
    CHECK(api.answer(body).method == Method::kGet);
    executor.advance(2s);
  }
  CHECK_FALSE(elected);
  const std::string line = "a request about the lease failed";
  CHECK(lines->contains(line));
  CHECK(lines->find(line) == lines->rfind(line));
  CHECK(api.answer(R"({"metadata":{"resourceVersion":"1"},"spec":7})").method == Method::kGet);
  executor.run();
  REQUIRE(api.pending.size() == 1);
  CHECK(api.answer("accepted, but no Lease").method == Method::kPut);  // a 2xx: it is ours
  executor.run();
  CHECK(elected);
  CHECK_FALSE(lines->contains("work again"));
  executor.advance(2s);
  REQUIRE(api.pending.size() == 1);
  CHECK(api.pending.front().request.method == Method::kGet);  // its resourceVersion is not known
}

TEST_CASE_FIXTURE(World, "of two that take an expired lease one wins") {
  server.set_spec(foreign_spec(*this, "dead"));
  Elector a(*this, "a");
  Elector b(*this, "b", 2);
  server.fate = [](const Request&) { return Fate{.until_applied = 10ms, .until_answered = 20ms}; };
  a.driver->post_start();
  b.driver->post_start();
  executor.advance(18s);
  CHECK(a.leading() != b.leading());
}

TEST_CASE_FIXTURE(World, "time without contact counts once the same record is read again") {
  server.set_spec(foreign_spec(*this, "a"));
  Elector b(*this, "b");
  b.driver->post_start();
  executor.advance(1s);
  server.fate = [](const Request&) { return Fate{.lost = true}; };
  executor.advance(40s);
  CHECK(b.told.empty());
  server.fate = [](const Request&) { return Fate{}; };
  SUBCASE("nobody renewed") {
    executor.advance(7s);
    CHECK(b.leading());
  }
  SUBCASE("the leader renews first") {
    server.set_spec(foreign_spec(*this, "a"));
    executor.advance(14s);
    CHECK(b.told.empty());
  }
}

TEST_CASE_FIXTURE(World, "a leader that stops notifies its callbacks, then releases the lease") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  Words order;
  a.driver->post_stop([&] { order.push_back(a.told.back()); });
  executor.run();
  CHECK(order == Words{"lost"});
  CHECK(holder() == "a");  // not yet: the leader's requests may be in flight
  executor.advance(3s);
  a.driver->post_release([&] { order.push_back("released"); });
  executor.run();
  CHECK(order == Words{"lost", "released"});
  CHECK(server.lease["spec"] == nlohmann::json{{"holderIdentity", ""},
                                               {"leaseDurationSeconds", 1},
                                               {"acquireTime", "2026-01-01T00:00:08.000000Z"},
                                               {"renewTime", "2026-01-01T00:00:08.000000Z"},
                                               {"leaseTransitions", 0}});
  const int writes = server.writes;
  executor.advance(60s);
  CHECK(server.writes == writes);
  CHECK(a.told == Words{"elected", "lost"});
}

TEST_CASE_FIXTURE(World, "a standby that stops writes nothing") {
  server.set_spec(foreign_spec(*this, "a"));
  Elector b(*this, "b");
  b.driver->post_start();
  executor.advance(3s);
  const int writes = server.writes;
  bool released = false;
  b.driver->post_stop([] {});
  b.driver->post_release([&] { released = true; });
  executor.run();
  CHECK(released);
  CHECK(b.told.empty());
  executor.advance(60s);
  CHECK(server.writes == writes);
}

TEST_CASE_FIXTURE(World, "a lease that is won while stopping is released, and never led by") {
  Elector a(*this, "a");
  server.fate = [](const Request&) { return Fate{.until_applied = 100ms, .until_answered = 200ms}; };
  a.driver->post_start();
  executor.advance(250ms);  // the POST is under way
  bool released = false;
  a.driver->post_stop([] {});
  a.driver->post_release([&] { released = true; });
  executor.advance(2s);
  CHECK(released);
  CHECK(a.told.empty());
  CHECK(server.lease["spec"]["holderIdentity"] == "");
}

TEST_CASE_FIXTURE(World, "a release goes around conflicts and short outages, and gives up at last") {
  Elector a(*this, "a");
  a.driver->post_start();
  executor.advance(5s);
  bool released = false;
  a.driver->post_stop([] {});
  SUBCASE("a conflict") {
    server.fate = [&](const Request& request) {
      if (request.method == Method::kPut && server.writes < 100) {
        server.writes = 100;
        server.set_spec(server.lease["spec"]);
      }
      return Fate{};
    };
    a.driver->post_release([&] { released = true; });
    executor.run();
    CHECK(holder().empty());
  }
  SUBCASE("a short outage") {
    int failures = 3;
    server.fate = [&](const Request&) {
      return failures-- > 0 ? Fate{.refused = Error{.code = ErrorCode::kUnavailable, .message = "away"}} : Fate{};
    };
    a.driver->post_release([&] { released = true; });
    executor.advance(1s);
    CHECK(holder().empty());
  }
  SUBCASE("a long one") {
    server.fate = [&](const Request&) { return Fate{.lost = true}; };
    a.driver->post_release([&] { released = true; });
    executor.advance(4900ms);
    CHECK_FALSE(released);
    executor.advance(100ms);
    CHECK(holder() == "a");
  }
  SUBCASE("another took it meanwhile") {
    server.set_spec(foreign_spec(*this, "b"));
    a.driver->post_release([&] { released = true; });
    executor.run();
    CHECK(holder() == "b");
  }
  SUBCASE("somebody deleted it") {
    server.lease = nullptr;
    a.driver->post_release([&] { released = true; });
    executor.run();
    CHECK(server.lease.is_null());
  }
  CHECK(released);
  executor.advance(10s);
  CHECK(a.told == Words{"elected", "lost"});
}

// Three electors with wrong clocks on an API server that loses, delays and refuses requests, deterministic by the seed.
TEST_CASE("never do two lead at once, and somebody leads soon after the other") {
  bool unique_identity = true;
  SUBCASE("each has an identity of its own") {}
  SUBCASE("all have one identity") {
    unique_identity = false;
  }
  for (std::uint32_t seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    World world;
    std::mt19937 random(seed);
    const auto draw = [&](int from, int to) { return std::uniform_int_distribution(from, to)(random); };
    std::vector<std::unique_ptr<Elector>> electors;
    for (const char* name : {"a", "b", "c"}) {
      electors.push_back(std::make_unique<Elector>(world, unique_identity ? name : "s", random(), unique_identity));
      electors.back()->clock.wall_offset = std::chrono::seconds(draw(-3600, 3600));
    }
    const auto leaders = [&] {
      return std::ranges::count_if(electors, [](const auto& elector) { return elector->leading(); });
    };
    bool bad = false;   // the network, at the moment
    int reachable = 7;  // whose requests come through, a bit each; all while it is not bad
    world.server.fate = [&](const Request& request) {
      Fate fate{.until_applied = std::chrono::milliseconds(draw(1, 30))};
      fate.until_answered = fate.until_applied + std::chrono::milliseconds(draw(1, 30));
      if (bad && (reachable == 0 || draw(0, 7) >= reachable)) {
        switch (draw(0, 3)) {
          case 0:
            fate.lost = true;
            break;
          case 1:
            fate.until_answered = 1h;  // applied, but nobody hears of it
            break;
          case 2:
            fate.until_applied = std::chrono::milliseconds(draw(0, 40'000));  // applied late
            fate.until_answered = 1h;
            break;
          default:
            fate.refused = Error{.code = ErrorCode::kUnavailable, .message = "503"};
        }
        (void)request;
      }
      return fate;
    };
    for (auto& elector : electors) {
      elector->on_elected = [&] { CHECK(leaders() == 1); };
      elector->driver->post_start();
    }
    double last_led = 0;
    double bad_until = 0;
    int writes = 0;
    double last_write = 0;
    for (int step = 0; step < 6000; ++step) {  // 10 minutes
      world.executor.advance(100ms);
      REQUIRE(leaders() <= 1);
      if (step % 300 == 0) {
        bad = draw(0, 2) != 0;
        reachable = draw(0, 6);
      }
      if (std::exchange(writes, world.server.writes) != world.server.writes) {
        last_write = world.now();
      }
      if (bad) {
        bad_until = world.now();
      }
      if (leaders() == 1) {
        last_led = world.now();
      }
      // Late requests of a bad time may still come for 40 s. After that: lease_duration + 2 * retry_period after the
      // last renewal somebody leads.
      if (world.now() > bad_until + 45 && world.now() > last_write + 15 + 2 * 2 + 0.2) {
        CHECK(last_led == doctest::Approx(world.now()));
      }
    }
    CHECK(world.server.writes > 50);
  }
}

TEST_CASE("a dead leader's lease is taken not before lease_duration and within two retry periods more") {
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    World world;
    Elector a(world, "a", seed);
    Elector b(world, "b", seed + 1000);
    std::mt19937 random(seed);
    world.server.fate = [&](const Request&) {
      return Fate{.until_applied = 5ms, .until_answered = std::chrono::milliseconds(5 + random() % 100)};
    };
    a.driver->post_start();
    world.executor.advance(std::chrono::milliseconds(1000 + random() % 2000));
    b.driver->post_start();
    world.executor.advance(std::chrono::milliseconds(random() % 30'000));
    a.driver.reset();  // SIGKILL
    world.executor.advance(200ms);
    const auto renewed = parse_rfc3339(world.spec("renewTime")).value();
    const WallTime now = world.clock.wall();
    const double last_renewal = world.now() - std::chrono::duration<double>(now - renewed).count();
    world.executor.advance(40s);
    CHECK(b.leading());
    CHECK(b.elected_at >= last_renewal + 15);
    CHECK(b.elected_at <= last_renewal + 15 + 2 * 2);
  }
}

namespace {

LeaderElectionOptions options_of(std::string identity) {
  return {.lease_namespace = "ns", .lease_name = "l", .identity = std::move(identity)};
}

}  // namespace

TEST_CASE("stop() loses, waits for the leader's requests, and releases, in this order") {
  testing::ThreadedLeaseServer server;
  const SystemClock clock;
  std::promise<void> elected;
  Words order;  // written by the election thread until stop() has returned from on_lost
  LeaderElection election(server, clock, options_of("a"),
                          {.on_elected = [&] { elected.set_value(); }, .on_lost = [&] { order.push_back("lost"); }},
                          Logger::none());
  CHECK_FALSE(election.leading());
  election.start();
  REQUIRE(elected.get_future().wait_for(10s) == std::future_status::ready);
  CHECK(election.leading());
  CHECK(server.holder() == "a");
  election.stop([&] {
    order.push_back("requests answered, " + server.holder() + " holds");
    CHECK_FALSE(election.leading());
  });
  CHECK(server.holder().empty());
  CHECK(order == Words{"lost", "requests answered, a holds"});
  election.stop([&] { order.push_back("twice"); });
  CHECK(order.size() == 2);
}

TEST_CASE("abandon() loses, and leaves the lease to expire, also while stop() waits for the leader's requests") {
  testing::ThreadedLeaseServer server;
  const SystemClock clock;
  std::promise<void> elected;
  std::atomic<bool> lost = false;
  LeaderElection election(server, clock, options_of("a"),
                          {.on_elected = [&] { elected.set_value(); }, .on_lost = [&] { lost = true; }},
                          Logger::none());
  election.start();
  REQUIRE(elected.get_future().wait_for(10s) == std::future_status::ready);
  CHECK(election.valid_until() > clock.boot());
  SUBCASE("alone") {
    election.abandon();
  }
  SUBCASE("while stop() waits") {
    election.stop([&] { election.abandon(); });
  }
  CHECK(lost);
  CHECK_FALSE(election.leading());
  CHECK(election.valid_until() <= clock.boot());
  election.stop();
  CHECK(server.holder() == "a");
}

TEST_CASE("an election that never began, or that is dropped, ends") {
  testing::ThreadedLeaseServer server;
  const SystemClock clock;
  {
    const LeaderElection election(server, clock, options_of("a"), {.on_elected = [] {}, .on_lost = [] {}},
                                  Logger::none());
  }
  CHECK(server.holder().empty());
  std::promise<void> elected;
  std::atomic<bool> lost = false;
  {
    LeaderElection election(server, clock, options_of("a"),
                            {.on_elected = [&] { elected.set_value(); }, .on_lost = [&] { lost = true; }},
                            Logger::none());
    election.start();
    REQUIRE(elected.get_future().wait_for(10s) == std::future_status::ready);
  }
  CHECK(lost);
  CHECK(server.holder().empty());
}

TEST_CASE("durations that could let two lead, and missing names, are errors") {
  testing::ThreadedLeaseServer server;
  const SystemClock clock;
  const auto throws = [&](const LeaderElectionOptions& options) {
    CHECK_THROWS_AS(LeaderElection(server, clock, options, {.on_elected = [] {}, .on_lost = [] {}}, Logger::none()),
                    std::invalid_argument);
  };
  LeaderElectionOptions options = options_of("a");
  options.renew_deadline = options.lease_duration;
  throws(options);
  options = options_of("a");
  options.retry_period = options.renew_deadline;
  throws(options);
  options = options_of("a");
  options.retry_period = 0ms;
  throws(options);
  throws(options_of(""));
  options = options_of("a");
  options.lease_name = "";
  throws(options);
}
