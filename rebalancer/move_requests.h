#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/lifetime.h"
#include "kube/client/api.h"
#include "kube/codec/object_meta.h"
#include "kube/codec/precondition.h"
#include "rebalancer/flight.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// The requests of one ring's moves. Owned by its Mover, on the control loop; callbacks run there, as long as this
// lives. When it is destroyed, patches that wait in the client are not sent any more; patches under way end by
// themselves, and are counted.
class MoveRequests {
 public:
  template <class T>
  using Callback = std::move_only_function<void(Result<T>)>;
  struct Patched {
    bool was_overloaded = false;  // only after a 429, or a 503 with Retry-After
    bool has_changed = false;     // the answer has another resourceVersion than before
  };

  explicit MoveRequests(std::shared_ptr<Tools> tools) : tools_(std::move(tools)) {}
  ~MoveRequests() { ++*ring_version_; }
  MoveRequests(const MoveRequests&) = delete;
  MoveRequests& operator=(const MoveRequests&) = delete;

  // Patches that were decided before and wait in the client are not sent any more: kCancelled.
  void ring_changed() { ++*ring_version_; }
  std::uint64_t ring_version() const { return *ring_version_; }

  // Carries the move's decision out.
  void patch(const FlightPointer& flight, const kube::Precondition& precondition, Callback<Patched> callback);
  // Reads the object; nullopt: there is none. By a list, because users grant list and patch only (protocol, 8).
  void list(const FlightPointer& flight, Callback<std::optional<kube::ObjectMeta>> callback);
  // Reads the object itself: it may have a resourceVersion where lists show none. kInvalid: it has none either.
  void get(const FlightPointer& flight, Callback<kube::ObjectMeta> callback);

 private:
  const std::shared_ptr<Tools> tools_;
  // Also read where requests go out.
  const std::shared_ptr<std::atomic<std::uint64_t>> ring_version_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  kube::ObjectMetaDecoder decoder_;
  Lifetime lifetime_;
};

}  // namespace sharder::rebalancer
