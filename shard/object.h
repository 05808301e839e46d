#pragma once

#include <compare>
#include <string>

// Names of what a shard works on: plain values.
namespace sharder::shard {

// A resource, without its version: the library uses the version that the API server prefers.
struct ResourceName {
  std::string group = {};   // "" is core
  std::string plural = {};  // "secrets"
  auto operator<=>(const ResourceName&) const = default;
};

// An object of a resource that is known from the context.
struct ObjectName {
  std::string object_namespace = {};  // "" for cluster-scoped objects
  std::string name = {};
  auto operator<=>(const ObjectName&) const = default;
};

// "secrets", "deployments.apps": as kubectl names it.
std::string to_string(const ResourceName& resource);
// "ns/name", or "name".
std::string to_string(const ObjectName& object);

}  // namespace sharder::shard
