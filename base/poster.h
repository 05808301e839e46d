#pragma once

#include <functional>
#include <utility>

#include "base/executor.h"
#include "base/lifetime.h"

namespace sharder {

// Posts steps from any thread to an owner that lives on an executor. Copies may outlive the owner; they then do
// nothing.
template <class Owner>
class Poster {
 public:
  using Step = std::move_only_function<void(Owner&)>;

  // `executor` outlives every copy; `lifetime` is a member of the owner.
  Poster(Owner& owner, const Lifetime& lifetime, Executor& executor)
      : executor_(&executor), run_(lifetime.bind([&owner](Step& step) { step(owner); })) {}

  // Runs step(owner) on the executor unless its lifetime has ended by then.
  void operator()(Step step) const {
    executor_->post([run = run_, step = std::move(step)]() mutable { run(step); });
  }

 private:
  Executor* executor_;
  std::function<void(Step&)> run_;
};

}  // namespace sharder
