#include "kube/watch/list_watch.h"

#include <doctest/doctest.h>

#include "tests/support/fake_api.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"

using namespace sharder;
using namespace sharder::kube;
using namespace std::chrono_literals;

namespace {

class RecordingSink final : public WatchSink {
 public:
  void on_event(const WatchEvent& event) override {
    static constexpr const char* kNames[] = {"init", "init-apply", "init-done", "apply", "delete"};
    std::string line = kNames[static_cast<int>(event.type)];
    seen.push_back(event.object.empty() ? line : line.append(" ").append(event.object));
    if (then) {
      then();
    }
  }
  void on_connection(bool watching, const std::optional<Error>& error) override {
    seen.push_back(watching ? "up" : error ? "down: " + error->message : "down");
  }
  std::vector<std::string> take() { return std::exchange(seen, {}); }

  std::vector<std::string> seen;
  std::function<void()> then;
};

struct Fixture {
  testing::FakeClock clock;
  testing::FakeExecutor loop{clock};
  testing::FakeApi api{loop};
  std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  std::shared_ptr<ListWatch> watch;

  void start(ListWatchOptions options = {.resource = kLeases, .stream_list = false}) {
    watch = ListWatch::start(api, clock, std::move(options), sink, Logger::to_string(lines));
    loop.run();
  }
  testing::FakeApi::OpenStream& stream() { return *api.streams.back(); }
  void open() { stream().sink->on_open(); }
  void data(std::string_view text) { stream().sink->on_data(text); }
  void close(std::optional<Error> error = std::nullopt) {
    stream().sink->on_close(std::move(error));
    loop.run();
  }
  // A watch from resourceVersion 5.
  void watching() {
    start();
    api.answer(R"({"metadata":{"resourceVersion":"5"},"items":[]})");
    open();
    loop.advance(6s);
    sink->take();
  }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a ListWatch shows the list, then what changes") {
  start();
  REQUIRE(api.pending.size() == 1);
  const Request first = api.answer(
      R"({"metadata":{"resourceVersion":"5","continue":"a b"},"items":[{"metadata":{"name":"x"}},{"n":2}]})");
  CHECK(first.target == "/apis/coordination.k8s.io/v1/leases?limit=500");
  CHECK(first.lane == Lane::kList);
  CHECK(first.accept == "application/json");
  const Request second = api.answer(R"({"metadata":{"resourceVersion":"5"},"items":[{"n":3}]})");
  CHECK(second.target == "/apis/coordination.k8s.io/v1/leases?limit=500&continue=a%20b");
  CHECK(sink->take() == Lines{"init", R"(init-apply {"metadata":{"name":"x"}})", R"(init-apply {"n":2})",
                              R"(init-apply {"n":3})", "init-done"});

  REQUIRE(api.streams.size() == 1);
  CHECK(stream().request.lane == Lane::kWatch);
  CHECK(stream().request.target.starts_with(
      "/apis/coordination.k8s.io/v1/leases?watch=true&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds="));
  open();
  data(R"({"type":"ADDED","object":{"metadata":{"resourceVersion":"6"}}})"
       "\n"
       R"({"type":"DEL)");
  data(R"(ETED","object":{"metadata":{"resourceVersion":"7"}}})"
       "\n");
  CHECK(sink->take() ==
        Lines{"up", R"(apply {"metadata":{"resourceVersion":"6"}})", R"(delete {"metadata":{"resourceVersion":"7"}})"});
  loop.advance(6s);
  close();
  CHECK(sink->take() == Lines{"down"});
  REQUIRE(api.streams.size() == 2);
  CHECK(stream().request.target.find("resourceVersion=7&") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "selectors, namespace and metadata-only go into every request") {
  start({.resource = kLeases,
         .object_namespace = "ns",
         .label_selector = "a=b",
         .field_selector = "metadata.name=x",
         .metadata_only = true});
  const std::string selectors = "&labelSelector=a%3Db&fieldSelector=metadata.name%3Dx";
  const Request initial = stream().request;
  CHECK(
      initial.target.starts_with("/apis/coordination.k8s.io/v1/namespaces/ns/leases?watch=true&allowWatchBookmarks="
                                 "true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds="));
  CHECK(initial.target.ends_with(selectors));
  CHECK(initial.accept == kCompactMetadataWatch);
  close(Error{.code = ErrorCode::kInvalid, .message = "sendInitialEvents is forbidden", .http_status = 422});
  REQUIRE(api.pending.size() == 1);
  const Request list = api.answer(R"({"metadata":{"resourceVersion":"5"},"items":[]})");
  CHECK(list.target ==
        "/apis/coordination.k8s.io/v1/namespaces/ns/"
        "leases?labelSelector=a%3Db&fieldSelector=metadata.name%3Dx&limit=500");
  CHECK(list.accept == kMetadataOnlyList);
  CHECK(stream().request.target.ends_with(selectors));
  CHECK(lines->empty());
}

