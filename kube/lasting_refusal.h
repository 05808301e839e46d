#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"

namespace sharder::kube {

// Whether a 403 is to be believed: kube-apiserver refuses everything for about a second after it started, until it has
// read its roles. So only what is refused again and again for kPatience is not permitted.
class LastingRefusal {
 public:
  static constexpr std::chrono::seconds kPatience{5};

  // It was refused; true: so long that it is not permitted.
  bool refused(SteadyTime now) {
    if (!since_) {
      since_ = now;
    }
    return now >= *since_ + kPatience;
  }
  // It was granted.
  void granted() { since_.reset(); }
  // It was refused the last time.
  bool pending() const { return since_.has_value(); }

 private:
  std::optional<SteadyTime> since_;
};

}  // namespace sharder::kube
