#include "tests/apiserver/apply.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/apiserver/field_set.h"
#include "tests/apiserver/object.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

struct Entry {
  json head = {};  // manager, operation, apiVersion, subresource, time
  FieldSet fields = {};

  bool is(const FieldManager& manager, const char* operation) const {
    return head.value("manager", "") == manager.name && head.value("operation", "") == operation &&
           head.value("apiVersion", "") == manager.api_version && head.value("subresource", "") == manager.subresource;
  }
};

std::vector<Entry> entries_of(const json& object) {
  std::vector<Entry> entries;
  const json metadata = object.value("metadata", json::object());
  for (const json& item : metadata.value("managedFields", json::array())) {
    Entry entry{.head = item, .fields = from_fields_v1(item.value("fieldsV1", json::object()))};
    entry.head.erase("fieldsV1");
    entries.push_back(std::move(entry));
  }
  return entries;
}

Entry& entry_for(std::vector<Entry>& entries, const FieldManager& manager, const char* operation) {
  const auto known = std::ranges::find_if(entries, [&](const Entry& entry) { return entry.is(manager, operation); });
  if (known != entries.end()) {
    return *known;
  }
  Entry entry{.head = {{"manager", manager.name},
                       {"operation", operation},
                       {"apiVersion", manager.api_version},
                       {"fieldsType", "FieldsV1"},
                       {"time", manager.now}}};
  if (!manager.subresource.empty()) {
    entry.head["subresource"] = manager.subresource;
  }
  entries.push_back(std::move(entry));
  return entries.back();
}

void set_entries(json& object, const std::vector<Entry>& entries) {
  json list = json::array();
  for (const Entry& entry : entries) {
    if (!entry.fields.empty()) {
      json item = entry.head;
      item["fieldsV1"] = to_fields_v1(entry.fields);
      list.push_back(std::move(item));
    }
  }
  json& metadata = object["metadata"];
  if (list.empty()) {
    metadata.erase("managedFields");
  } else {
    metadata["managedFields"] = std::move(list);
  }
}

json merged(json live, const json& applied, const Schema& schema) {
  if (applied.is_object() && live.is_object() && schema.kind() != Schema::Kind::kAtomic) {
    for (const auto& [name, value] : applied.items()) {
      json old = live.contains(name) ? std::move(live[name]) : json();
      live[name] = merged(std::move(old), value, schema.field(name));
    }
    return live;
  }
  if (applied.is_array() && live.is_array() && schema.kind() == Schema::Kind::kMap) {
    for (const json& item : applied) {
      const std::string key = item_key(item, schema.keys());
      const auto known =
          std::ranges::find_if(live, [&](const json& old) { return item_key(old, schema.keys()) == key; });
      if (known == live.end()) {
        live.push_back(item);
      } else {
        *known = merged(std::move(*known), item, schema.items());
      }
    }
    return live;
  }
  if (applied.is_array() && live.is_array() && schema.kind() == Schema::Kind::kSet) {
    for (const json& item : applied) {
      if (std::ranges::find(live, item) == live.end()) {
        live.push_back(item);
      }
    }
    return live;
  }
  return applied;
}

// Takes what is at the path out of the object; maps that are empty then go too.
void remove_at(json& node, const Schema& schema, const FieldPath& path, std::size_t depth) {
  const std::string& element = path[depth];
  const bool last = depth + 1 == path.size();
  if (element.starts_with("f:")) {
    const std::string name = element.substr(2);
    if (!node.is_object() || !node.contains(name)) {
      return;
    }
    if (!last) {
      remove_at(node[name], schema.field(name), path, depth + 1);
    }
    if (last || (depth > 0 && node[name].is_object() && node[name].empty()) ||
        (node[name].is_array() && node[name].empty())) {
      node.erase(name);
    }
    return;
  }
  if (!node.is_array()) {
    return;
  }
  for (auto item = node.begin(); item != node.end(); ++item) {
    const std::string key = element.starts_with("k:") ? item_key(*item, schema.keys()) : "v:" + item->dump();
    if (key == element) {
      if (last) {
        node.erase(item);
      } else {
        remove_at(*item, schema.items(), path, depth + 1);
      }
      return;
    }
  }
}

struct Conflict {
  std::string manager;
  FieldPath path;
};

