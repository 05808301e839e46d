#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace sharder::rebalancer {

// Which objects a pass looks at: one resource's, everywhere or in one namespace.
struct Scope {
  std::uint32_t source = 0;      // the place of its resource in RingView::sources()
  std::string object_namespace;  // "" for all
  auto operator<=>(const Scope&) const = default;
};

// Which passes are wanted and when; one runs at a time. What is wanted again while it runs comes once more behind it:
// if it began anew, changes that come faster than it ends would keep it from what it has not seen yet. Pure.
class PassPlan {
 public:
  // A pass over a whole resource takes those over its namespaces in. Wanted twice: the earlier time counts.
  void want(const Scope& scope, SteadyTime due);
  // Forgets all, also the one that runs.
  void clear();

  // The next one that is due, running from now on; nullopt while another one runs.
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
