#include "shard/object_store.h"

#include <utility>

namespace sharder::shard {

ObjectStore::Object ObjectStore::show(const ObjectName& name, Object object) {
  Entry& entry = objects_[name];
  entry.list = list_;
  if (entry.object.owner != object.owner) {
    unlink(name, entry.object);
    if (object.owner) {
      owned_[*object.owner].insert(name);
    }
  }
  return std::exchange(entry.object, std::move(object));
}

ObjectStore::Object ObjectStore::gone(const ObjectName& name) {
  auto entry = objects_.extract(name);
  if (entry.empty()) {
    return {};
  }
  unlink(name, entry.mapped().object);
  return std::move(entry.mapped().object);
}

std::vector<ObjectStore::Object> ObjectStore::end_list() {
  std::vector<Object> gone;
  for (auto entry = objects_.begin(); entry != objects_.end();) {
    if (entry->second.list == list_) {
      ++entry;
      continue;
    }
    unlink(entry->first, entry->second.object);
    gone.push_back(std::move(entry->second.object));
    entry = objects_.erase(entry);
  }
  return gone;
}

std::shared_ptr<const std::string> ObjectStore::find(const ObjectName& name) const {
  const auto entry = objects_.find(name);
  return entry == objects_.end() ? nullptr : entry->second.object.text;
}

std::vector<std::shared_ptr<const std::string>> ObjectStore::owned(const ObjectName& owner) const {
  std::vector<std::shared_ptr<const std::string>> texts;
  if (const auto names = owned_.find(owner); names != owned_.end()) {
    for (const ObjectName& name : names->second) {
      texts.push_back(find(name));
    }
  }
  return texts;
}

void ObjectStore::unlink(const ObjectName& name, const Object& object) {
  if (!object.owner) {
    return;
  }
  const auto names = owned_.find(*object.owner);
  names->second.erase(name);
  if (names->second.empty()) {
    owned_.erase(names);
  }
}

}  // namespace sharder::shard