Status conflict_status(const Resource& resource, const std::string& name, const std::vector<Conflict>& conflicts) {
  std::vector<std::pair<std::string, std::vector<std::string>>> by_manager;
  json causes = json::array();
  for (const Conflict& conflict : conflicts) {
    const std::string field = to_string(conflict.path);
    causes.push_back(
        {{"reason", "FieldManagerConflict"}, {"message", "conflict with " + conflict.manager}, {"field", field}});
    auto known = std::ranges::find(by_manager, conflict.manager, [](const auto& entry) { return entry.first; });
    if (known == by_manager.end()) {
      known = by_manager.insert(by_manager.end(), {conflict.manager, {}});
    }
    known->second.push_back(field);
  }
  std::string text =
      "Apply failed with " + std::to_string(conflicts.size()) + " conflict" + (conflicts.size() == 1 ? "" : "s") + ": ";
  bool first = true;
  for (const auto& [manager, fields] : by_manager) {
    text += first ? "" : "\n";
    first = false;
    if (fields.size() == 1) {
      text += "conflict with " + manager + ": " + fields[0];
    } else {
      text += "conflicts with " + manager + ":";
      for (const std::string& field : fields) {
        text += "\n- " + field;
      }
    }
  }
  Status status = conflict(resource, name, "");
  status.message = text;
  status.details["causes"] = std::move(causes);
  return status;
}

std::string manager_words(const json& head) {
  std::string words = json(head.value("manager", "")).dump();
  if (head.value("operation", "") == "Update") {
    words += " using " + head.value("apiVersion", "");
  }
  if (const std::string subresource = head.value("subresource", ""); !subresource.empty()) {
    words += " with subresource " + json(subresource).dump();
  }
  return words;
}

// What of `before` is neither in `now` nor, itself or anything below it, owned by an entry.
FieldSet dropped_fields(const FieldSet& before, const FieldSet& now, const std::vector<Entry>& others) {
  FieldSet dropped;
  for (const FieldPath& path : before) {
    const bool owned = std::ranges::any_of(others, [&](const Entry& entry) {
      return std::ranges::any_of(entry.fields, [&](const FieldPath& other) { return starts_with(other, path); });
    });
    if (!now.contains(path) && !owned) {
      dropped.insert(path);
    }
  }
  return dropped;
}

}  // namespace

Outcome<json> apply(const Resource& resource, const Schema& schema, const json& live, const json& applied,
                    const FieldManager& manager, bool force) {
  const FieldValues wanted = field_values(applied, schema);
  const FieldValues present = field_values(live, schema);
  const FieldSet wanted_set = keys_of(wanted);
  std::vector<Entry> entries = entries_of(live);
  if (entries.empty() && !present.empty()) {  // written before anybody noted owners
    FieldManager first{.name = "before-first-apply", .api_version = manager.api_version, .now = manager.now};
    entry_for(entries, first, "Update").fields = keys_of(present);
  }
  FieldSet before;
  std::vector<Entry> others;
  for (const Entry& entry : entries) {
    if (entry.is(manager, "Apply")) {
      before = entry.fields;
    } else {
      others.push_back(entry);
    }
  }
  std::vector<Conflict> conflicts;
  for (const auto& [path, value] : wanted) {
    const auto found = present.find(path);
    if (found == present.end() || found->second == value) {
      continue;
    }
    for (Entry& entry : others) {
      if (entry.fields.contains(path)) {
        conflicts.push_back({manager_words(entry.head), path});
        if (force) {
          entry.fields.erase(path);
        }
      }
    }
  }
  if (!force && !conflicts.empty()) {
    return refuse(conflict_status(resource, metadata_string(live, "name"), conflicts));
  }
  json result = merged(live, applied, schema);
  const FieldSet dropped = dropped_fields(before, wanted_set, others);
  for (const FieldPath& path : dropped) {
    remove_at(result, schema, path, 0);
  }
  if (before != wanted_set || !conflicts.empty()) {
    entries = std::move(others);
    entry_for(entries, manager, "Apply").fields = wanted_set;
  }
  set_entries(result, entries);
  return result;
}

void note_update(const Schema& schema, const json& before, json& after, const FieldManager& manager) {
  const FieldValues old_values = field_values(before, schema);
  const FieldValues new_values = field_values(after, schema);
  FieldSet changed;
  for (const auto& [path, value] : new_values) {
    const auto old = old_values.find(path);
    if (old == old_values.end() || old->second != value) {
      changed.insert(path);
    }
  }
  std::vector<Entry> entries = entries_of(after);
  for (Entry& entry : entries) {
    std::erase_if(entry.fields,
                  [&](const FieldPath& path) { return changed.contains(path) || !new_values.contains(path); });
  }
  if (!changed.empty()) {
    Entry& entry = entry_for(entries, manager, "Update");
    entry.fields.merge(changed);
    entry.head["time"] = manager.now;
  }
  set_entries(after, entries);
}

}  // namespace sharder::apiserver
