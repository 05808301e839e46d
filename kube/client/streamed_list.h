#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace sharder::kube {

// Whether the API server sends the lists of one resource as a stream of events (sendInitialEvents). All watches of the
// resource share what one has found out, because new ones begin all the time (with each change of a ring's members).
// Pure; owned by the API loop (Api::streamed_list()).
class StreamedList {
 public:
  // After a stream that did not come to its end; doubled with each further one.
  static constexpr std::chrono::minutes kFirstPause{10};
  static constexpr std::chrono::minutes kLongestPause{160};

  bool may_ask(SteadyTime now) const { return !rejected_ && now >= not_before_; }
  // The server rejects such streams: it is never asked again.
  void rejected() { rejected_ = true; }
  // A stream did not come to its end. False: that was known already.
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
  bool rejected_ = false;
  SteadyTime not_before_ = SteadyTime::min();
  std::chrono::minutes pause_ = kFirstPause;
};

}  // namespace sharder::kube
