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

// Finds the kind, scope and version of a group's resource: the group's preferred version, else the first of its
// versions that serves the resource (/apis/<group>, then /apis/<group>/<version> of each; /api/v1 for the core group).
// Remembers the answers, and asks again for a resource that is unknown or older than `kMaxAge`. When that fails, the
// old answer still counts: a resource does not change its kind. A version that fails (an APIService without a backend)
// does not hide what another version serves. Resolves of one group share their requests. Safe from any thread.
class Discovery {
 public:
  static constexpr std::chrono::minutes kMaxAge{10};
  // A resource that was not there is asked for at most this often, so that a wrong ring does not load the API server.
  static constexpr std::chrono::seconds kMinAge{2};

  Discovery(Api& api, Logger log);
  Discovery(Api& api, const Clock& clock, Logger log);  // `clock` outlives the Api's loop
  ~Discovery();

  using Callback = std::move_only_function<void(Result<Resource>)>;
  // Calls back on the API loop, exactly once, even when this is destroyed by then. kNotFound when the API server serves
  // no such resource, else as Api::send. `max_age`: how old a remembered answer may be; kMinAge when a resource turned
  // out to be no longer served.
  void resolve(std::string group, std::string resource, Callback callback, std::chrono::nanoseconds max_age = kMaxAge);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sharder::kube
