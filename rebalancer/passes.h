#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/lifetime.h"
#include "base/timer.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/pass_plan.h"
#include "rebalancer/ring_view.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Looks at all objects of a ring, resource by resource, in pages of metadata. There is never more than one page in
// memory, and the next one is requested only when there is room for the moves that it may bring. Where the ring selects
// few namespaces, these are listed one by one. A page is a consistent read (no resourceVersion). When the continue
// token has expired, the list goes on with the token of the 410 or, if there is none, begins anew. Failures are tried
// again with backoff. A resource that cannot be listed, or whose moves find no room, does not hold up the others.
//
// Owned by the ring's worker, on the control loop.
class Passes {
 public:
  static constexpr std::size_t kPageSize = 500;

  // The passes that were wanted and could be made have ended; they have looked at so many objects.
  using OnIdle = std::function<void(std::size_t objects)>;

  // A resource's Source in `view` gets the objects of its passes, and is notified of their failures.
  Passes(std::shared_ptr<Tools> tools, const RingView& view, OnIdle on_idle);

  // At once, or after a pause; if it runs already, once more behind that. The source's resource is known.
  void want(const Scope& scope, std::chrono::nanoseconds pause = {});
  // There is room again.
  void resume();

 private:
  // The resource of the scope that runs.
  Source& running() const { return view_.source(plan_.running()->source); }
  void advance();
  void next_list();
  void request_page();
  void page_came(Result<kube::Response> answer);
  void read_page(std::string body);
  void page_failed(const Error& error);
  void give_way(const Error& error);
  void wait_for_room();
  void no_room_came();
  void end_scope();
  void wait(std::chrono::nanoseconds pause, void (Passes::*then)());

  const std::shared_ptr<Tools> tools_;
  const RingView& view_;
  const OnIdle on_idle_;

  PassPlan plan_;
  std::size_t objects_ = 0;  // since it was idle
  bool ended_ = false;       // a scope, since it was idle
  Timer timer_;
  std::minstd_rand random_{std::random_device{}()};
  kube::ObjectMetaDecoder decoder_;

  // Of the scope that runs:
  SteadyTime began_ = {};
  std::vector<std::string> namespaces_;  // that are still to be listed, the last one first; "": all in one list
  std::string continue_token_;
  std::size_t page_size_ = kPageSize;
  int failures_ = 0;      // in a row
  bool crowded_ = false;  // something found no room
  bool waits_for_room_ = false;
  std::uint64_t carried_out_ = 0;  // moves, when it began to wait
  Lifetime lifetime_;
};

}  // namespace sharder::rebalancer
