#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "kube/client/lasting_failure.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "rebalancer/object_watch.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Lists the objects of a resource that match a selector, to count them: as a stream from the API server's cache where
// it offers that, else in pages. Each list is followed by a pause that is so many times as long as the list took. A
// list that exceeds kTimeout is ended, and when lists have a lasting failure they are given up.
//
// On the control loop.
class CountingList {
 public:
  static constexpr std::chrono::minutes kLongestPause{5};
  static constexpr std::chrono::minutes kTimeout{1};

  struct Callbacks {
    std::function<void()> on_begin;  // of what a list shows; once more when the list has to begin anew
    std::function<void(const kube::ObjectMeta&)> on_object;
    std::function<void()> on_end;  // the list is complete
    std::function<void()> on_given_up;
  };

  // `pause`: how many times as long as the list.
  CountingList(std::shared_ptr<Tools> tools, int pause, Callbacks callbacks);

  // Lists now, unless a list is under way.
  void start(const kube::Resource& resource, const std::string& selector);
  // Ends the list that is under way.
  void stop() { list_.reset(); }
  // Call it every few seconds. True: the list took too long and was ended.
  bool look();
  // Whether a list may begin: none is under way, the pause is over, and lists were not given up.
  bool is_due() const;
  bool is_given_up() const { return given_up_; }
  // The last try failed.
  bool is_failing() const { return failure_.pending(); }
  void try_again() { given_up_ = false; }

 private:
  void came(const std::vector<ObjectEvent>& objects);
  void ended();
  void failed(const Error& error);

  const std::shared_ptr<Tools> tools_;
  const int pause_;
  const Callbacks callbacks_;
  std::unique_ptr<ObjectWatch> list_;  // while one is under way
  SteadyTime asked_ = {};
  SteadyTime answer_began_ = {};
  SteadyTime next_ = SteadyTime::min();  // no list before
  kube::LastingFailure failure_;
  bool given_up_ = false;
};

}  // namespace sharder::rebalancer
