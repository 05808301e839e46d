#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/events/events.h"
#include "shard/client.h"
#include "shard/controller.h"
#include "shard/observer.h"

namespace prometheus {
class Registry;
}

namespace sharder::shard {

// What the controllers of a shard share. All of it outlives the Api's loop.
struct EngineTools {
  kube::Api& api;
  kube::Discovery& discovery;
  kube::EventRecorder& events;
  const Clock& clock;
  prometheus::Registry& registry;
  Client& client;
  std::function<bool()> valid;  // whether the Lease is; any thread
  std::string ring;
  std::string shard;
  std::string field_manager;
  std::shared_ptr<Observer> observer;  // null: nobody
};

// What a controller is doing, for metrics and readiness.
struct EngineStatus {
  bool synced = false;       // all of its caches are complete
  std::size_t objects = 0;   // main objects of this shard
  std::size_t draining = 0;  // of those: with a drain label
  std::size_t depth = 0;     // of the work queue
  std::size_t running = 0;   // reconciliations
  unsigned workers = 0;
  std::chrono::nanoseconds unfinished{0};  // that running reconciliations have taken, together
  std::chrono::nanoseconds longest{0};     // and the longest of them
};

// Runs one controller: its watches, caches, queue, workers and acknowledgements (the rules: decision 9).
//
//   watch (API loop) ──► caches and queue (locked) ──► worker threads: reconcile
//                             ▲                              │ it drains: acknowledge, when it has ended
//                             └── the object has left ◄──────┘
class Engine {
 public:
  Engine(std::shared_ptr<const EngineTools> tools, ControllerOptions options, const Logger& log);
  // As stop(); joins the workers.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Once. The lists begin after `pause`; workers begin when all caches are complete.
  void start(std::chrono::nanoseconds pause = {});
  // No reconciliation and no acknowledgement begins after it has returned. Running ones are asked to stop. Any thread.
  void stop();
  // After stop(): true when no reconciliation is running any more; false when there is still one after `timeout`.
  bool wait_until_idle(std::chrono::nanoseconds timeout);

  const std::string& name() const;
  EngineStatus status() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace sharder::shard
