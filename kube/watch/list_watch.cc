#include "kube/watch/list_watch.h"

#include <atomic>
#include <utility>
#include <vector>

#include "base/timer.h"
#include "kube/client/failure_kinds.h"
#include "kube/codec/list_page.h"
#include "kube/watch/watch_decoder.h"
#include "kube/watch/watch_state.h"

namespace sharder::kube {

namespace {

// A list page holds up to some thousand objects and may come from a busy etcd.
constexpr std::chrono::seconds kListTimeout{30};
// The server answers a watch with initial events when it has them. After this time a list in pages is tried.
constexpr std::chrono::seconds kInitialEventsTimeout{5};

// Does the actions of a WatchState. Everything but stop() happens on the API loop.
class Runner final : public std::enable_shared_from_this<Runner> {
 public:
  Runner(Api& api, const Clock& clock, ListWatchOptions options, std::shared_ptr<WatchSink> sink, const Logger& log)
      : api_(api),
        clock_(clock),
        options_(std::move(options)),
        sink_(std::move(sink)),
        log_(log.with({{"resource", name_of(options_.resource)}})),
        state_({.page_size = options_.page_size,
                .stream_list = options_.stream_list,
                .watch_timeout = options_.watch_timeout,
                .idle_timeout = options_.idle_timeout,
                .max_backoff = options_.max_backoff,
                .max_error_backoff = options_.max_error_backoff},
               api.streamed_list(name_of(options_.resource))) {}

  void start() {
    api_.loop().post([self = shared_from_this()] { self->step(watch_input::Started{}); });
  }
  void stop() {
    api_.loop().post([self = shared_from_this()] { self->end(); });
  }

 private:
  // Receives one stream. What an old stream still sends is ignored.
  class Sink final : public StreamSink {
   public:
    explicit Sink(std::shared_ptr<Runner> runner) : runner_(std::move(runner)) {}

    void on_open() override {
      if (is_current()) {
        runner_->step(watch_input::StreamOpened{});
      }
    }
    void on_data(std::string_view chunk) override {
      if (!is_current()) {
        return;
      }
      const auto fed = decoder_.feed(chunk, [this](const WatchMessage& message) {
        runner_->message_came(message);
        return is_current();
      });
      if (!fed && is_current()) {
        runner_->failed(fed.error());
      }
    }
    void on_close(std::optional<Error> error) override {
      if (is_current()) {
        runner_->stream_closed(std::move(error));
      }
      runner_.reset();
    }

   private:
    bool is_current() const { return runner_ && runner_->current_sink_ == this; }

    std::shared_ptr<Runner> runner_;
    WatchDecoder decoder_;
  };

  static std::string name_of(const Resource& resource) {
    return resource.group.empty() ? resource.plural : resource.plural + "." + resource.group;
  }

  void step(const WatchInput& input) {
    for (WatchAction& action : state_.on(input, clock_.steady())) {
      std::visit([this](auto& value) { act(value); }, action);
    }
    await_deadline();
  }

  void end() {
    step(watch_input::Stopped{});
    pause_timer_.cancel();
    deadline_timer_.cancel();
    sink_.reset();
  }

  void act(const watch_action::SendList& list) {
    Request request{.target = path(options_.resource, options_.object_namespace, {}, {},
                                   {{"labelSelector", options_.label_selector},
                                    {"fieldSelector", options_.field_selector},
                                    {"limit", std::to_string(list.limit)},
                                    {"continue", list.continue_token}}),
                    .timeout = kListTimeout,
                    .lane = Lane::kList};
    if (options_.metadata_only) {
      request.accept = kMetadataOnlyList;
    }
    api_.send(std::move(request),
              [self = shared_from_this()](Result<Response> result) { self->page_came(std::move(result)); });
  }

  void act(const watch_action::OpenWatch& watch) {
    const bool initial = watch.resource_version.empty();
    Request request{.target = path(options_.resource, options_.object_namespace, {}, {},
                                   {{"watch", "true"},
                                    {"allowWatchBookmarks", "true"},
                                    {"resourceVersion", watch.resource_version},
                                    {"sendInitialEvents", initial ? "true" : ""},
                                    {"resourceVersionMatch", initial ? "NotOlderThan" : ""},
                                    {"timeoutSeconds", std::to_string(watch.timeout.count())},
                                    {"labelSelector", options_.label_selector},
                                    {"fieldSelector", options_.field_selector}}),
                    .lane = Lane::kWatch};
    if (initial) {
      request.timeout = kInitialEventsTimeout;
    }
    if (options_.metadata_only) {
      request.accept = options_.compact ? kCompactMetadataWatch : kMetadataOnlyWatch;
    }
    auto sink = std::make_shared<Sink>(shared_from_this());
    current_sink_ = sink.get();
    stream_ = api_.open_stream(std::move(request), std::move(sink));
  }

