#pragma once

#include <set>
#include <utility>

#include "base/error.h"
#include "kube/client/failure_class.h"

namespace sharder::kube {

// The kinds of failures that have come since clear(), so that each is logged once. Owned by one thread.
class FailureKinds {
 public:
  // False: a failure like this one has come already.
  bool insert(const Error& error) { return kinds_.insert(failure_kind(error)).second; }
  // False: there was none.
  bool clear() { return !std::exchange(kinds_, {}).empty(); }

 private:
  std::set<FailureKind> kinds_;
};

}  // namespace sharder::kube
