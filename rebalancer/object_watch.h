#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/lasting_failure.h"
#include "kube/codec/object_meta.h"
#include "kube/watch/list_watch.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// An event of a watch, with the object that it shows.
struct ObjectEvent {
  kube::WatchEventType type = kube::WatchEventType::kInit;
  kube::ObjectMeta object;  // empty for kInit and kInitDone
};

// A list and watch of the metadata of one resource's objects that match a selector. Objects are decoded on the API
// loop, and handed over to the control loop in batches. Owned by the control loop; no callback runs once it is
// destroyed.
class ObjectWatch {
 public:
  struct Callbacks {
    std::function<void(std::vector<ObjectEvent>)> on_events;
    // As WatchSink::on_connection.
    std::function<void(bool watching, const std::optional<Error>&)> on_connection;
    // More came than the control loop could handle, and the rest is lost: begin anew when there is room. Called once.
    std::function<void()> on_overflow;
  };
  // Objects on their way to the control loop.
  static constexpr std::size_t kMaxBacklog = 1500;

  // `bounded`: whether it can overflow; else all is handed over. `longest_pause`: between tries that the API server
  // answers with an error.
  ObjectWatch(const std::shared_ptr<Tools>& tools, const kube::Resource& resource, const std::string& label_selector,
              bool bounded, Callbacks callbacks, std::chrono::milliseconds longest_pause = kube::kLastingPauses.max);
  ~ObjectWatch();
  ObjectWatch(const ObjectWatch&) = delete;
  ObjectWatch& operator=(const ObjectWatch&) = delete;

 private:
  class Sink;
  struct Shared;

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<kube::ListWatch> watch_;
};

}  // namespace sharder::rebalancer