TEST_CASE_FIXTURE(Fixture, "initial events come as a list") {
  start({.resource = kLeases});
  open();
  data(
      R"({"type":"ADDED","object":{"n":1}})"
      "\n"
      R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8","annotations":{"k8s.io/initial-events-end":"true"}}}})"
      "\n"
      R"({"type":"MODIFIED","object":{"n":2}})"
      "\n");
  CHECK(sink->take() == Lines{"init", R"(init-apply {"n":1})", "init-done", "up", R"(apply {"n":2})"});
  CHECK(api.pending.empty());
  loop.advance(80s);  // longer than initial events may be silent
  CHECK(sink->take().empty());
}

TEST_CASE_FIXTURE(Fixture, "a server that ignores sendInitialEvents gets lists in pages") {
  start({.resource = kLeases});
  open();
  data(R"({"type":"ADDED","object":{"n":1}})"
       "\n");
  SUBCASE("found by its silence") {
    loop.advance(13s);
  }
  SUBCASE("found by a bookmark of another kind") {
    data(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}})"
         "\n"
         R"({"type":"ADDED","object":{"n":2}})"
         "\n");
    loop.run();
  }
  CHECK(api.streams[0]->cancelled);
  CHECK(sink->take() == Lines{"init", R"(init-apply {"n":1})"});
  REQUIRE(api.pending.size() == 1);
  api.answer(R"({"metadata":{"resourceVersion":"5"},"items":[]})");
  CHECK(sink->take() == Lines{"init", "init-done"});
}

TEST_CASE_FIXTURE(Fixture, "an ERROR event with 410 lists anew") {
  watching();
  data(R"({"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}})"
       "\n"
       R"({"type":"ADDED","object":{"n":1}})"
       "\n");
  CHECK(stream().cancelled);
  const Lines seen = sink->take();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0] == "down: list and watch leases.coordination.k8s.io: ERROR event: 410 Gone: too old");
  loop.advance(200ms);
  REQUIRE(api.pending.size() == 1);
  api.answer(R"({"metadata":{"resourceVersion":"9"},"items":[{"n":1}]})");
  CHECK(sink->take() == Lines{"init", R"(init-apply {"n":1})", "init-done"});
}

TEST_CASE_FIXTURE(Fixture, "a 410 as the watch's status lists anew") {
  watching();
  close();
  close(Error{.code = ErrorCode::kGone, .message = "gone", .http_status = 410});
  loop.advance(200ms);
  CHECK(api.pending.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "what is no list is asked for again") {
  start();
  api.answer("<html>");
  loop.advance(200ms);
  REQUIRE(api.pending.size() == 1);
  api.fail({.code = ErrorCode::kForbidden, .message = "GET /x: 403"});
  loop.advance(300ms);
  REQUIRE(api.pending.size() == 1);
  const Lines seen = sink->take();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].find("not a list") != std::string::npos);
  CHECK(seen[1] == "down: list and watch leases.coordination.k8s.io: GET /x: 403");
}

TEST_CASE_FIXTURE(Fixture, "a watch without an event or a bookmark is given up, whatever bytes come, and logged once") {
  watching();
  for (int i = 0; i < 3; ++i) {
    loop.advance(60s);
    data(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"6"}}})"
         "\n");
  }
  CHECK(sink->seen.empty());
  loop.advance(60s);
  data(R"({"type":)");
  loop.advance(29s);
  CHECK_FALSE(stream().cancelled);
  loop.advance(2s);
  CHECK(stream().cancelled);
  CHECK(sink->take() == Lines{"down: watch: no event and no bookmark for 90 s"});
  for (int i = 0; i < 3; ++i) {
    REQUIRE(api.pending.size() == 1);
    api.answer(R"({"metadata":{"resourceVersion":"6"},"items":[]})");
    open();
    loop.advance(92s);
  }
  CHECK(lines->find("no bookmark") == lines->rfind("no bookmark"));
}

TEST_CASE_FIXTURE(Fixture,
                  "events, and bookmarks that go missing, do not hold the initial events up; it is logged once") {
  start({.resource = kLeases});
  open();
  for (int second = 0; second < 14; second += 2) {
    data(R"({"type":"MODIFIED","object":{"n":1}})"
         "\n");
    loop.advance(2s);
  }
  CHECK(stream().cancelled);
  REQUIRE(api.pending.size() == 1);
  CHECK(lines->find("they come in pages for some time") != std::string::npos);
  CHECK(lines->find("resource=leases.coordination.k8s.io") != std::string::npos);
  // Nor do other watches of the resource ask.
  lines->clear();
  const auto other =
      ListWatch::start(api, clock, {.resource = kLeases, .label_selector = "a"}, sink, Logger::to_string(lines));
  loop.run();
  CHECK(api.streams.size() == 1);
  CHECK(api.pending.size() == 2);
  CHECK(lines->empty());
}

