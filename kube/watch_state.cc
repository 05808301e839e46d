#include "kube/watch_state.h"

#include <algorithm>
#include <utility>

namespace sharder::kube {

using namespace watch_action;

namespace {

// The resourceVersion is from the future of the server's data. It takes text: the cause in the Status has no code of
// its own, and servers before 1.19 have only the message (client-go reads it too).
bool is_too_large_version(const Error& error) {
  return error.message.find("Too large resource version") != std::string::npos;
}

// The server did not take the request because of its length, not because of the answer's: smaller pages don't help.
bool is_request_too_large(const Error& error) {
  return error.http_status == 414 || error.http_status == 431;
}

}  // namespace

WatchState::WatchState(WatchStateOptions options, std::uint64_t seed)
    : options_(options),
      backoff_({.max = options.max_backoff}, seed),
      random_(static_cast<std::minstd_rand::result_type>(seed)),
      stream_list_(options.stream_list),
      page_size_(std::max<std::size_t>(options.page_size, 1)) {}

WatchActions WatchState::on(const WatchInput& input) {
  WatchActions actions;
  if (phase_ != WatchPhase::kStopped) {
    std::visit([&](const auto& value) { handle(value, actions); }, input);
  }
  return actions;
}

std::chrono::milliseconds WatchState::silence_limit() const {
  return phase_ == WatchPhase::kStreaming ? std::min(kInitialSilence, options_.idle_timeout) : options_.idle_timeout;
}

void WatchState::handle(const watch_input::Started&, WatchActions& actions) {
  if (phase_ == WatchPhase::kEmpty) {
    go_on(actions);
  }
}

void WatchState::handle(const watch_input::PageCame& page, WatchActions& actions) {
  if (phase_ != WatchPhase::kListing) {
    return;
  }
  const bool is_last = page.continue_token.empty();
  if (is_last && page.resource_version.empty()) {
    pause(Error{.code = ErrorCode::kInvalid, .message = "the list has no resourceVersion"}, actions);
    return;
  }
  show_init(actions);
  actions.emplace_back(ShowItems{});
  if (!is_last) {
    continue_token_ = page.continue_token;
    send_page(actions);
    return;
  }
  actions.emplace_back(Show{WatchEventType::kInitDone});
  resource_version_ = page.resource_version;
  open_watch(actions);
}

void WatchState::handle(const watch_input::StreamOpened&, WatchActions& actions) {
  if (phase_ == WatchPhase::kConnecting) {
    phase_ = WatchPhase::kWatching;
    actions.emplace_back(Report{.watching = true, .error = std::nullopt});
  }
}

void WatchState::handle(const watch_input::MessageCame& message, WatchActions& actions) {
  if (phase_ == WatchPhase::kStreaming) {
    on_initial_message(message, actions);
    return;
  }
  if (phase_ != WatchPhase::kWatching) {
    return;
  }
  if (!message.resource_version.empty()) {
    resource_version_ = message.resource_version;
  }
  if (message.type != WatchMessageType::kBookmark) {
    actions.emplace_back(
        Show{message.type == WatchMessageType::kDeleted ? WatchEventType::kDelete : WatchEventType::kApply});
  }
}

void WatchState::on_initial_message(const watch_input::MessageCame& message, WatchActions& actions) {
  if (message.type != WatchMessageType::kBookmark) {
    // What changes meanwhile comes among the initial events, so also MODIFIED and DELETED.
    show_init(actions);
    actions.emplace_back(
        Show{message.type == WatchMessageType::kDeleted ? WatchEventType::kDelete : WatchEventType::kInitApply});
    return;
  }
  if (!message.initial_events_end || message.resource_version.empty()) {
    list_in_pages_instead(actions);
    return;
  }
  show_init(actions);
  actions.emplace_back(Show{WatchEventType::kInitDone});
  resource_version_ = message.resource_version;
  stream_list_cut_ = false;
  phase_ = WatchPhase::kWatching;
  actions.emplace_back(Report{.watching = true, .error = std::nullopt});
}

void WatchState::handle(const watch_input::StreamSettled&, WatchActions&) {
  settled_ = true;
  if (phase_ == WatchPhase::kWatching) {
    backoff_.reset();
  }
}

void WatchState::handle(const watch_input::StreamSilent&, WatchActions& actions) {
  if (phase_ == WatchPhase::kStreaming) {
    list_in_pages_instead(actions);
  } else if (phase_ == WatchPhase::kWatching) {
    actions.emplace_back(CloseStream{});
    pause(Error{.code = ErrorCode::kTimeout,
                .message = "watch: no byte for " + std::to_string(options_.idle_timeout.count()) + " ms"},
          actions);
  }
}

void WatchState::handle(const watch_input::StreamEnded&, WatchActions& actions) {
  if (phase_ == WatchPhase::kStreaming) {
    if (std::exchange(stream_list_cut_, true)) {
      list_in_pages_instead(actions);
    } else {
      // Once it may be a server that shuts down: it ends its watches in order.
      pause(Error{.code = ErrorCode::kUnavailable, .message = "watch: it ended before its initial events did"},
            actions);
    }
  } else if (phase_ == WatchPhase::kWatching || phase_ == WatchPhase::kConnecting) {
    if (settled_) {
      actions.emplace_back(Report{.watching = false, .error = std::nullopt});
      open_watch(actions);
    } else {
      pause(std::nullopt, actions);
    }
  }
}

void WatchState::handle(const watch_input::Failed& failed, WatchActions& actions) {
  const Error& error = failed.error;
  switch (phase_) {
    case WatchPhase::kListing:
      list_failed(error, actions);
      break;
    case WatchPhase::kStreaming:
      if (error.code == ErrorCode::kInvalid) {
        list_in_pages_instead(actions);
      } else {
        pages_next_ = !init_shown_ && (error.code == ErrorCode::kTimeout || error.code == ErrorCode::kUnavailable);
        actions.emplace_back(CloseStream{});
        pause(error, actions);
      }
      break;
    case WatchPhase::kConnecting:
    case WatchPhase::kWatching:
      if (error.code == ErrorCode::kGone || error.code == ErrorCode::kInvalid || is_too_large_version(error)) {
        resource_version_.clear();
      }
      actions.emplace_back(CloseStream{});
      pause(error, actions);
      break;
    case WatchPhase::kEmpty:
    case WatchPhase::kBackingOff:
    case WatchPhase::kStopped:
      break;
  }
}

void WatchState::list_failed(const Error& error, WatchActions& actions) {
  if (error.code == ErrorCode::kTooLarge && !is_request_too_large(error) && page_size_ > 1) {
    page_size_ /= 2;
    page_halved_ = true;
    send_page(actions);  // the same page: a continue token goes with any limit
    return;
  }
  if (error.code == ErrorCode::kGone && !continue_token_.empty() && !page_halved_) {
    page_size_ = std::min(page_size_ * 2, std::max(page_size_, kMaxPageSize));
  }
  pause(error, actions);
}

void WatchState::handle(const watch_input::PauseOver&, WatchActions& actions) {
  if (phase_ == WatchPhase::kBackingOff) {
    go_on(actions);
  }
}

void WatchState::handle(const watch_input::Stopped&, WatchActions& actions) {
  actions.emplace_back(CloseStream{});
  phase_ = WatchPhase::kStopped;
}

void WatchState::go_on(WatchActions& actions) {
  const bool pages = std::exchange(pages_next_, false) || !stream_list_;
  if (resource_version_.empty() && pages) {
    list(actions);
  } else {
    open_watch(actions);
  }
}

void WatchState::list(WatchActions& actions) {
  continue_token_.clear();
  init_shown_ = false;
  send_page(actions);
}

void WatchState::send_page(WatchActions& actions) {
  phase_ = WatchPhase::kListing;
  actions.emplace_back(SendList{.limit = page_size_, .continue_token = continue_token_});
}

void WatchState::open_watch(WatchActions& actions) {
  settled_ = false;
  phase_ = WatchPhase::kConnecting;
  if (resource_version_.empty()) {
    init_shown_ = false;
    phase_ = WatchPhase::kStreaming;
  }
  // Drawn, so that the watches of many clients that began together do not end together.
  const auto shortest = options_.watch_timeout.count();
  const std::chrono::seconds timeout(
      std::uniform_int_distribution<std::chrono::seconds::rep>(shortest, 2 * shortest)(random_));
  actions.emplace_back(OpenWatch{.resource_version = resource_version_, .timeout = timeout});
}

void WatchState::list_in_pages_instead(WatchActions& actions) {
  stream_list_ = false;
  actions.emplace_back(CloseStream{});
  list(actions);
}

void WatchState::show_init(WatchActions& actions) {
  if (!std::exchange(init_shown_, true)) {
    actions.emplace_back(Show{WatchEventType::kInit});
  }
}

void WatchState::pause(std::optional<Error> error, WatchActions& actions) {
  std::chrono::milliseconds delay = backoff_.next();
  if (error && error->retry_after) {
    delay += *error->retry_after;
  }
  phase_ = WatchPhase::kBackingOff;
  actions.emplace_back(Report{.watching = false, .error = std::move(error)});
  actions.emplace_back(Pause{delay});
}

}  // namespace sharder::kube
