#pragma once

#include <memory>
#include <tuple>
#include <utility>

#include "base/executor.h"

namespace sharder {

// Prevents callbacks from running when their owner is gone. It is a member of the owner, declared after everything that
// the callbacks use, so it ends first. Bound callbacks run on the owner's executor. The owner is destroyed on that
// executor, or after it has stopped.
class Lifetime {
 public:
  Lifetime() = default;
  ~Lifetime() = default;
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  // Returns a callback for the owner's executor. It runs `f` unless the lifetime has ended.
  template <class F>
  auto bind(F f) const {
    return [alive = std::weak_ptr<const Alive>(alive_),
            f = std::move(f)]<class... Arguments>(Arguments&&... arguments) mutable {
      if (!alive.expired()) {
        f(std::forward<Arguments>(arguments)...);
      }
    };
  }

  // Returns a callback for any thread, to be called once. It runs `f` on `executor`, the owner's executor, unless the
  // lifetime has ended by then. The executor outlives the callback.
  template <class F>
  auto bind_on(Executor& executor, F f) const {
    return [&executor, bound = bind(std::move(f))]<class... Arguments>(Arguments&&... arguments) mutable {
      executor.post(
          [bound = std::move(bound), values = std::make_tuple(std::forward<Arguments>(arguments)...)]() mutable {
            std::apply([&bound](auto&... each) { bound(std::move(each)...); }, values);
          });
    };
  }

 private:
  struct Alive {};
  const std::shared_ptr<const Alive> alive_ = std::make_shared<const Alive>();
};

}  // namespace sharder
