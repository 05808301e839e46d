#include "tests/apiserver/schema.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

const Schema& nothing() {
  static const Schema kNothing;
  return kNothing;
}

}  // namespace

Schema Schema::metadata() {
  Schema owners;
  owners.kind_ = Kind::kMap;
  owners.keys_ = {"uid"};
  Schema owner;
  owner.kind_ = Kind::kAtomic;
  owners.items_ = std::make_shared<const Schema>(owner);
  Schema finalizers;
  finalizers.kind_ = Kind::kSet;
  Schema result;
  result.fields_ = {{"ownerReferences", owners}, {"finalizers", finalizers}};
  return result;
}

const Schema& Schema::built_in() {
  static const Schema kBuiltIn = [] {
    Schema selector;
    selector.kind_ = Kind::kAtomic;
    Schema conditions;
    conditions.kind_ = Kind::kMap;
    conditions.keys_ = {"name"};
    auto webhook = std::make_shared<Schema>();
    webhook->fields_ = {{"namespaceSelector", selector}, {"objectSelector", selector}, {"matchConditions", conditions}};
    Schema webhooks;
    webhooks.kind_ = Kind::kMap;
    webhooks.keys_ = {"name"};
    webhooks.items_ = webhook;
    Schema status_conditions;
    status_conditions.kind_ = Kind::kMap;
    status_conditions.keys_ = {"type"};
    Schema status;
    status.fields_ = {{"conditions", status_conditions}};
    Schema spec;
    spec.fields_ = {{"selector", selector}};
    Schema result;
    result.fields_ = {{"metadata", metadata()}, {"webhooks", webhooks}, {"status", status}, {"spec", spec}};
    return result;
  }();
  return kBuiltIn;
}

Schema Schema::from_open_api(const json& schema) {
  struct Convert {
    static Schema at(const json& node) {
      Schema result;
      if (!node.is_object()) {
        return result;
      }
      const std::string list = node.value("x-kubernetes-list-type", "");
      if (list == "map") {
        result.kind_ = Kind::kMap;
        result.keys_ = node.value("x-kubernetes-list-map-keys", std::vector<std::string>());
      } else if (list == "set") {
        result.kind_ = Kind::kSet;
      } else if (list == "atomic" || node.value("x-kubernetes-map-type", "") == "atomic") {
        result.kind_ = Kind::kAtomic;
      }
      const json properties = node.value("properties", json::object());
      for (const auto& [name, field] : properties.items()) {
        result.fields_.emplace(name, at(field));
      }
      if (node.contains("items")) {
        result.items_ = std::make_shared<const Schema>(at(node["items"]));
      }
      return result;
    }
  };
  Schema result = Convert::at(schema);
  result.fields_.insert_or_assign("metadata", metadata());
  return result;
}

const Schema& Schema::field(std::string_view name) const {
  const auto found = fields_.find(name);
  return found == fields_.end() ? nothing() : found->second;
}

const Schema& Schema::items() const {
  return items_ ? *items_ : nothing();
}

}  // namespace sharder::apiserver
