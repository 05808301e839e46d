#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace sharder::rebalancer {

// The objects that a pass looks at: those of one resource, in all namespaces or in one.
struct Scope {
  std::uint32_t source = 0;      // the place of its resource in RingView::sources()
  std::string object_namespace;  // "" for all
  auto operator<=>(const Scope&) const = default;
};

// Which passes are wanted, and when. One runs at a time. A pass that is wanted again while it runs comes once more
// behind it: if it began anew, frequent changes would keep it from ever coming to its end. Pure.
class PassPlan {
 public:
  // A pass over a whole resource includes those over its namespaces. If one is wanted twice, the earlier time counts.
  void want(const Scope& scope, SteadyTime due);

  // Begins the next pass that is due; nullopt: none is due, or one runs already.
  std::optional<Scope> begin(SteadyTime now);
  const std::optional<Scope>& running() const { return running_; }
  // The running one came to its end.
  void end();
  // The running one is given up for now, and is wanted again at `due`, no earlier.
  void give_way(SteadyTime due);
  // Whether a pass over another resource than the running one's is due.
  bool other_is_due(SteadyTime now) const;

  bool empty() const { return wanted_.empty() && !running_; }
  std::optional<SteadyTime> next_due() const;

 private:
  std::map<Scope, SteadyTime> wanted_;
  std::optional<Scope> running_;
};

}  // namespace sharder::rebalancer
