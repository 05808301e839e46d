#include "kube/election/leader_election.h"

#include <future>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "base/task_loop.h"
#include "kube/election/election_driver.h"

namespace sharder::kube {

namespace {

void check(const LeaderElectionOptions& options) {
  using std::chrono::milliseconds;
  if (options.identity.empty() || options.lease_name.empty() || options.lease_namespace.empty()) {
    throw std::invalid_argument("leader election: identity, Lease name and namespace are needed");
  }
  if (options.retry_period <= milliseconds(0) || options.renew_deadline <= options.retry_period ||
      options.lease_duration <= options.renew_deadline) {
    throw std::invalid_argument("leader election: leaseDuration > renewDeadline > retryPeriod > 0 does not hold");
  }
}

// Runs `post(done)` and waits until it has called `done`.
template <class Post>
void wait_for(Post post) {
  const auto done = std::make_shared<std::promise<void>>();  // set_value() may still run when the waiter goes on
  post([done] { done->set_value(); });
  done->get_future().wait();
}

}  // namespace

struct LeaderElection::Impl {
  std::shared_ptr<TaskLoop> loop;
  std::unique_ptr<ElectionDriver> driver;
  std::once_flag stopped;
};

LeaderElection::LeaderElection(Api& api, const Clock& clock, LeaderElectionOptions options, Callbacks callbacks,
                               Logger log) {
  check(options);
  auto loop = std::make_shared<TaskLoop>("election", log);
  auto driver = std::make_unique<ElectionDriver>(api, clock, std::move(options), std::move(callbacks), log, loop);
  impl_ = std::make_unique<Impl>();
  impl_->loop = std::move(loop);
  impl_->driver = std::move(driver);
}

LeaderElection::~LeaderElection() {
  stop();
}

void LeaderElection::start() {
  impl_->driver->post_start();
}

void LeaderElection::stop(std::function<void()> released_when) {
  std::call_once(impl_->stopped, [&] {
    wait_for([&](auto done) { impl_->driver->post_stop(std::move(done)); });
    if (released_when) {
      released_when();
    }
    wait_for([&](auto done) { impl_->driver->post_release(std::move(done)); });
    impl_->loop->stop();
  });
}

bool LeaderElection::leading() const {
  return impl_->driver->leading();
}

}  // namespace sharder::kube
