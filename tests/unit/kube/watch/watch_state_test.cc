#include "kube/watch/watch_state.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

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
  return report.watching ? "up"
         : !report.error ? "down"
                         : "down " + std::string(to_string(report.error->code)) + (report.is_news ? "" : " as before");
}
std::string text(const watch_action::LogPages&) {
  return "tell";
}
std::string text(const watch_action::Pause&) {
  return "pause";
}

// A state machine, its last pause, and shorthands for what can happen to it. Answers are the actions, ", " between.
struct Machine {
  explicit Machine(const WatchStateOptions& options = {.stream_list = false}) : state(options, *streamed_list, 1) {}

  std::string on(const WatchInput& input) {
    std::string out;
    for (const WatchAction& action : state.on(input, now)) {
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
  void settle() { now += WatchState::kSettled; }
  // Time passes, and the deadline is kept as ListWatch keeps it.
  std::string pass(SteadyTime::duration time) {
    std::string out;
    for (const SteadyTime end = now + time; now < end;) {
      const auto due = state.deadline();
      now = std::clamp(due.value_or(end), now, end);
      if (due && *due <= now) {
        out += on(watch_input::Late{});
      }
    }
    return out;
  }
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

  StreamedList::Server server;
  std::unique_ptr<StreamedList> streamed_list = std::make_unique<StreamedList>(server);
  WatchState state;
  SteadyTime now{1h};
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

TEST_CASE("a server that rejects initial events is asked for pages, and never for them again") {
  Machine machine(WatchStateOptions{});
  machine.start();
  CHECK(machine.fail(ErrorCode::kInvalid, 422) == "close, list 500");
  CHECK(machine.page("5") == "init, items, init-done, watch 5");
  machine.open();
  CHECK(machine.fail(ErrorCode::kGone, 410) == "close, down gone, pause");
  CHECK(machine.resume() == "list 500");
}

TEST_CASE("a server that ignores sendInitialEvents is asked for pages, and that is logged") {
  SUBCASE("it sends a bookmark of another kind") {
    Machine machine = streaming();
    CHECK(machine.added("9") == "init, init-apply");
    CHECK(machine.bookmark("9") == "tell, close, list 500");
    CHECK(machine.page("9") == "init, items, init-done, watch 9");
  }
  SUBCASE("it is silent after the objects") {
    Machine machine = streaming();
    machine.pass(9s);
    CHECK(machine.added("9") == "init, init-apply");
    CHECK(machine.pass(9s) == "");
    CHECK(machine.pass(1s) == "tell, close, list 500");
  }
  SUBCASE("it ends the stream in order, twice") {
    Machine machine = streaming();
    CHECK(machine.end() == "down unavailable, pause");
    CHECK(machine.resume() == "watch initial");
    machine.open();
    CHECK(machine.end() == "tell, close, list 500");
  }
  SUBCASE("its end has no resourceVersion") {
    Machine machine = streaming();
    CHECK(machine.bookmark("", true) == "tell, close, list 500");
  }
  SUBCASE("it sends what is no event") {
    Machine machine = streaming();
    CHECK(machine.fail(ErrorCode::kInvalid) == "tell, close, list 500");
  }
}

TEST_CASE("only initial objects are progress of the initial events") {
  Machine machine = streaming();
  machine.added("3");
  for (int second = 0; second < 9; ++second) {
    CHECK(machine.pass(1s) == "");
    CHECK(machine.modified("11") == "init-apply");
    CHECK(machine.deleted("12") == "delete");
  }
  CHECK(machine.pass(1s) == "tell, close, list 500");
}

TEST_CASE("initial events have a deadline in all that no object prolongs") {
  Machine machine = streaming();
  for (int second = 0; second < 29; ++second) {
    machine.added("9");
    CHECK(machine.pass(1s) == "");
  }
  machine.added("9");
  CHECK(machine.pass(1s) == "tell, close, list 500");
}

TEST_CASE("who does not bring initial events to their end is asked again after pauses that grow") {
  Machine machine = streaming();
  CHECK(machine.pass(10s) == "tell, close, list 500");
  const auto list_anew = [&](SteadyTime::duration after) {
    machine.page("5");
    machine.open();
    machine.now += after;
    machine.fail(ErrorCode::kGone, 410);
    return machine.resume();
  };
  CHECK(list_anew(9min) == "list 500");
  CHECK(list_anew(1min) == "watch initial");
  machine.open();
  CHECK(machine.pass(10s) == "tell, close, list 500");
  CHECK(list_anew(19min) == "list 500");
  CHECK(list_anew(1min) == "watch initial");
  machine.open();
  machine.bookmark("7", true);
  machine.fail(ErrorCode::kGone, 410);
  CHECK(machine.resume() == "watch initial");
}

TEST_CASE("what one watch found out about initial events the others of the resource need not") {
  StreamedList::Server server;
  StreamedList list(server);
  const SteadyTime now{1h};
  WatchState first({}, list, 1);
  WatchState second({}, list, 2);
  for (WatchState* watch : {&first, &second}) {
    watch->on(watch_input::Started{}, now);
    watch->on(watch_input::StreamOpened{}, now);
  }
  const auto tells = [](const WatchActions& actions) {
    return std::ranges::any_of(actions,
                               [](const auto& a) { return std::holds_alternative<watch_action::LogPages>(a); });
  };
  CHECK(tells(first.on(watch_input::Late{}, now + 10s)));
  CHECK_FALSE(tells(second.on(watch_input::Late{}, now + 10s)));
  CHECK(second.phase() == WatchPhase::kListing);
  WatchState third({}, list, 3);
  third.on(watch_input::Started{}, now + 11s);
  CHECK(third.phase() == WatchPhase::kListing);
}

TEST_CASE("a stream that did not come to its end counts for resources of which none has") {
  StreamedList::Server server;
  StreamedList slow(server), fresh(server), proven(server);
  const SteadyTime now{1h};
  proven.worked();
  CHECK(slow.failed(now));
  CHECK_FALSE(slow.may_ask(now));
  CHECK_FALSE(fresh.may_ask(now));
  CHECK(proven.may_ask(now));
  CHECK(fresh.may_ask(now + StreamedList::kFirstPause));
  proven.worked();  // so the server does send them
  CHECK(fresh.may_ask(now));
  CHECK_FALSE(slow.may_ask(now));
}

TEST_CASE("initial events that break off begin anew") {
  Machine machine = streaming();
  CHECK(machine.added("9") == "init, init-apply");
  CHECK(machine.fail(ErrorCode::kUnavailable) == "close, down unavailable, pause");
  CHECK(machine.resume() == "watch initial");
  CHECK(machine.added("9") == "init, init-apply");
  CHECK(machine.fail(ErrorCode::kUnavailable) == "close, down unavailable, pause");
  CHECK(machine.resume() == "list 500");  // something cuts what takes so long
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

TEST_CASE("a failure notifies the sink, and is tried again after a pause") {
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
    CHECK(machine.fail(code, 429) == down);  // before its header came, too
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

TEST_CASE("a watch that is silent is not trusted: it lists anew, in pages") {
  Machine machine(WatchStateOptions{});
  machine.start();
  machine.open();
  machine.bookmark("5", true);
  CHECK(machine.pass(89s) == "");
  CHECK(machine.added("6") == "apply");
  CHECK(machine.pass(89s) == "");
  CHECK(machine.bookmark("7") == "");
  CHECK(machine.pass(89s) == "");
  CHECK(machine.pass(1s) == "close, down timeout, pause");
  CHECK(machine.resume() == "list 500");
  CHECK(machine.page("8") == "init, items, init-done, watch 8");
  machine.open();
  // Told once, as long as nothing is heard.
  CHECK(machine.pass(90s) == "close, down timeout as before, pause");
  machine.resume();
  machine.page("8");
  machine.open();
  machine.bookmark("9");
  CHECK(machine.pass(90s) == "close, down timeout, pause");
}

TEST_CASE("silence counts over all connections") {
  Machine machine;
  machine.watching();
  machine.now = SteadyTime(2h);
  machine.bookmark("6");
  for (int cut = 1; cut <= 4; ++cut) {
    CHECK(machine.pass(20s) == "");
    CHECK(machine.fail(ErrorCode::kUnavailable) == "close, down unavailable, pause");
    CHECK(machine.resume() == "watch 6");
    CHECK(machine.open() == "up");
  }
  CHECK(machine.pass(10s) == "close, down timeout, pause");
  CHECK(machine.resume() == "list 500");
}

TEST_CASE("a watch that ends after too long a silence lists anew") {
  Machine machine;
  machine.watching();
  machine.now += 90s;
  CHECK(machine.end() == "down, list 500");
}

TEST_CASE("after an outage the server may be another one: the resume lists anew, in pages") {
  for (const auto& [code, status] : {std::pair(ErrorCode::kUnavailable, 0), std::pair(ErrorCode::kTimeout, 0),
                                     std::pair(ErrorCode::kUnavailable, 503)}) {
    CAPTURE(to_string(code));
    Machine machine(WatchStateOptions{});
    machine.start();
    machine.open();
    machine.bookmark("5", true);
    machine.fail(ErrorCode::kUnavailable);
    CHECK(machine.resume() == "watch 5");
    machine.fail(code, status);
    CHECK(machine.resume() == "list 500");
  }
}

TEST_CASE("a watch that is not let in again within a second lists anew: the server may be another one") {
  Machine machine;
  machine.watching().fail(ErrorCode::kUnavailable);
  machine.now += 10s;  // our own pause is not the server's
  CHECK(machine.resume() == "watch 5");
  SUBCASE("something holds the connection until there is a server again") {
    machine.now += 1s;
    CHECK(machine.open() == "close, list 500");
  }
  SUBCASE("it is held, and then not permitted") {
    machine.now += 1s;
    CHECK(machine.fail(ErrorCode::kForbidden, 403) == "close, down forbidden, pause");
    CHECK(machine.resume() == "list 500");
  }
  SUBCASE("it is let in at once") {
    CHECK(machine.open() == "up");
    machine.now += 10s;
    CHECK(machine.bookmark("6") == "");
  }
}

TEST_CASE("where no watch can be opened behind a list, lists do not come one after the other") {
  Machine machine;
  machine.start();
  CHECK(machine.page("5") == "init, items, init-done, watch 5");
  for (int attempt = 0; attempt < 5; ++attempt) {
    machine.now += 5s;
    machine.fail(ErrorCode::kUnavailable);
    CHECK(machine.resume() == "watch 5");
  }
  machine.now += 5s;
  machine.fail(ErrorCode::kUnavailable);
  CHECK(machine.resume() == "list 500");
}

TEST_CASE("a server that answers with an error at once is no outage") {
  for (const auto& [code, status] : {std::pair(ErrorCode::kUnavailable, 429), std::pair(ErrorCode::kUnavailable, 500),
                                     std::pair(ErrorCode::kForbidden, 403)}) {
    CAPTURE(status);
    Machine machine;
    machine.watching();
    machine.fail(ErrorCode::kUnavailable);
    for (int attempt = 0; attempt < 5; ++attempt) {
      CHECK(machine.resume() == "watch 5");
      machine.fail(code, status);
    }
    CHECK(machine.resume() == "watch 5");
    CHECK(machine.open() == "up");
  }
}

TEST_CASE("versions that go backwards are another server's: it lists anew") {
  for (const bool bookmark : {false, true}) {
    Machine machine;
    machine.watching().added("100");
    CHECK((bookmark ? machine.bookmark("99") : machine.modified("99")) == "close, down gone, pause");
    CHECK(machine.resume() == "list 500");
    CHECK(machine.page("50") == "init, items, init-done, watch 50");
  }
}

TEST_CASE("versions that go backwards again behind the new list are not compared any more") {
  Machine machine;
  machine.watching().modified("4");
  machine.resume();
  machine.page("50");
  machine.open();
  CHECK(machine.modified("7") == "apply");
  CHECK(machine.modified("6") == "apply");
  CHECK(machine.state.resource_version() == "6");
}

TEST_CASE("versions that have gone backwards once are compared again when a watch has stood to its end") {
  Machine machine;
  machine.watching().modified("4");
  machine.resume();
  machine.page("50");
  machine.open();
  machine.settle();
  CHECK(machine.end() == "down, watch 50");
  machine.open();
  CHECK(machine.modified("7") == "close, down gone, pause");
}

TEST_CASE("the last state of a deleted object takes nothing back") {
  Machine machine;
  machine.watching().added("100");
  CHECK(machine.deleted("7") == "delete");
  CHECK(machine.state.resource_version() == "100");
  CHECK(machine.deleted("101") == "delete");
  CHECK(machine.state.resource_version() == "101");
}

TEST_CASE("versions that are no numbers are not compared") {
  Machine machine;
  machine.watching();
  CHECK(machine.added("b") == "apply");
  CHECK(machine.added("a") == "apply");
  CHECK(machine.state.resource_version() == "a");
}

TEST_CASE("what the server answers with errors again and again is tried less and less, an outage as often as ever") {
  Machine m({.stream_list = false, .max_error_backoff = 2min});
  m.start();
  for (int i = 0; i < 20; ++i) {
    m.fail(ErrorCode::kUnavailable, 500);
    m.resume();
  }
  m.fail(ErrorCode::kUnavailable, 500);
  CHECK(m.paused >= 1min);
  CHECK(m.paused <= 2min);
  for (int i = 0; i < 20; ++i) {
    m.resume();
    m.fail(ErrorCode::kUnavailable);
    CHECK(m.paused <= 2s);
  }
  m.resume();
  m.page("5");
  m.open();
  m.settle();
  m.fail(ErrorCode::kUnavailable, 500);
  CHECK(m.paused <= 200ms);
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
  CHECK(machine.on(watch_input::Late{}) == "");
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
