#include "kube/watch_state.h"

#include <doctest/doctest.h>

using namespace sharder;
using namespace sharder::kube;
using namespace std::chrono_literals;

namespace {

std::string text(const watch_action::SendList& list) {
  return "list " + std::to_string(list.limit) + (list.continue_token.empty() ? "" : " " + list.continue_token);
}
std::string text(const watch_action::OpenWatch& watch) {
  return "watch " + (watch.resource_version.empty() ? "initial" : watch.resource_version);
}
std::string text(const watch_action::CloseStream&) {
  return "close";
}
std::string text(const watch_action::Show& show) {
  static constexpr const char* kNames[] = {"init", "init-apply", "init-done", "apply", "delete"};
  return kNames[static_cast<int>(show.type)];
}
std::string text(const watch_action::ShowItems&) {
  return "items";
}
std::string text(const watch_action::Report& report) {
  return report.watching ? "up" : report.error ? "down " + std::string(to_string(report.error->code)) : "down";
}
std::string text(const watch_action::Pause&) {
  return "pause";
}

// A state machine, its last pause, and shorthands for what can happen to it. Answers are the actions, ", " between.
struct Machine {
  explicit Machine(WatchStateOptions options = {.stream_list = false}) : state(options, 1) {}

  std::string on(const WatchInput& input) {
    std::string out;
    for (const WatchAction& action : state.on(input)) {
      out += (out.empty() ? "" : ", ") + std::visit([](const auto& value) { return text(value); }, action);
      if (const auto* pause = std::get_if<watch_action::Pause>(&action)) {
        paused = pause->delay;
      }
      if (const auto* watch = std::get_if<watch_action::OpenWatch>(&action)) {
        timeout = watch->timeout;
      }
    }
    return out;
  }

  std::string start() { return on(watch_input::Started{}); }
  std::string page(std::string_view version, std::string_view token = "") {
    return on(watch_input::PageCame{version, token});
  }
  std::string open() { return on(watch_input::StreamOpened{}); }
  std::string settle() { return on(watch_input::StreamSettled{}); }
  std::string silent() { return on(watch_input::StreamSilent{}); }
  std::string end() { return on(watch_input::StreamEnded{}); }
  std::string resume() { return on(watch_input::PauseOver{}); }
  std::string fail(ErrorCode code, int status = 0, std::string message = "") {
    return on(watch_input::Failed{{.code = code, .message = std::move(message), .http_status = status}});
  }
  std::string added(std::string_view version) {
    return on(watch_input::MessageCame{WatchMessageType::kAdded, version});
  }
  std::string modified(std::string_view version) {
    return on(watch_input::MessageCame{WatchMessageType::kModified, version});
  }
  std::string deleted(std::string_view version) {
    return on(watch_input::MessageCame{WatchMessageType::kDeleted, version});
  }
  std::string bookmark(std::string_view version, bool end = false) {
    return on(watch_input::MessageCame{WatchMessageType::kBookmark, version, end});
  }

  // A watch from resourceVersion 5 that has stood for a while.
  Machine& watching() {
    start();
    page("5");
    open();
    settle();
    return *this;
  }

  WatchState state;
  std::chrono::milliseconds paused{0};
  std::chrono::seconds timeout{0};
};

Machine streaming() {
  Machine machine(WatchStateOptions{});
  CHECK(machine.start() == "watch initial");
  CHECK(machine.open() == "");
  return machine;
}

}  // namespace

TEST_CASE("a list in pages goes over into a watch") {
  Machine machine;
  CHECK(machine.start() == "list 500");
  CHECK(machine.page("5", "next") == "init, items, list 500 next");
  CHECK(machine.page("5", "more") == "items, list 500 more");
  CHECK(machine.page("5") == "items, init-done, watch 5");
  CHECK(machine.state.phase() == WatchPhase::kConnecting);
  CHECK(machine.open() == "up");
  CHECK(machine.added("6") == "apply");
  CHECK(machine.modified("7") == "apply");
  CHECK(machine.deleted("8") == "delete");
  CHECK(machine.bookmark("20") == "");
  CHECK(machine.state.resource_version() == "20");
}

