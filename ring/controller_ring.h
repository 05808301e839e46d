#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ring/label_selector.h"

namespace sharder::ring {

// metav1.GroupResource: group "" is core.
struct GroupResource {
  std::string group;
  std::string resource;
  auto operator<=>(const GroupResource&) const = default;
};

// "deployments.apps", and "secrets" in the core group.
std::string to_string(const GroupResource& resource);

struct RingResource {
  GroupResource main;
  std::vector<GroupResource> controlled;  // owned by a main object through a controller ownerReference
  bool operator==(const RingResource&) const = default;
};

// The parts of a ControllerRing object that this program needs (protocol, 2): a plain value.
struct ControllerRing {
  std::string name;
  std::string uid;
  std::int64_t generation = 0;
  std::vector<RingResource> resources;              // in the order of the spec
  std::optional<LabelSelector> namespace_selector;  // absent: the configured default; empty: all namespaces
  bool operator==(const ControllerRing&) const = default;
};

// A ring's name is the name part of a label key.
inline constexpr std::size_t kMaxRingNameLength = 63;

}  // namespace sharder::ring
