#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/resource.h"

namespace sharder::kube {

// Which kind, scope and preferred version a group's resource has: the group's preferred version, else the first of its
// versions that serves the resource (/apis/<group>, then /apis/<group>/<version> of each; /api/v1 for the core group).
// Keeps what it learnt; what it does not know, or what is older than `kMaxAge`, it asks again. When that fails, what
// was known before still counts: a resource does not change its kind. A version that fails (an APIService without a
// backend) hides nothing that another version serves. Resolves of one group share their requests. Safe from any thread.
class Discovery {
 public:
  static constexpr std::chrono::minutes kMaxAge{10};
  // A resource that was not there is asked for at most this often, so that a wrong ring does not load the API server.
  static constexpr std::chrono::seconds kMinAge{2};

  Discovery(Api& api, Logger log);
  Discovery(Api& api, const Clock& clock, Logger log);  // `clock` outlives the Api's loop
  ~Discovery();

  using Callback = std::move_only_function<void(Result<Resource>)>;
  // Answers on the API loop, exactly once, also when this is gone by then: kNotFound when the API server serves no such
  // resource, else as Api::send. `max_age`: of what is known; kMinAge when that turned out to be served no more.
  void resolve(std::string group, std::string resource, Callback callback, std::chrono::nanoseconds max_age = kMaxAge);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sharder::kube
