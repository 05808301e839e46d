#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "kube/api.h"
#include "kube/resource.h"

namespace sharder::kube {

// Which kind, scope and preferred version a group's resource has. Keeps what it learnt; what it does not know, or what
// is older than `kMaxAge`, it asks again. Safe from any thread.
class Discovery {
 public:
  static constexpr std::chrono::minutes kMaxAge{10};
  // A resource that was not there is asked for at most this often, so that a wrong ring does not load the API server.
  static constexpr std::chrono::seconds kMinAge{2};

  Discovery(Api& api, Logger log);
  ~Discovery();

  using Callback = std::move_only_function<void(Result<Resource>)>;
  // Answers on the API loop: kNotFound when the API server serves no such resource, else as Api::send.
  void resolve(std::string group, std::string resource, Callback callback);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sharder::kube
