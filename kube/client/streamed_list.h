#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace sharder::kube {

// Whether the API server shows the lists of one resource as a stream of events (sendInitialEvents), as far as watches
// of it have found out. They share it, because new ones begin all the time (with each change of a ring's members), and
// are not to find out anew each time. Pure; owned by the API loop (Api::streamed_list()).
class StreamedList {
 public:
  // After a stream that did not come to its end; doubled with each further one.
  static constexpr std::chrono::minutes kFirstPause{10};
  static constexpr std::chrono::minutes kLongestPause{160};

  bool may_ask(SteadyTime now) const { return !refused_ && now >= not_before_; }
  // The server has said that it does not know such streams: it is never asked again.
  void refused() { refused_ = true; }
  // A stream did not come to its end. False: that was known.
  bool failed(SteadyTime now) {
    if (!may_ask(now)) {
      return false;
    }
    not_before_ = now + pause_;
    pause_ = std::min(2 * pause_, kLongestPause);
    return true;
  }
  void worked() { pause_ = kFirstPause; }

 private:
  bool refused_ = false;
  SteadyTime not_before_ = SteadyTime::min();
  std::chrono::minutes pause_ = kFirstPause;
};

}  // namespace sharder::kube
