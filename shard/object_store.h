#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "shard/object.h"
#include "shard/text_packer.h"
#include "shard/work_queue.h"

namespace sharder::shard {

// The objects of a controlled or other resource as a watch shows them, and which main object controls which of them.
// Pure; the owner locks it.
class ObjectStore {
 public:
  struct Object {
    PackedText text;                       // of a WatchedObject
    std::optional<ObjectName> owner = {};  // the main object that controls it
  };

  // The watch shows the object. Returns what was known of it.
  Object show(const ObjectName& name, Object object);
  // It was deleted, or the watch does not select it any more. Returns what was known of it.
  Object gone(const ObjectName& name);
  // A list begins. The objects that it does not show are gone at its end; end_list() returns them.
  void begin_list() { ++list_; }
  std::vector<Object> end_list();

  // None: it is not there.
  PackedText find(const ObjectName& name) const;
  // Of the objects that `owner` controls.
  std::vector<PackedText> owned(const ObjectName& owner) const;
  std::size_t size() const { return objects_.size(); }

 private:
  struct Entry {
    Object object;
    std::uint64_t list;  // the last one that it was shown in or after
  };

  // By owner: of entries that have one, and of an owner that is looked for.
  struct OwnerHash {
    using is_transparent = void;
    std::size_t operator()(const ObjectName& owner) const { return ObjectNameHash()(owner); }
    std::size_t operator()(const Entry* entry) const { return ObjectNameHash()(*entry->object.owner); }
  };
  struct SameOwner {
    using is_transparent = void;
    bool operator()(const Entry* one, const Entry* other) const { return one->object.owner == other->object.owner; }
    bool operator()(const ObjectName& owner, const Entry* entry) const { return owner == *entry->object.owner; }
  };

  void link(const Entry& entry);
  void unlink(const Entry& entry);

  std::uint64_t list_ = 0;
  std::unordered_map<ObjectName, Entry, ObjectNameHash> objects_;
  std::unordered_multiset<const Entry*, OwnerHash, SameOwner> owned_;  // entries never move
};

}  // namespace sharder::shard