TEST_CASE("initial events are a list, the same stream goes on as the watch") {
  Machine machine = streaming();
  CHECK(machine.added("9") == "init, init-apply");
  CHECK(machine.added("3") == "init-apply");
  CHECK(machine.modified("11") == "init-apply");
  CHECK(machine.deleted("12") == "delete");
  CHECK(machine.state.resource_version() == "");
  CHECK(machine.bookmark("12", true) == "init-done, up");
  CHECK(machine.state.phase() == WatchPhase::kWatching);
  CHECK(machine.modified("13") == "apply");
  machine.settle();
  CHECK(machine.end() == "down, watch 13");
}

TEST_CASE("initial events of nothing are an empty list") {
  Machine machine = streaming();
  CHECK(machine.bookmark("12", true) == "init, init-done, up");
}

TEST_CASE("a server that refuses initial events is asked for pages, and never for them again") {
  Machine machine(WatchStateOptions{});
  machine.start();
  CHECK(machine.fail(ErrorCode::kInvalid, 422) == "close, list 500");
  CHECK(machine.page("5") == "init, items, init-done, watch 5");
  machine.open();
  CHECK(machine.fail(ErrorCode::kGone, 410) == "close, down gone, pause");
  CHECK(machine.resume() == "list 500");
}

TEST_CASE("a server that ignores sendInitialEvents is asked for pages") {
  SUBCASE("it sends a bookmark of another kind") {
    Machine machine = streaming();
    CHECK(machine.added("9") == "init, init-apply");
    CHECK(machine.bookmark("9") == "close, list 500");
    CHECK(machine.page("9") == "init, items, init-done, watch 9");
  }
  SUBCASE("it is silent after the objects") {
    Machine machine = streaming();
    CHECK(machine.silent() == "close, list 500");
  }
  SUBCASE("it ends the stream in order, twice") {
    Machine machine = streaming();
    CHECK(machine.end() == "down unavailable, pause");
    CHECK(machine.resume() == "watch initial");
    machine.open();
    CHECK(machine.end() == "close, list 500");
  }
  SUBCASE("its end has no resourceVersion") {
    Machine machine = streaming();
    CHECK(machine.bookmark("", true) == "close, list 500");
  }
  SUBCASE("it sends what is no event") {
    Machine machine = streaming();
    CHECK(machine.fail(ErrorCode::kInvalid) == "close, list 500");
  }
}

TEST_CASE("initial events that break off begin anew") {
  Machine machine = streaming();
  CHECK(machine.added("9") == "init, init-apply");
  CHECK(machine.fail(ErrorCode::kUnavailable) == "close, down unavailable, pause");
  CHECK(machine.resume() == "watch initial");
  CHECK(machine.added("9") == "init, init-apply");
}

TEST_CASE("a server that has no initial events to show is asked for pages once") {
  for (const ErrorCode code : {ErrorCode::kTimeout, ErrorCode::kUnavailable}) {
    CAPTURE(to_string(code));
    const std::string down = "down " + std::string(to_string(code)) + ", pause";
    Machine machine(WatchStateOptions{});
    machine.start();
    CHECK(machine.fail(code) == "close, " + down);
    CHECK(machine.resume() == "list 500");
    CHECK(machine.fail(code) == down);
    CHECK(machine.resume() == "watch initial");
    CHECK(machine.fail(code) == "close, " + down);
    CHECK(machine.resume() == "list 500");
    CHECK(machine.page("5") == "init, items, init-done, watch 5");
    machine.open();
    CHECK(machine.fail(ErrorCode::kGone, 410) == "close, down gone, pause");
    CHECK(machine.resume() == "watch initial");
  }
}

