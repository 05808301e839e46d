#include "rebalancer/drain_counter.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fake_api.h"

using namespace sharder;
using namespace sharder::rebalancer;
using namespace sharder::testing;
using namespace std::chrono_literals;

namespace {

class Recorder final : public ResourceMetrics {
 public:
  void moved(std::chrono::nanoseconds /*duration*/) override {}
  void drained(std::chrono::nanoseconds /*duration*/) override {}
  void failed(std::string_view /*reason*/) override {}
  void set_pending(std::size_t /*moves*/) override {}
  void set_draining(std::size_t objects, std::chrono::nanoseconds oldest) override {
    told.emplace_back(objects, std::chrono::duration_cast<std::chrono::seconds>(oldest));
  }
  void set_objects(const std::map<std::string, std::size_t>& /*by_shard*/) override {}
  void set_unassigned(const Strays& /*unassigned*/) override {}
  void set_misplaced(const Strays& /*misplaced*/) override {}
  void set_last_pass(WallTime /*ended*/) override {}
  void remove_gauges() override {}

  std::vector<std::pair<std::size_t, std::chrono::seconds>> told;
};

// A DrainCounter and an API server that the test plays.
struct Bench {
  FakeClock clock;
  FakeExecutor executor{clock};
  FakeApi api{executor};
  kube::Discovery discovery{api, clock, Logger::none()};
  kube::EventRecorder events{api, clock, "sharder", Logger::none()};
  WaitGroup leader_work;
  std::shared_ptr<Recorder> metrics = std::make_shared<Recorder>();
  std::set<std::string> outdated;  // uids
  int misled = 0;
  std::unique_ptr<DrainCounter> counter = std::make_unique<DrainCounter>(
      std::shared_ptr<Tools>(new Tools{executor, api, discovery, events, clock, Settings(),
                                       [](const std::string&, const std::string&, const std::optional<Error>&) {},
                                       Metrics(nullptr), kube::ReconcileMetrics(nullptr, ""), Logger::none(),
                                       leader_work}),
      "drain", "shard", metrics,
      DrainCounter::Callbacks{.is_outdated = [this](const kube::ObjectMeta& one) { return outdated.contains(one.uid); },
                              .on_misled = [this] { ++misled; }});

  ~Bench() {
    counter.reset();
    executor.run();
  }

  // The list that is open; null when none is.
  FakeApi::OpenStream* list() {
    executor.run();
    return api.streams.empty() || api.streams.back()->cancelled ? nullptr : api.streams.back().get();
  }
  void answer(const std::vector<std::string>& uids) {
    FakeApi::OpenStream& stream = *list();
    stream.sink->on_open();
    for (const std::string& uid : uids) {
      stream.sink->on_data(R"({"type":"ADDED","object":{"metadata":{"name":"x","uid":")" + uid +
                           R"(","resourceVersion":"5"}}})" + "\n");
    }
    stream.sink->on_data(
        R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}})"
        "\n");
    executor.run();
  }
  // So much time passes, with a look each kPeriod.
  void wait(std::chrono::seconds time, std::uint64_t carried_out = 0) {
    for (std::chrono::seconds passed{0}; passed < time; passed += DrainCounter::kPeriod) {
      executor.advance(DrainCounter::kPeriod);
      counter->look(carried_out);
    }
  }
};

const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};

}  // namespace

TEST_CASE("counts at once, and again while something drains; the list is closed between") {
  Bench b;
  b.counter->begin(kSecrets);
  REQUIRE(b.list() != nullptr);
  CHECK(b.list()->request.target.contains("labelSelector=drain"));
  b.answer({"1", "2"});
  CHECK(b.metrics->told.back() == std::pair(2UZ, 0s));
  CHECK(b.list() == nullptr);
  b.wait(5s);
  REQUIRE(b.list() != nullptr);
  b.answer({"2"});
  CHECK(b.metrics->told.back() == std::pair(1UZ, 5s));
  b.wait(5s);
  b.answer({});
  CHECK(b.metrics->told.back() == std::pair(0UZ, 0s));
  b.wait(10min);
  CHECK(b.list() == nullptr);
}

