#pragma once

#include <functional>
#include <utility>

#include "base/executor.h"
#include "base/lifetime.h"

namespace sharder {

// Brings steps to an owner that lives on an executor, from any thread. Copies may outlive the owner: then they do
// nothing.
template <class Owner>
class Poster {
 public:
  using Step = std::move_only_function<void(Owner&)>;

  // `executor` outlives every copy; the rest is the owner's.
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
