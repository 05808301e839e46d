#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "kube/codec/json.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"
#include "tests/support/fake_lease_server.h"

namespace sharder::testing {

// A machine whose wall clock is wrong, and that may have slept.
class MachineClock final : public Clock {
 public:
  explicit MachineClock(const Clock& base) : base_(base) {}
  WallTime wall() const override { return base_.wall() + wall_offset; }
  SteadyTime steady() const override { return base_.steady(); }
  BootTime boot() const override { return base_.boot() + slept; }

  std::chrono::microseconds wall_offset{0};
  std::chrono::nanoseconds slept{0};

 private:
  const Clock& base_;
};

// A Lease, and the time in which processes hold it: all of the test's thread.
struct LeaseWorld {
  FakeClock clock;
  FakeExecutor executor{clock};
  FakeLeaseServer server{executor};
  std::shared_ptr<Executor> shared{&executor, [](Executor*) {}};

  std::string spec(const char* field) const {
    return kube::string_at(server.lease, ("/spec/" + std::string(field)).c_str());
  }
  std::string holder() const { return spec("holderIdentity"); }
  // Seconds since the start of the world.
  double now() const {
    return std::chrono::duration<double>(clock.steady() - SteadyTime(std::chrono::hours(1))).count();
  }
};

}  // namespace sharder::testing
