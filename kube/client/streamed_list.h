#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace sharder::kube {

// Whether the API server sends the lists of one resource as a stream of events (sendInitialEvents). All watches of the
// resource share what one has found out, because new ones begin all the time (with each change of a ring's members).
// A stream that does not come to its end costs ten seconds, and the reason is often a proxy, so it counts for other
// resources too: those of which no stream has come to its end yet. Pure; owned by the API loop (Api::streamed_list()).
class StreamedList {
 public:
  // What all resources of an API server share.
  struct Server {
    SteadyTime doubted_until = SteadyTime::min();
  };

  // After a stream that did not come to its end; doubled with each further one.
  static constexpr std::chrono::minutes kFirstPause{10};
  static constexpr std::chrono::minutes kLongestPause{160};

  // `server` outlives it.
  explicit StreamedList(Server& server) : server_(server) {}

  bool may_ask(SteadyTime now) const {
    return !rejected_ && now >= not_before_ && (has_worked_ || now >= server_.doubted_until);
  }
  // The server rejects such streams: it is never asked again.
  void rejected() { rejected_ = true; }
  // A stream did not come to its end. False: that was known already.
  bool failed(SteadyTime now) {
    if (!may_ask(now)) {
      return false;
    }
    not_before_ = now + pause_;
    server_.doubted_until = now + kFirstPause;
    pause_ = std::min(2 * pause_, kLongestPause);
    return true;
  }
  void worked() {
    pause_ = kFirstPause;
    has_worked_ = true;
    server_.doubted_until = SteadyTime::min();
  }

 private:
  Server& server_;
  bool has_worked_ = false;
  bool rejected_ = false;
  SteadyTime not_before_ = SteadyTime::min();
  std::chrono::minutes pause_ = kFirstPause;
};

}  // namespace sharder::kube