TEST_CASE_FIXTURE(Fixture, "failures that the sink handles are not logged") {
  start({.resource = kLeases, .sink_handles_failures = true});
  close(Error{.code = ErrorCode::kUnavailable, .message = "connection refused"});
  CHECK(sink->take().size() == 1);
  CHECK(lines->empty());
}

TEST_CASE_FIXTURE(Fixture,
                  "a failure that lasts is logged once, whatever its message says, and pauses grow to minutes") {
  start();
  int tries = 0;
  const auto fail_for = [&](std::chrono::minutes time) {
    for (auto passed = 0ms; passed < time; passed += 100ms) {
      if (!api.pending.empty()) {
        const std::string message = "500: conversion of object-" + std::to_string(++tries) + " failed";
        api.fail({.code = ErrorCode::kUnavailable, .message = message, .http_status = 500});
      }
      loop.advance(100ms);
    }
  };
  fail_for(5min);
  CHECK(lines->find("watch failed, is retried") == lines->rfind("watch failed, is retried"));
  const int before = tries;
  fail_for(10min);
  CHECK(tries - before <= 10);
  CHECK(tries - before >= 5);
  lines->clear();
  loop.advance(2min);
  api.answer(R"({"metadata":{"resourceVersion":"6"},"items":[]})");
  open();
  CHECK(lines->contains("watch works again"));
}

TEST_CASE_FIXTURE(Fixture, "a watch that opens and breaks at once, again and again, is logged once") {
  watching();
  const Error broken{.code = ErrorCode::kUnavailable, .message = "the connection broke"};
  close(broken);
  for (int i = 0; i < 20; ++i) {
    loop.advance(2s);
    if (!api.pending.empty()) {
      api.answer(R"({"metadata":{"resourceVersion":"6"},"items":[]})");
    }
    open();
    close(broken);
  }
  CHECK(lines->find("watch failed, is retried") == lines->rfind("watch failed, is retried"));
  CHECK(lines->find("watch works again") == lines->rfind("watch works again"));
}

TEST_CASE_FIXTURE(Fixture, "what a stream says after it was given up is not heard") {
  watching();
  const auto old = api.streams.back();
  data("garbage\n");
  CHECK(old->cancelled);
  sink->take();
  old->sink->on_open();
  old->sink->on_data(R"({"type":"ADDED","object":{"n":1}})"
                     "\n");
  loop.advance(200ms);  // its on_close(kCancelled), and the pause
  CHECK(sink->take().empty());
  CHECK(api.pending.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "nothing is shown after the stop") {
  SUBCASE("while a page is under way") {
    start();
    watch->stop();
    loop.run();
    api.answer(R"({"metadata":{"resourceVersion":"5"},"items":[{"n":1}]})");
  }
  SUBCASE("while a watch is open") {
    watching();
    const auto old = api.streams.back();
    watch->stop();
    loop.run();
    CHECK(old->cancelled);
    old->sink->on_data(R"({"type":"ADDED","object":{"n":1}})"
                       "\n");
  }
  SUBCASE("while it pauses") {
    start();
    api.fail({.code = ErrorCode::kUnavailable, .message = "away"});
    sink->take();
    watch->stop();
    loop.advance(10s);
  }
  SUBCASE("by dropping it") {
    watching();
    watch.reset();
    loop.run();
    CHECK(stream().cancelled);
  }
  loop.advance(10s);
  CHECK(sink->take().empty());
  CHECK(api.pending.empty());
  api.streams.clear();
  CHECK(sink.use_count() == 1);
}

TEST_CASE_FIXTURE(Fixture, "a sink may stop its ListWatch") {
  watching();
  sink->then = [&] { watch->stop(); };
  data(R"({"type":"ADDED","object":{"n":1}})"
       "\n");
  loop.run();
  CHECK(stream().cancelled);
}

TEST_CASE_FIXTURE(Fixture, "an Api that ends takes the ListWatch with it") {
  start();
  api.fail({.code = ErrorCode::kCancelled, .message = "the client ends"});
  loop.advance(10s);
  CHECK(sink->take().empty());
  CHECK(api.pending.empty());
  CHECK(sink.use_count() == 1);
}

TEST_CASE_FIXTURE(Fixture, "an outage is logged once, and its end") {
  watching();
  const Error refused{.code = ErrorCode::kUnavailable, .message = "connection refused"};
  for (int i = 0; i < 2; ++i) {  // the watch, and a try to go on
    close(refused);
    loop.advance(2s);
  }
  for (int i = 0; i < 3; ++i) {  // it lists anew
    REQUIRE(api.pending.size() == 1);
    api.fail(refused);
    loop.advance(2s);
  }
  api.answer(R"({"metadata":{"resourceVersion":"6"},"items":[]})");
  open();
  const std::string& log = *lines;
  CHECK(log.find("watch failed, is retried") == log.rfind("watch failed, is retried"));
  CHECK(log.find("watch works again") != std::string::npos);
  CHECK(log.find("resource=leases.coordination.k8s.io") != std::string::npos);
}
