#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "kube/client/lasting_failure.h"
#include "kube/events/events.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Takes the results of one resource's patches from the Mover. Decides whether one more may be sent, and reports lasting
// failures, once for all objects of the resource. On the control loop.
//
//                 ┌─ not permitted: a pause of a second; when that lasts, it is reported
//   a patch ──────┼─ a lasting failure: it is reported; over when no move is left, or none has failed so for 3 min
//                 ├─ slow (no answer in time, somebody's webhook fails): an eighth of the places, until one succeeds
//                 └─ carried out
class ResourcePatches {
 public:
  // Called with an error when objects of the resource cannot be patched: all of them, when patches are not permitted
  // (then it is called again while that lasts), or some of them. Called with nullopt when they can be patched again.
  using OnTrouble = std::function<void(const std::optional<Error>&)>;

  // `resource`: its name; `ring`: for Events.
  ResourcePatches(std::shared_ptr<Tools> tools, kube::ObjectReference ring, std::string resource, OnTrouble on_trouble);

  // Whether one more may be sent. `in_flight`: so many of the resource are under way; `places`: so many may be, of the
  // whole ring.
  bool may_send(std::size_t in_flight, std::size_t places, SteadyTime now) const;
  // No patch may be sent before that.
  SteadyTime paused_until() const { return paused_until_; }
  // So many moves were carried out so far.
  std::uint64_t carried_out() const { return carried_out_; }
  void count() { ++carried_out_; }

  // A pass over all objects begins, and has ended; `all_done`: no move of the resource is left.
  void pass_begins() { not_permitted_in_pass_ = false; }
  void pass_ended(bool all_done);

  // A patch was permitted, whatever its result.
  void permitted();
  // A patch was carried out. True: those that failed may be tried at once.
  bool succeeded();
  void failed(bool is_slow) { is_slow_ = is_slow; }
  // A patch was not permitted. True: that lasts, drop the moves that wait.
  bool not_permitted(const Error& error);
  // The patches of `object` have a lasting failure that is not its fault.
  void fails(const std::string& object, const Error& error);
  // Checks whether the lasting failure of objects is over.
  void look(bool all_done);

 private:
  // A resource that is slow has one of so many places, and at least one.
  static constexpr std::size_t kSlowShare = 8;
  // When no object has had a lasting failure for so long, it is over. Pauses are ended at most once in this time.
  static constexpr std::chrono::minutes kQuiet{3};
  static constexpr std::chrono::seconds kNotPermittedPause{1};

  std::shared_ptr<Tools> tools_;
  kube::ObjectReference ring_;
  std::string resource_;
  OnTrouble on_trouble_;
  Logger log_;
  std::uint64_t carried_out_ = 0;
  kube::LastingFailure permission_failure_;  // patches that are not permitted
  bool not_permitted_in_pass_ = false;       // since the pass began
  SteadyTime paused_until_ = SteadyTime::min();
  bool is_slow_ = false;
  struct Failing {
    SteadyTime last;  // time that an object failed so
    Error error;
  };
  std::optional<Failing> failing_;  // while a lasting failure of objects is reported
  SteadyTime hastened_ = SteadyTime::min();
};

}  // namespace sharder::rebalancer
