#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "shard/object.h"
#include "shard/text_packer.h"
#include "shard/work_queue.h"

namespace sharder::shard {

// A main object as a watch with this shard's label has shown it.
struct MainObject {
  std::string resource_version;
  std::optional<std::string> drain = {};  // value of the drain label; nullopt: it has none
  PackedText text;                        // of a WatchedObject
};

// The main objects that have this shard's label: which of them may be reconciled. The watch alone says so: what this
// shard learns otherwise, from the answer to an acknowledgement, changes nothing here, and so no past state that the
// watch may still show can bring an object back (decision 9, rule 3). Pure; the owner locks it.
class MainObjects {
 public:
  enum class Change {
    kNone,      // it is known so
    kOurs,      // it is new, or has changed, and may be reconciled
    kDraining,  // it may not be reconciled any more; its drain has to be acknowledged
  };

  // The watch shows the object. `before`, if not null, gets what was known of it.
  Change show(const ObjectName& name, MainObject object, PackedText* before = nullptr);
  // The watch says that it was deleted, or has another shard's label. False: it was not known.
  bool gone(const ObjectName& name);
  // A list begins. The objects that it does not show are gone at its end; end_list() returns them.
  void begin_list() { ++list_; }
  std::vector<ObjectName> end_list();

  // Null: it is not this shard's. The pointer holds until the next change.
  const MainObject* find(const ObjectName& name) const;
  std::vector<ObjectName> names() const;
  std::size_t size() const { return objects_.size(); }
  std::size_t draining() const { return draining_; }

 private:
  struct Entry {
    MainObject object;
    std::uint64_t list = 0;  // the last one that it was shown in or after
  };
  using Entries = std::unordered_map<ObjectName, Entry, ObjectNameHash>;

  Entries::iterator erase(Entries::iterator entry);

  std::uint64_t list_ = 0;
  std::size_t draining_ = 0;
  Entries objects_;
};

}  // namespace sharder::shard
