#include "shard/main_objects.h"

#include <utility>

namespace sharder::shard {

MainObjects::Change MainObjects::show(const ObjectName& name, MainObject object, PackedText* before) {
  Entry& entry = objects_[name];
  MainObject& known = entry.object;
  entry.list = list_;
  if (!object.resource_version.empty() && known.resource_version == object.resource_version) {
    return Change::kNone;  // a list shows it again
  }
  const bool drains = object.drain.has_value();
  draining_ -= known.drain ? 1 : 0;
  draining_ += drains ? 1 : 0;
  if (before != nullptr) {
    *before = std::move(known.text);
  }
  known = std::move(object);
  return drains ? Change::kDraining : Change::kOurs;
}

bool MainObjects::gone(const ObjectName& name) {
  const auto entry = objects_.find(name);
  if (entry == objects_.end()) {
    return false;
  }
  erase(entry);
  return true;
}

std::vector<ObjectName> MainObjects::end_list() {
  std::vector<ObjectName> gone;
  for (auto entry = objects_.begin(); entry != objects_.end();) {
    if (entry->second.list == list_) {
      ++entry;
    } else {
      gone.push_back(entry->first);
      entry = erase(entry);
    }
  }
  return gone;
}

const MainObject* MainObjects::find(const ObjectName& name) const {
  const auto entry = objects_.find(name);
  return entry == objects_.end() ? nullptr : &entry->second.object;
}

std::vector<ObjectName> MainObjects::names() const {
  std::vector<ObjectName> names;
  names.reserve(objects_.size());
  for (const auto& [name, entry] : objects_) {
    names.push_back(name);
  }
  return names;
}

MainObjects::Entries::iterator MainObjects::erase(Entries::iterator entry) {
  draining_ -= entry->second.object.drain ? 1 : 0;
  return objects_.erase(entry);
}

}  // namespace sharder::shard
