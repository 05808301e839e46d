#include "ring/ring_set.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "ring/controller_ring.h"
#include "ring/names.h"
#include "ring/ring.h"

namespace sharder::ring {

RingEntry::RingEntry(ControllerRing spec, std::shared_ptr<const Ring> ring, std::vector<std::string> cordoned)
    : spec_(std::move(spec)),
      ring_(std::move(ring)),
      cordoned_(std::move(cordoned)),
      shard_label_(ring::shard_label(spec_.name)),
      drain_label_(ring::drain_label(spec_.name)) {}

bool RingEntry::is_available(std::string_view shard) const {
  return ring_->contains(shard) || std::ranges::binary_search(cordoned_, shard, std::less<>{});
}

Role RingEntry::role(std::string_view group, std::string_view resource) const {
  const auto same = [&](const GroupResource& other) { return other.group == group && other.resource == resource; };
  Role role = Role::kNone;
  for (const auto& listed : spec_.resources) {
    if (same(listed.main)) {
      return Role::kMain;  // wherever else it is listed
    }
    if (role == Role::kNone && std::ranges::any_of(listed.controlled, same)) {
      role = Role::kControlled;
    }
  }
  return role;
}

}  // namespace sharder::ring
