#include "shard/object_store.h"

#include <algorithm>
#include <utility>

namespace sharder::shard {

ObjectStore::Object ObjectStore::show(const ObjectName& name, Object object) {
  Entry& entry = objects_[name];
  entry.list = list_;
  if (entry.object.owner == object.owner) {
    return std::exchange(entry.object, std::move(object));
  }
  unlink(entry);
  Object before = std::exchange(entry.object, std::move(object));
  link(entry);
  return before;
}

ObjectStore::Object ObjectStore::gone(const ObjectName& name) {
  const auto entry = objects_.find(name);
  if (entry == objects_.end()) {
    return {};
  }
  unlink(entry->second);
  Object object = std::move(entry->second.object);
  objects_.erase(entry);
  return object;
}

std::vector<ObjectStore::Object> ObjectStore::end_list() {
  std::vector<Object> gone;
  for (auto entry = objects_.begin(); entry != objects_.end();) {
    if (entry->second.list == list_) {
      ++entry;
      continue;
    }
    unlink(entry->second);
    gone.push_back(std::move(entry->second.object));
    entry = objects_.erase(entry);
  }
  return gone;
}

PackedText ObjectStore::find(const ObjectName& name) const {
  const auto entry = objects_.find(name);
  return entry == objects_.end() ? PackedText() : entry->second.object.text;
}

std::vector<PackedText> ObjectStore::owned(const ObjectName& owner) const {
  std::vector<PackedText> texts;
  const auto [begin, end] = owned_.equal_range(owner);
  for (auto entry = begin; entry != end; ++entry) {
    texts.push_back((*entry)->object.text);
  }
  return texts;
}

void ObjectStore::link(const Entry& entry) {
  if (entry.object.owner) {
    owned_.insert(&entry);
  }
}

void ObjectStore::unlink(const Entry& entry) {
  if (!entry.object.owner) {
    return;
  }
  const auto [begin, end] = owned_.equal_range(&entry);
  owned_.erase(std::find(begin, end, &entry));
}

}  // namespace sharder::shard
