#include "rebalancer/object_watch.h"

#include <atomic>
#include <utility>

namespace sharder::rebalancer {

// Both loops hold it; `callbacks` is the control loop's.
struct ObjectWatch::Shared {
  Shared(std::shared_ptr<Tools> t, Callbacks c) : tools(std::move(t)), callbacks(std::move(c)) {}

  std::shared_ptr<Tools> tools;
  Callbacks callbacks;
  std::atomic<bool> stopped = false;  // written by the control loop
  std::atomic<std::size_t> backlog = 0;
};

class ObjectWatch::Sink final : public kube::WatchSink {
 public:
  Sink(std::shared_ptr<Shared> shared, bool bounded) : shared_(std::move(shared)), bounded_(bounded) {}

  void on_event(const kube::WatchEvent& event) override {
    if (overflowed_ || shared_->stopped) {
      return;
    }
    ObjectEvent seen{.type = event.type, .object = {}};
    if (!event.object.empty()) {
      auto object = decoder_.decode(event.object);
      if (!object) {
        shared_->tools->log.warn("ignoring an object that cannot be decoded", {{"error", object.error().message}});
        return;
      }
      seen.object = std::move(*object);
    }
    if (bounded_ && shared_->backlog >= kMaxBacklog) {
      overflowed_ = true;
      flush();
      post([](Shared& shared) { shared.callbacks.on_overflow(); });
      return;
    }
    ++shared_->backlog;
    batch_->push_back(std::move(seen));
    if (batch_->size() == kBatch) {
      flush();
    } else if (batch_->size() == 1) {
      // After the loop's current work, so that many events make one hand-over.
      shared_->tools->api.loop().post([batch = batch_, shared = shared_] { hand_over(shared, *batch); });
    }
  }

  void on_connection(bool watching, const std::optional<Error>& error) override {
    flush();
    post([watching, error](Shared& shared) { shared.callbacks.on_connection(watching, error); });
  }

 private:
  // So many are handed over even while the loop reads what the server sent, so that the control loop may begin.
  static constexpr std::size_t kBatch = 100;
  using Batch = std::vector<ObjectEvent>;

  template <class F>
  void post(F f) {
    shared_->tools->control.post([shared = shared_, f = std::move(f)] {
      if (!shared->stopped) {
        f(*shared);
      }
    });
  }

  void flush() { hand_over(shared_, *batch_); }

  static void hand_over(const std::shared_ptr<Shared>& shared, Batch& batch) {
    if (batch.empty()) {
      return;
    }
    shared->tools->control.post([shared, objects = std::exchange(batch, {})]() mutable {
      shared->backlog -= objects.size();
      if (!shared->stopped) {
        shared->callbacks.on_events(std::move(objects));
      }
    });
  }

  // The API loop's:
  const std::shared_ptr<Shared> shared_;
  const bool bounded_;
  kube::ObjectMetaDecoder decoder_;
  const std::shared_ptr<Batch> batch_ = std::make_shared<Batch>();
  bool overflowed_ = false;
};

ObjectWatch::ObjectWatch(const std::shared_ptr<Tools>& tools, const kube::Resource& resource,
                         const std::string& label_selector, bool bounded, Callbacks callbacks,
                         std::chrono::milliseconds longest_pause)
    : shared_(std::make_shared<Shared>(tools, std::move(callbacks))),
      watch_(kube::ListWatch::start(tools->api, tools->clock,
                                    {.resource = resource,
                                     .label_selector = label_selector,
                                     .metadata_only = true,
                                     .max_error_backoff = longest_pause,
                                     .sink_handles_failures = true},
                                    std::make_shared<Sink>(shared_, bounded), tools->log)) {}

ObjectWatch::~ObjectWatch() {
  shared_->stopped = true;
  watch_->stop();
}

}  // namespace sharder::rebalancer
