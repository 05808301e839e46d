#include "kube/client/retries.h"

#include "kube/client/failure_class.h"

namespace sharder::kube {

Retries::Retries(const Policies& policies, std::uint64_t seed)
    : transient_(policies.transient, seed), lasting_(policies.lasting, seed) {}

Retries::Failure Retries::failed(const Error& error, SteadyTime now) {
  pending_ = true;
  const bool is_news = failure_.failed(error, now);
  const bool lasts = is_permanent(error) || (failure_.lasts() && LastingFailure::counts(error));
  // What failed in one way is tried soon when it fails in the other.
  (lasts ? transient_ : lasting_).reset();
  return {.is_news = is_news, .lasts = lasts, .pause = (lasts ? lasting_ : transient_).next()};
}

bool Retries::succeeded(SteadyTime now) {
  pending_ = false;
  hasten();
  return failure_.succeeded(now);
}

void Retries::hasten() {
  transient_.reset();
  lasting_.reset();
}

void Retries::reset() {
  failure_ = {};
  pending_ = false;
  hasten();
}

}  // namespace sharder::kube