TEST_CASE("what fails is told and tried again after a pause") {
  for (const ErrorCode code : {ErrorCode::kForbidden, ErrorCode::kNotFound, ErrorCode::kUnavailable,
                               ErrorCode::kTimeout, ErrorCode::kUnauthorized, ErrorCode::kInvalid, ErrorCode::kGone}) {
    CAPTURE(to_string(code));
    const std::string down = "down " + std::string(to_string(code)) + ", pause";
    Machine list;
    list.start();
    CHECK(list.fail(code) == down);
    CHECK(list.resume() == "list 500");
    CHECK(list.fail(code) == down);
    CHECK(list.resume() == "list 500");
  }
}

TEST_CASE("a watch that fails goes on where it was") {
  for (const ErrorCode code : {ErrorCode::kForbidden, ErrorCode::kNotFound, ErrorCode::kUnavailable,
                               ErrorCode::kTimeout, ErrorCode::kTooLarge}) {
    CAPTURE(to_string(code));
    const std::string down = "close, down " + std::string(to_string(code)) + ", pause";
    Machine machine;
    machine.watching().added("7");
    CHECK(machine.fail(code) == down);
    CHECK(machine.resume() == "watch 7");
    CHECK(machine.fail(code) == down);  // before its header came, too
    CHECK(machine.resume() == "watch 7");
    CHECK(machine.open() == "up");
  }
}

TEST_CASE("a watch that can never go on lists anew") {
  const auto relists = [](ErrorCode code, int status, const std::string& message) {
    Machine machine;
    machine.watching();
    machine.fail(code, status, message);
    return machine.resume() == "list 500";
  };
  CHECK(relists(ErrorCode::kGone, 410, "too old resource version"));
  CHECK(relists(ErrorCode::kInvalid, 400, "invalid resource version"));
  CHECK(relists(ErrorCode::kInvalid, 0, "not a watch event"));
  CHECK(relists(ErrorCode::kUnavailable, 504, "Timeout: Too large resource version: 9, current: 5"));
  CHECK_FALSE(relists(ErrorCode::kUnavailable, 504, "Timeout"));
}

TEST_CASE("after a 410 the initial events are streamed again") {
  Machine machine = streaming();
  machine.bookmark("5", true);
  CHECK(machine.fail(ErrorCode::kGone, 410) == "close, down gone, pause");
  CHECK(machine.resume() == "watch initial");
}

TEST_CASE("a continue token that expired begins the list anew, with larger pages") {
  Machine machine;
  machine.start();
  CHECK(machine.page("5", "next") == "init, items, list 500 next");
  CHECK(machine.fail(ErrorCode::kGone, 410) == "down gone, pause");
  CHECK(machine.resume() == "list 1000");
  CHECK(machine.page("6") == "init, items, init-done, watch 6");
}

TEST_CASE("pages grow up to a limit") {
  Machine machine({.page_size = 5000, .stream_list = false});
  machine.start();
  for (const char* expected : {"list 8000", "list 8000"}) {
    machine.page("5", "next");
    machine.fail(ErrorCode::kGone, 410);
    CHECK(machine.resume() == expected);
  }
}

TEST_CASE("a page that is too large is asked for again in halves") {
  Machine machine({.page_size = 4, .stream_list = false});
  machine.start();
  CHECK(machine.page("5", "next") == "init, items, list 4 next");
  CHECK(machine.fail(ErrorCode::kTooLarge) == "list 2 next");
  CHECK(machine.fail(ErrorCode::kTooLarge) == "list 1 next");
  CHECK(machine.fail(ErrorCode::kTooLarge) == "down too large, pause");
  CHECK(machine.resume() == "list 1");
  machine.page("5", "next");
  machine.fail(ErrorCode::kGone, 410);
  CHECK(machine.resume() == "list 1");  // not doubled again
}

TEST_CASE("a request that is too long is not a page that is too large") {
  for (const int status : {414, 431}) {
    Machine machine;
    machine.start();
    CHECK(machine.fail(ErrorCode::kTooLarge, status) == "down too large, pause");
    CHECK(machine.resume() == "list 500");
  }
}

