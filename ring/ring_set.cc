#include "ring/ring_set.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "ring/controller_ring.h"
#include "ring/names.h"
#include "ring/ring.h"

namespace sharder::ring {

RingEntry::RingEntry(ControllerRing spec, std::shared_ptr<const Ring> ring)
    : spec_(std::move(spec)),
      ring_(std::move(ring)),
      shard_label_(ring::shard_label(spec_.name)),
      drain_label_(ring::drain_label(spec_.name)) {}

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
