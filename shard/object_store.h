#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "shard/object.h"
#include "shard/work_queue.h"

namespace sharder::shard {

// The objects of a controlled or other resource as a watch shows them, and which main object controls which of them.
// Pure; the owner locks it.
class ObjectStore {
 public:
  struct Object {
    std::shared_ptr<const std::string> text;  // compact JSON; null: there is none
    std::optional<ObjectName> owner = {};     // the main object that controls it
  };

  // The watch shows the object. Returns what was known of it.
  Object show(const ObjectName& name, Object object);
  // It was deleted, or the watch does not select it any more. Returns what was known of it.
  Object gone(const ObjectName& name);
  // A list begins. The objects that it does not show are gone at its end; end_list() returns them.
  void begin_list() { ++list_; }
  std::vector<Object> end_list();

  // Null: it is not there.
  std::shared_ptr<const std::string> find(const ObjectName& name) const;
  // Of the objects that `owner` controls.
  std::vector<std::shared_ptr<const std::string>> owned(const ObjectName& owner) const;
  std::size_t size() const { return objects_.size(); }

 private:
  struct Entry {
    Object object;
    std::uint64_t list;  // the last one that it was shown in or after
  };

  void link(const Entry& entry);
  void unlink(const Entry& entry);

  std::uint64_t list_ = 0;
  std::unordered_map<ObjectName, Entry, ObjectNameHash> objects_;
  std::unordered_map<ObjectName, std::vector<const Entry*>, ObjectNameHash> owned_;  // by owner; entries never move
};

}  // namespace sharder::shard