TEST_CASE("counts after moves, after a pass that showed something, and at the sync") {
  Bench b;
  b.counter->begin(kSecrets);
  b.answer({});
  b.wait(5s, 3);
  b.answer({});
  b.wait(5s, 3);
  CHECK(b.list() == nullptr);
  b.counter->pass_begins();
  b.counter->seen_in_pass();
  b.counter->pass_ended();
  b.wait(5s, 3);
  b.answer({});
  b.counter->pass_begins();
  b.counter->pass_ended();
  b.wait(5s, 3);
  CHECK(b.list() == nullptr);
  b.counter->sync();
  CHECK(b.list() != nullptr);
}

TEST_CASE("when a drain whose target is outdated has ended, its object is misplaced") {
  Bench b;
  b.counter->begin(kSecrets);
  b.answer({"1", "2", "3"});
  b.outdated = {"2", "3"};  // the members have changed
  b.wait(5s);
  b.answer({"1", "2", "3"});
  b.wait(5s);
  b.answer({"2", "3"});
  CHECK(b.misled == 0);
  b.wait(5s);
  b.answer({"3"});
  CHECK(b.misled == 1);
  b.wait(5s);
  b.answer({"3"});
  CHECK(b.misled == 1);
  b.wait(5s);
  b.answer({});
  CHECK(b.misled == 2);
}

TEST_CASE("a count that takes long is followed by a long pause, one that does not end is given up") {
  Bench b;
  b.counter->begin(kSecrets);
  REQUIRE(b.list() != nullptr);
  b.list()->sink->on_open();
  b.list()->sink->on_data(R"({"type":"ADDED","object":{"metadata":{"name":"x","uid":"1","resourceVersion":"5"}}})"
                          "\n");
  b.executor.run();
  b.executor.advance(1s);
  b.answer({"2"});
  CHECK(b.metrics->told.back().first == 2);
  b.wait(45s);
  CHECK(b.list() == nullptr);
  b.wait(5s);
  CHECK(b.list() != nullptr);  // 50 s after one of 1 s
  b.wait(55s);
  CHECK(b.list() == nullptr);
  REQUIRE(b.api.pending.size() == 1);  // the stream was not answered: in pages
  b.api.answer(R"({"metadata":{"resourceVersion":"6","continue":"x"},"items":[{"metadata":{"name":"x","uid":"3"}}]})");
  b.executor.run();
  CHECK(b.api.pending.size() == 1);
  b.wait(5s);
  b.api.answer(R"({"metadata":{"resourceVersion":"6"},"items":[]})");  // too late
  b.executor.run();
  b.wait(290s);
  CHECK(b.api.pending.empty());
  b.wait(10s);
  CHECK(b.list() == nullptr);
  CHECK(b.api.pending.size() == 1);
  // What the count that was given up had shown is not told. What the one before it showed grows older meanwhile.
  CHECK(b.metrics->told.back() == std::pair(2UZ, 411s));
}

TEST_CASE("where the lists are not permitted the passes count, until a sync tries again") {
  Bench b;
  b.counter->begin(kSecrets);
  const Error forbidden{.code = ErrorCode::kForbidden, .message = "403", .http_status = 403};
  for (int step = 0; step < 100 && b.list() != nullptr; ++step) {
    b.list()->sink->on_close(forbidden);
    b.api.streams.back()->cancelled = true;
    for (int wait = 0; wait < 50 && b.list() == nullptr; ++wait) {
      b.executor.advance(500ms);
    }
  }
  CHECK(b.list() == nullptr);
  b.counter->pass_begins();
  b.counter->seen_in_pass();
  b.counter->seen_in_pass();
  b.counter->pass_ended();
  CHECK(b.metrics->told.back() == std::pair(2UZ, 0s));
  b.wait(1min, 9);
  CHECK(b.list() == nullptr);
  b.counter->sync();
  CHECK(b.list() != nullptr);
}
