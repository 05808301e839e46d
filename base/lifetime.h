#pragma once

#include <memory>
#include <tuple>
#include <utility>

#include "base/executor.h"

namespace sharder {

// Keeps callbacks from reaching an owner that is gone. A member of the owner; created, ended and destroyed on the
// owner's executor, where the bound callbacks run too. The last member, so that it ends before what callbacks use.
class Lifetime {
 public:
  Lifetime() = default;
  ~Lifetime() = default;
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  // From now on nothing that is bound runs.
  void end() { alive_.reset(); }
  bool ended() const { return alive_ == nullptr; }

  // `f`, called on the owner's executor: runs unless the lifetime has ended. Whatever is bound after end() never runs.
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
  std::shared_ptr<const Alive> alive_ = std::make_shared<const Alive>();
};

}  // namespace sharder