  void act(const watch_action::CloseStream&) {
    current_sink_ = nullptr;
    if (stream_) {
      stream_->cancel();
      stream_.reset();
    }
  }

  void act(const watch_action::Show& show) {
    const bool has_object = show.type != WatchEventType::kInit && show.type != WatchEventType::kInitDone;
    sink_->on_event({.type = show.type, .object = has_object ? object_ : std::string_view()});
  }

  void act(const watch_action::ShowItems&) {
    for (const std::string_view item : items_) {
      sink_->on_event({.type = WatchEventType::kInitApply, .object = item});
    }
  }

  void act(const watch_action::Report& report) {
    log(report);
    sink_->on_connection(report.watching, report.error);
  }

  void act(const watch_action::LogPages& pages) {
    log_.warn("the API server does not stream lists to their end, they come in pages for some time",
              {{"error", pages.reason}});
  }

  void act(const watch_action::Pause& pause) {
    pause_timer_.set(pause.delay, [this] { step(watch_input::PauseOver{}); });
  }

  void page_came(Result<Response> result) {
    if (state_.phase() != WatchPhase::kListing) {
      return;  // stopped: nothing else ends a list that is under way
    }
    if (!result) {
      failed(std::move(result.error()));
      return;
    }
    const auto page = decode_list_page(result->body);
    if (!page) {
      failed(page.error());
      return;
    }
    items_ = page->items;
    step(watch_input::PageCame{.resource_version = page->resource_version, .continue_token = page->continue_token});
    items_ = {};
  }

  void message_came(const WatchMessage& message) {
    object_ = message.object;
    step(watch_input::MessageCame{.type = message.type,
                                  .resource_version = message.resource_version,
                                  .initial_events_end = message.initial_events_end});
    object_ = {};
  }

  void stream_closed(std::optional<Error> error) {
    current_sink_ = nullptr;
    stream_.reset();
    if (error) {
      failed(*std::move(error));
    } else {
      step(watch_input::StreamEnded{});
    }
  }

  void failed(Error error) {
    if (error.code == ErrorCode::kCancelled) {
      end();  // not by us: the Api itself ends
      return;
    }
    step(watch_input::Failed{fail("list and watch " + name_of(options_.resource), std::move(error)).error()});
  }

  // Usually the deadline has moved on when the timer fires. So an event sets no timer.
  void await_deadline() {
    const auto due = state_.deadline();
    if (!due || (deadline_timer_.is_set() && timer_due_ <= *due)) {
      return;
    }
    timer_due_ = *due;
    deadline_timer_.set(*due - clock_.steady(), [this] { step(watch_input::Late{}); });
  }

  // A failure is logged once, however often it is retried, and whatever object its message names. A watch that opens
  // and breaks again has not worked meanwhile.
  void log(const watch_action::Report& report) {
    if (options_.sink_handles_failures) {
      return;
    }
    if (report.watching) {
      open_since_ = clock_.steady();
      if (std::exchange(is_reported_, false)) {
        log_.info("watch works again");
      }
      return;
    }
    if (const auto since = std::exchange(open_since_, std::nullopt);
        since && clock_.steady() - *since >= WatchState::kSettled) {
      logged_.clear();
    }
    if (report.error && report.is_news && logged_.insert(*report.error)) {
      is_reported_ = true;
      log_.warn("watch failed, is retried", {{"error", report.error->message}});
    }
  }

  Api& api_;
  const Clock& clock_;
  const ListWatchOptions options_;
  std::shared_ptr<WatchSink> sink_;  // null once stopped
  const Logger log_;

  WatchState state_;
  const Sink* current_sink_ = nullptr;  // of the open stream; the Api owns it
  std::unique_ptr<Stream> stream_;
  Timer deadline_timer_{api_.loop()};
  SteadyTime timer_due_ = {};
  Timer pause_timer_{api_.loop()};
  std::string_view object_;              // of the message that is being handled
  std::vector<std::string_view> items_;  // of the page that is being handled
  FailureKinds logged_;                  // since the watch has worked
  std::optional<SteadyTime> open_since_;
  bool is_reported_ = false;  // and not yet that it works again
};

// The caller's handle. The runner lives until it has ended and the last answer has come.
class Handle final : public ListWatch {
 public:
  explicit Handle(std::shared_ptr<Runner> runner) : runner_(std::move(runner)) {}
  ~Handle() override { stop_once(); }
  void stop() override { stop_once(); }

 private:
  void stop_once() {
    if (!stopped_.exchange(true)) {
      runner_->stop();
    }
  }

  const std::shared_ptr<Runner> runner_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace

std::shared_ptr<ListWatch> ListWatch::start(Api& api, const Clock& clock, ListWatchOptions options,
                                            std::shared_ptr<WatchSink> sink, const Logger& log) {
  auto runner = std::make_shared<Runner>(api, clock, std::move(options), std::move(sink), log);
  runner->start();
  return std::make_shared<Handle>(std::move(runner));
}

}  // namespace sharder::kube
