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

// What the patches of one resource meet: whether one more may be sent, and what is told of them, once for all objects
// of the resource. The Mover reports to it. On the control loop.
//
//                 ┌─ forbidden: a pause of a second, and when that lasts it is told
//   a patch ──────┼─ its object fails and fails: it is told; over when one succeeds and none has failed so for 3 min
//                 ├─ slow (no answer in time, somebody's webhook fails): an eighth of the places, until one succeeds
//                 └─ carried out
class ResourcePatches {
 public:
  // Objects cannot be patched: none, where that is forbidden, which is told again while it lasts, or some; nullopt: now
  // they can.
  using OnTrouble = std::function<void(const std::optional<Error>&)>;

  // `resource`: its name; `ring`: of which ring Events tell.
  ResourcePatches(std::shared_ptr<Tools> tools, kube::ObjectReference ring, std::string resource, OnTrouble on_trouble);

  // Whether one more may be sent while so many of the resource are under way; `places`: so many the ring may have.
  bool may_send(std::size_t in_flight, std::size_t places, SteadyTime now) const;
  // None before that.
  SteadyTime paused_until() const { return paused_until_; }
  // So many moves were carried out so far.
  std::uint64_t carried_out() const { return carried_out_; }
  void count() { ++carried_out_; }

  // A pass over all objects begins, and has ended; `all_done`: no move of the resource is left.
  void pass_begins() { refused_in_pass_ = false; }
  void pass_ended(bool all_done);

  // One came past the API server's authorisation, whatever became of it then.
  void granted();
  // One was carried out. True: those that failed may be tried at once.
  bool succeeded();
  void failed(bool is_slow) { is_slow_ = is_slow; }
  // True: it lasts, the moves that wait are of no use.
  bool forbidden(const Error& error);
  // `object` fails and fails, by no fault of its own.
  void fails(const std::string& object, const Error& error);
  // Whether it is over that objects fail.
  void look(bool all_done);

 private:
  // A resource that is slow has this part of the places, and at least one.
  static constexpr std::size_t kSlowShare = 8;
  // Where no object has failed so often for so long, all is well again; so long pauses are not ended a second time.
  static constexpr std::chrono::minutes kQuiet{3};
  static constexpr std::chrono::seconds kForbiddenPause{1};

  std::shared_ptr<Tools> tools_;
  kube::ObjectReference ring_;
  std::string resource_;
  OnTrouble on_trouble_;
  Logger log_;
  std::uint64_t carried_out_ = 0;
  kube::LastingFailure refusal_;  // patches that are not permitted
  bool refused_in_pass_ = false;  // since its beginning
  SteadyTime paused_until_ = SteadyTime::min();
  bool is_slow_ = false;
  std::optional<SteadyTime> failing_;  // it was told that objects fail and fail: the last time that one did
  SteadyTime hastened_ = SteadyTime::min();
};

}  // namespace sharder::rebalancer
