#include "tests/apiserver/field_set.h"

#include <algorithm>

namespace sharder::apiserver {

using nlohmann::json;

namespace {

const std::set<std::string> kServersMetadata{"name",
                                             "namespace",
                                             "uid",
                                             "resourceVersion",
                                             "generation",
                                             "creationTimestamp",
                                             "selfLink",
                                             "managedFields",
                                             "deletionTimestamp",
                                             "deletionGracePeriodSeconds",
                                             "generateName"};

class Walk {
 public:
  explicit Walk(FieldValues& values) : values_(values) {}

  void visit(const json& value, const Schema& schema) {
    if (value.is_object() && schema.kind() != Schema::Kind::kAtomic && !value.empty()) {
      members(value, schema);
    } else if (value.is_array() && schema.kind() == Schema::Kind::kMap) {
      for (const json& item : value) {
        path_.push_back(item_key(item, schema.keys()));
        const bool atomic = schema.items().kind() == Schema::Kind::kAtomic;
        values_[path_] = atomic ? item : json();
        if (item.is_object() && !atomic) {
          members(item, schema.items());
        }
        path_.pop_back();
      }
    } else if (value.is_array() && schema.kind() == Schema::Kind::kSet) {
      for (const json& item : value) {
        path_.push_back("v:" + item.dump());
        values_[path_] = json();
        path_.pop_back();
      }
    } else {
      values_[path_] = value;
    }
  }

  void members(const json& object, const Schema& schema) {
    for (const auto& [name, value] : object.items()) {
      const bool servers = path_.empty()
                               ? name == "apiVersion" || name == "kind"
                               : path_.size() == 1 && path_[0] == "f:metadata" && kServersMetadata.contains(name);
      if (!servers) {
        path_.push_back("f:" + name);
        if (path_.size() == 1 && name == "metadata") {
          members(value, schema.field(name));
        } else {
          visit(value, schema.field(name));
        }
        path_.pop_back();
      }
    }
  }

 private:
  FieldValues& values_;
  FieldPath path_;
};

void read(const json& node, FieldPath& path, FieldSet& set) {
  if (!node.is_object() || node.empty()) {
    set.insert(path);
    return;
  }
  for (const auto& [name, child] : node.items()) {
    if (name == ".") {
      set.insert(path);
      continue;
    }
    path.push_back(name);
    read(child, path, set);
    path.pop_back();
  }
}

}  // namespace

std::string item_key(const json& item, const std::vector<std::string>& keys) {
  json key = json::object();
  for (const std::string& name : keys) {
    key[name] = item.is_object() && item.contains(name) ? item[name] : json();
  }
  return "k:" + key.dump();
}

FieldValues field_values(const json& object, const Schema& schema) {
  FieldValues values;
  Walk(values).members(object, schema);
  return values;
}

FieldSet keys_of(const FieldValues& values) {
  FieldSet set;
  for (const auto& [path, value] : values) {
    set.insert(set.end(), path);
  }
  return set;
}

json to_fields_v1(const FieldSet& set) {
  json result = json::object();
  for (const FieldPath& path : set) {
    json* node = &result;
    for (const std::string& element : path) {
      node = &(*node)[element];
      if (node->is_null()) {
        *node = json::object();
      }
    }
  }
  // An item that is owned as well as some of its fields says so with a dot.
  for (const FieldPath& path : set) {
    json* node = &result;
    for (const std::string& element : path) {
      node = &(*node)[element];
    }
    if (!node->empty()) {
      (*node)["."] = json::object();
    }
  }
  return result;
}

FieldSet from_fields_v1(const json& fields) {
  FieldSet set;
  FieldPath path;
  if (fields.is_object() && !fields.empty()) {
    read(fields, path, set);
  }
  return set;
}

std::string to_string(const FieldPath& path) {
  std::string text;
  for (const std::string& element : path) {
    const std::string rest = element.substr(2);
    if (element.starts_with("k:")) {
      std::string keys;
      const json key = json::parse(rest, nullptr, false);
      for (const auto& [name, value] : key.items()) {
        keys += (keys.empty() ? "" : ",") + name + "=" + value.dump();
      }
      text += "[" + keys + "]";
    } else if (element.starts_with("v:")) {
      text += "[=" + rest + "]";
    } else {
      text += "." + rest;
    }
  }
  return text;
}

bool starts_with(const FieldPath& path, const FieldPath& prefix) {
  return path.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), path.begin());
}

}  // namespace sharder::apiserver
