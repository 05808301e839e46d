#include "membership/ring_object.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "kube/codec/json.h"

namespace sharder::membership {

namespace {

using nlohmann::json;

const json kNothing;

const json& at(const json& object, const char* key) {
  if (!object.is_object()) {
    return kNothing;
  }
  const auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

std::string text(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::int64_t number(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

// The elements of an array; of anything else none.
std::vector<json> elements(const json& value) {
  return value.is_array() ? value.get<std::vector<json>>() : std::vector<json>();
}

std::vector<std::string> strings(const json& value) {
  std::vector<std::string> found;
  for (const json& element : elements(value)) {
    if (element.is_string()) {
      found.push_back(element.get<std::string>());
    }
  }
  return found;
}

ring::GroupResource group_resource(const json& value) {
  return {.group = text(value, "group"), .resource = text(value, "resource")};
}

std::vector<ring::RingResource> resources(const json& spec) {
  std::vector<ring::RingResource> found;
  for (const json& element : elements(at(spec, "resources"))) {
    ring::RingResource resource{.main = group_resource(element), .controlled = {}};
    for (const json& controlled : elements(at(element, "controlledResources"))) {
      resource.controlled.push_back(group_resource(controlled));
    }
    found.push_back(std::move(resource));
  }
  return found;
}

std::optional<ring::SelectorOperator> selector_operator(std::string_view name) {
  if (name == "In") {
    return ring::SelectorOperator::kIn;
  }
  if (name == "NotIn") {
    return ring::SelectorOperator::kNotIn;
  }
  if (name == "Exists") {
    return ring::SelectorOperator::kExists;
  }
  if (name == "DoesNotExist") {
    return ring::SelectorOperator::kDoesNotExist;
  }
  return std::nullopt;
}

// kInvalid: says which operator there is none of. Everything else the API server checks with the webhook configuration.
Result<ring::LabelSelector> label_selector(const json& value) {
  ring::LabelSelector selector;
  if (const json& labels = at(value, "matchLabels"); labels.is_object()) {
    for (const auto& [key, label] : labels.items()) {
      selector.match_labels.emplace(key, label.is_string() ? label.get<std::string>() : std::string());
    }
  }
  for (const json& expression : elements(at(value, "matchExpressions"))) {
    const std::string name = text(expression, "operator");
    const auto op = selector_operator(name);
    if (!op) {
      return fail(ErrorCode::kInvalid,
                  "spec.namespaceSelector: \"" + name + "\" is not a valid label selector operator");
    }
    selector.match_expressions.push_back(
        {.key = text(expression, "key"), .op = *op, .values = strings(at(expression, "values"))});
  }
  return selector;
}

// A requirement that no label fulfils: In an empty set.
ring::LabelSelector selects_nothing() {
  return {
      .match_labels = {},
      .match_expressions = {{.key = "kubernetes.io/metadata.name", .op = ring::SelectorOperator::kIn, .values = {}}}};
}

// The CRD refuses all this, but it may be an old one, or the object older than the rule.
std::string find_error(const ring::ControllerRing& spec) {
  if (spec.name.size() > ring::kMaxRingNameLength) {
    return "the name of a ControllerRing must have at most 63 characters, because it is part of label keys";
  }
  std::set<ring::GroupResource> main;
  for (const ring::RingResource& resource : spec.resources) {
    if (resource.main.resource.empty()) {
      return "spec.resources: a resource without a name";
    }
    if (!main.insert(resource.main).second) {
      return "spec.resources: " + to_string(resource.main) + " is listed twice";
    }
    std::set<ring::GroupResource> controlled;
    for (const ring::GroupResource& each : resource.controlled) {
      if (each.resource.empty()) {
        return "spec.resources: a controlled resource of " + to_string(resource.main) + " without a name";
      }
      if (!controlled.insert(each).second) {
        return "spec.resources: " + to_string(each) + " is listed twice as controlled by " + to_string(resource.main);
      }
    }
  }
  return "";
}

}  // namespace

Result<RingObject> decode_ring(std::string_view json_text) {
  const auto document = kube::parse_json(json_text);
  if (!document) {
    return fail("decode ControllerRing", document.error());
  }
  const json& metadata = at(*document, "metadata");
  const json& spec = at(*document, "spec");
  const json& status = at(*document, "status");
  RingObject object{.spec = {.name = text(metadata, "name"),
                             .uid = text(metadata, "uid"),
                             .generation = number(metadata, "generation"),
                             .resources = resources(spec),
                             .namespace_selector = {}},
                    .spec_error = "",
                    .deleting = !at(metadata, "deletionTimestamp").is_null(),
                    .observed_generation = number(status, "observedGeneration"),
                    .status_shards = number(status, "shards"),
                    .status_available_shards = number(status, "availableShards")};
  if (object.spec.name.empty()) {
    return fail(ErrorCode::kInvalid, "decode ControllerRing: it has no name");
  }
  object.spec_error = find_error(object.spec);
  if (const json& value = at(spec, "namespaceSelector"); value.is_object()) {
    auto selector = label_selector(value);
    if (!selector && object.spec_error.empty()) {
      object.spec_error = selector.error().message;
    }
    object.spec.namespace_selector = selector ? std::move(*selector) : selects_nothing();
  }
  return object;
}

}  // namespace sharder::membership
