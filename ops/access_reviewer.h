#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "kube/client/api.h"

namespace sharder::ops {

enum class Access {
  kAllowed,
  kUnauthenticated,  // no bearer token, or one that the API server does not know: 401
  kDenied,           // known, but not permitted: 403
  kUnknown,          // the API server could not be asked: 503
};

struct AccessReviewerOptions {
  // Of each of the two reviews.
  std::chrono::milliseconds review_timeout{5'000};
  // How long a decision holds. A token that is revoked meanwhile is still served.
  std::chrono::seconds allowed_for{60};
  std::chrono::seconds not_permitted_for{10};
  std::size_t max_decisions = 1024;  // kept at a time
  // At a time; past it callers get kUnknown. Everybody who reaches the port can send wrong tokens, but must not be able
  // to flood the API server with reviews of them.
  std::size_t max_reviews = 32;
};

// Decides who may `get` a path, as the API server sees it (protocol, 7): a TokenReview says who the caller is, a
// SubjectAccessReview whether it may get the nonResourceURL. Remembers decisions for a short while, by the SHA-256 of
// the token: the token itself is kept no longer than its review takes.
//
// Safe from any thread. `api` and `clock` outlive it. It may be destroyed while reviews are under way.
class AccessReviewer {
 public:
  using Callback = std::move_only_function<void(Access)>;

  AccessReviewer(kube::Api& api, const Clock& clock, AccessReviewerOptions options, const Logger& log);

  // `authorization` is the request's header, "" when there is none. The callback runs exactly once: within this call
  // when no review is needed, else on the API loop.
  void review(std::string_view authorization, std::string_view path, Callback callback);

 private:
  struct State;
  struct Review;
  std::shared_ptr<State> state_;
};

}  // namespace sharder::ops
