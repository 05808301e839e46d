#include "membership/ring_object.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/go_duration.h"
#include "kube/codec/json.h"
#include "membership/label_selector.h"
#include "ring/names.h"

namespace sharder::membership {

namespace {

using nlohmann::json;

ring::GroupResource group_resource(const json& value) {
  return {.group = kube::string_at(value, "/group"), .resource = kube::string_at(value, "/resource")};
}

std::vector<ring::RingResource> resources(const json& spec) {
  std::vector<ring::RingResource> found;
  for (const json& element : kube::elements_of(kube::value_at(spec, "/resources"))) {
    ring::RingResource resource{.main = group_resource(element), .controlled = {}};
    for (const json& controlled : kube::elements_of(kube::value_at(element, "/controlledResources"))) {
      resource.controlled.push_back(group_resource(controlled));
    }
    found.push_back(std::move(resource));
  }
  return found;
}

// Of the ring's condition of this type; nullopt: absent or Unknown.
std::optional<bool> condition(const json& ring, std::string_view type) {
  const std::string says = kube::string_at(kube::condition_of(ring, type), "/status");
  return says.empty() || says == "Unknown" ? std::nullopt : std::optional(says == "True");
}

// A requirement that no label fulfils: In an empty set.
ring::LabelSelector selects_nothing() {
  return {
      .match_labels = {},
      .match_expressions = {{.key = "kubernetes.io/metadata.name", .op = ring::SelectorOperator::kIn, .values = {}}}};
}

// By the CRD's rules the API server rejects all this; but the CRD may be old, or the object older than the rule.
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

// Long enough for any node to come back; no sum with a Lease's duration overflows.
constexpr std::chrono::hours kLongestGrace{24};

// A longer text is not quoted: an annotation may have 256 KiB.
constexpr std::size_t kQuoted = 40;

void read_grace_period(ring::RingObject& object, const std::string& text) {
  if (text.empty()) {
    return;
  }
  const auto duration = parse_go_duration(text);
  if (duration && *duration >= std::chrono::nanoseconds(0) && *duration <= kLongestGrace) {
    object.grace_period = *duration;
  } else {
    object.grace_period_error = "annotation " + std::string(ring::kGracePeriodAnnotation) + ": " +
                                (text.size() <= kQuoted ? '"' + text + '"' : "the value") +
                                " is no duration from 0 to 24h, such as 90s or 2m";
  }
}

}  // namespace

Result<ring::RingObject> decode_ring(std::string_view json_text) {
  const auto document = kube::parse_json(json_text);
  if (!document) {
    return fail("decode ControllerRing", document.error());
  }
  const json& metadata = kube::value_at(*document, "/metadata");
  const json& spec = kube::value_at(*document, "/spec");
  const json& status = kube::value_at(*document, "/status");
  const json& annotations = kube::value_at(metadata, "/annotations");
  ring::RingObject object{
      .spec = {.name = kube::string_at(metadata, "/name"),
               .uid = kube::string_at(metadata, "/uid"),
               .generation = kube::int_at(metadata, "/generation").value_or(0),
               .resources = resources(spec),
               .namespace_selector = {}},
      .spec_error = "",
      .deleting = !kube::value_at(metadata, "/deletionTimestamp").is_null(),
      .observed_generation = kube::int_at(status, "/observedGeneration").value_or(0),
      .status_shards = kube::int_at(status, "/shards").value_or(0),
      .status_available_shards = kube::int_at(status, "/availableShards").value_or(0),
      .ready = condition(*document, "Ready"),
      .webhook_reachable = condition(*document, ring::kWebhookReachable),
      .rebalance_requested_at = kube::string_of(kube::field_of(annotations, ring::kRebalanceAnnotation))};
  read_grace_period(object, kube::string_of(kube::field_of(annotations, ring::kGracePeriodAnnotation)));
  if (object.spec.name.empty()) {
    return fail(ErrorCode::kInvalid, "decode ControllerRing: it has no name");
  }
  object.spec_error = find_error(object.spec);
  if (const json& value = kube::value_at(spec, "/namespaceSelector"); value.is_object()) {
    auto selector = decode_label_selector(value);
    if (!selector && object.spec_error.empty()) {
      object.spec_error = "spec.namespaceSelector: " + selector.error().message;
    }
    object.spec.namespace_selector = selector ? std::move(*selector) : selects_nothing();
  }
  return object;
}

}  // namespace sharder::membership