TEST_CASE("a list without a resourceVersion is not watched from") {
  Machine machine;
  machine.start();
  CHECK(machine.page("") == "down invalid, pause");
  CHECK(machine.resume() == "list 500");
}

TEST_CASE("the server's timeout ends a watch without a pause") {
  Machine machine;
  machine.watching().bookmark("30");
  CHECK(machine.end() == "down, watch 30");
  CHECK(machine.open() == "up");
}

TEST_CASE("a watch that ends at once, again and again, pauses longer and longer") {
  Machine machine;
  machine.watching();
  CHECK(machine.end() == "down, watch 5");
  std::chrono::milliseconds total{0};
  for (int i = 0; i < 20; ++i) {
    machine.open();
    CHECK(machine.end() == "down, pause");
    CHECK(machine.paused >= 50ms);
    CHECK(machine.paused <= 2000ms);
    total += machine.paused;
    CHECK(machine.resume() == "watch 5");
  }
  CHECK(total > 15s);
  // One that lasts makes the next pause short again.
  machine.open();
  machine.settle();
  machine.fail(ErrorCode::kUnavailable);
  CHECK(machine.paused <= 100ms);
}

TEST_CASE("a 410 to each watch does not become a loop of lists") {
  Machine machine;
  machine.start();
  std::chrono::milliseconds total{0};
  for (int i = 0; i < 20; ++i) {
    CHECK(machine.page("5") == "init, items, init-done, watch 5");
    CHECK(machine.fail(ErrorCode::kGone, 410) == "close, down gone, pause");
    total += machine.paused;
    CHECK(machine.resume() == "list 500");
  }
  CHECK(total > 15s);
}

TEST_CASE("a silent watch is taken up anew") {
  Machine machine;
  machine.watching();
  CHECK(machine.silent() == "close, down timeout, pause");
  CHECK(machine.resume() == "watch 5");
}

TEST_CASE("how long silence may last depends on what is awaited") {
  Machine machine = streaming();
  CHECK(machine.state.silence_limit() == 10s);
  machine.bookmark("5", true);
  CHECK(machine.state.silence_limit() == 90s);
}

TEST_CASE("a Retry-After is waited for") {
  Machine machine;
  machine.start();
  machine.on(watch_input::Failed{{.code = ErrorCode::kUnavailable, .message = "", .retry_after = 17s}});
  CHECK(machine.paused >= 17s);
  CHECK(machine.paused <= 19s);
}

TEST_CASE("the timeouts asked of the server are drawn between once and twice") {
  Machine machine;
  machine.watching();
  std::chrono::seconds least = machine.timeout;
  std::chrono::seconds most = machine.timeout;
  for (int i = 0; i < 100; ++i) {
    machine.settle();
    machine.end();
    least = std::min(least, machine.timeout);
    most = std::max(most, machine.timeout);
    machine.open();
  }
  CHECK(least >= 300s);
  CHECK(most <= 600s);
  CHECK(most - least > 100s);
}

TEST_CASE("nothing happens after the stop") {
  Machine machine;
  machine.watching();
  CHECK(machine.on(watch_input::Stopped{}) == "close");
  CHECK(machine.added("9") == "");
  CHECK(machine.end() == "");
  CHECK(machine.fail(ErrorCode::kGone) == "");
  CHECK(machine.resume() == "");
  CHECK(machine.start() == "");
  CHECK(machine.on(watch_input::Stopped{}) == "");
}

TEST_CASE("what comes too late or too early is ignored") {
  Machine machine;
  CHECK(machine.open() == "");
  CHECK(machine.end() == "");
  CHECK(machine.silent() == "");
  CHECK(machine.resume() == "");
  CHECK(machine.page("5") == "");
  CHECK(machine.fail(ErrorCode::kGone) == "");
  machine.start();
  CHECK(machine.start() == "");
  CHECK(machine.added("5") == "");
  machine.fail(ErrorCode::kGone);
  CHECK(machine.page("5") == "");
  CHECK(machine.fail(ErrorCode::kGone) == "");
  CHECK(machine.state.phase() == WatchPhase::kBackingOff);
}
