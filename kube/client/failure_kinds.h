#pragma once

#include <set>
#include <utility>

#include "base/error.h"

namespace sharder::kube {

// The kinds of failures (is_alike() in kube/client/failure_class.h) that have come since clear(), so that each is
// logged once. Owned by one thread.
class FailureKinds {
 public:
  // False: a failure like this one has come already.
  bool insert(const Error& error) { return kinds_.emplace(error.code, error.http_status).second; }
  // False: there was none.
  bool clear() { return !std::exchange(kinds_, {}).empty(); }

 private:
  std::set<std::pair<ErrorCode, int>> kinds_;
};

}  // namespace sharder::kube
