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
    throw std::invalid_argument("lease: identity, name and namespace are needed");
  }
  if (options.retry_period <= milliseconds(0) || options.renew_deadline <= options.retry_period ||
      options.lease_duration <= options.renew_deadline) {
    throw std::invalid_argument("lease: leaseDuration > renewDeadline > retryPeriod > 0 does not hold");
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
  void lose() {
    std::call_once(lost, [this] { wait_for([this](auto done) { driver->post_stop(std::move(done)); }); });
  }
  template <class Release>
  void end(Release release) {
    std::call_once(ended, [&] {
      release();
      loop->stop();
    });
  }

  Logger log;
  std::shared_ptr<TaskLoop> loop;
  std::unique_ptr<ElectionDriver> driver;
  std::once_flag stopped;  // stop() was called
  std::once_flag lost;     // nothing is renewed any more
  std::once_flag ended;    // released or abandoned
};

LeaderElection::LeaderElection(Api& api, const Clock& clock, LeaderElectionOptions options, Callbacks callbacks,
                               Logger log) {
  check(options);
  auto loop = std::make_shared<TaskLoop>("election", log);
  auto driver = std::make_unique<ElectionDriver>(api, clock, std::move(options), std::move(callbacks), log, loop);
  impl_ = std::make_unique<Impl>(std::move(log), std::move(loop), std::move(driver));
}

LeaderElection::~LeaderElection() {
  stop();
}

void LeaderElection::start() {
  impl_->driver->post_start();
}

void LeaderElection::stop(std::function<void()> released_when) {
  std::call_once(impl_->stopped, [&] {
    impl_->lose();
    if (released_when) {
      released_when();
    }
    impl_->end([&] { wait_for([&](auto done) { impl_->driver->post_release(std::move(done)); }); });
  });
}

void LeaderElection::abandon() {
  impl_->lose();
  impl_->end([this] { impl_->log.warn("the lease is not released, it will expire"); });
}

bool LeaderElection::was_taken() const {
  return impl_->driver->was_taken();
}

std::string LeaderElection::seen_label() const {
  return impl_->driver->seen_label();
}

bool LeaderElection::leading() const {
  return impl_->driver->valid();
}

BootTime LeaderElection::valid_until() const {
  return impl_->driver->valid_until();
}

}  // namespace sharder::kube
