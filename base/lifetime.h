#pragma once

#include <memory>
#include <tuple>
#include <utility>

#include "base/executor.h"

namespace sharder {

// Keeps callbacks from reaching an owner that is gone. A member of the owner, behind what the callbacks use, so that it
// ends first. Bound callbacks run on the owner's executor; the owner is destroyed there, or when that stands still.
class Lifetime {
 public:
  Lifetime() = default;
  ~Lifetime() = default;
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  // `f`, called on the owner's executor: runs unless the lifetime has ended.
  template <class F>
  auto bind(F f) const {
    return [alive = std::weak_ptr<const Alive>(alive_),
            f = std::move(f)]<class... Arguments>(Arguments&&... arguments) mutable {
      if (!alive.expired()) {
        f(std::forward<Arguments>(arguments)...);
      }
    };
  }

  // `f`, called on any thread, once: runs on `executor`, the owner's, unless the lifetime has ended by then. The
  // executor outlives the callback.
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
