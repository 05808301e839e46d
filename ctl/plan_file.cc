#include "ctl/plan_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/ascii.h"
#include "ctl/text.h"
#include "kube/codec/json.h"
#include "kube/codec/yaml.h"
#include "ring/object_key.h"
#include "ring/resources.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

Result<std::vector<json>> read_items(const std::vector<std::string>& texts) {
  std::vector<json> items;
  for (const std::string& text : texts) {
    // JSON is YAML, but its parser is faster and has no limit of nodes.
    auto parsed = kube::parse_json(text);
    if (!parsed) {
      auto yaml = kube::parse_yaml(text);
      if (!yaml) {
        return std::unexpected(std::move(yaml.error()));
      }
      if (yaml->more) {
        return fail(ErrorCode::kInvalid, "more than one YAML document; kubectl get A,B,C -o yaml prints one List");
      }
      parsed = std::move(yaml->value);
    }
    if (const json& list = kube::value_at(*parsed, "/items"); list.is_array()) {
      items.insert(items.end(), list.begin(), list.end());
    } else {
      items.push_back(*std::move(parsed));
    }
  }
  return items;
}

bool is(const json& item, const kube::Resource& resource) {
  return kube::string_at(item, "/kind") == resource.kind &&
         ring::group_of(kube::string_at(item, "/apiVersion")) == resource.group;
}

// The usual plural of a kind, as a CRD's author would form it.
bool is_plural(std::string_view plural, std::string_view kind) {
  const std::string word = to_lower(kind);
  return plural == word + "s" || plural == word + "es" || plural == word ||
         (word.ends_with('y') && plural == word.substr(0, word.size() - 1) + "ies");
}

std::optional<RingResource> resource_of(const RingFacts& ring, const json& item) {
  const std::string api_version = kube::string_at(item, "/apiVersion");
  const std::string_view group = ring::group_of(api_version);
  const std::string kind = kube::string_at(item, "/kind");
  for (const ring::GroupResource& name : ring::resources_of(ring.object.spec)) {
    if (name.group == group && is_plural(name.resource, kind)) {
      const std::string_view version = std::string_view(api_version).substr(group.empty() ? 0 : group.size() + 1);
      return RingResource{.resource = {.group = name.group,
                                       .version = std::string(version),
                                       .plural = name.resource,
                                       .kind = kind,
                                       .namespaced = !kube::string_at(item, "/metadata/namespace").empty()},
                          .role = ring.entry->role(name.group, name.resource)};
    }
  }
  return std::nullopt;
}

}  // namespace

Result<PlanFile> read_plan_file(const std::vector<std::string>& texts, const std::string& ring_name, WallTime now) {
  auto items = read_items(texts);
  if (!items) {
    return std::unexpected(std::move(items.error()));
  }
  std::vector<RingFacts> rings;
  std::vector<membership::ShardLease> leases;
  std::map<std::string, Selection::Labels> namespaces;
  std::optional<WebhookFacts> webhook;
  kube::ObjectMetaDecoder decoder;
  for (const json& item : *items) {
    if (is(item, kube::kControllerRings)) {
      if (auto ring = decode_ring_facts(item)) {
        rings.push_back(*std::move(ring));
      }
    } else if (is(item, kube::kLeases)) {
      if (auto lease = membership::decode_shard_lease(item.dump())) {
        leases.push_back(*std::move(lease));
      }
    } else if (is(item, kube::kMutatingWebhookConfigurations)) {
      if (is_webhook_of(item, ring_name)) {
        webhook = decode_webhook(item);
      }
    } else if (is(item, kube::kNamespaces)) {
      if (const auto object = decoder.decode(item.dump())) {
        namespaces[object->name] = {object->labels.begin(), object->labels.end()};
      }
    }
  }
  enrol(rings, std::move(leases), now);
  const auto found = std::ranges::find(rings, ring_name, &RingFacts::name);
  if (found == rings.end()) {
    std::vector<std::string> names;
    std::ranges::transform(rings, std::back_inserter(names), &RingFacts::name);
    return fail(ErrorCode::kInvalid, "no ring \"" + ring_name + "\" in the file" + what_there_is(ring_name, names));
  }
  PlanFile file{.ring = std::move(*found), .selection = {}, .objects = {}};
  if (file.ring.shards.empty()) {
    return fail(ErrorCode::kInvalid, "no Lease of the ring " + ring_name + " in the file");
  }
  file.selection = selection_of(file.ring, webhook);
  if (!file.selection.by_name && !namespaces.empty()) {
    file.selection.namespaces = std::move(namespaces);
  }
  for (const json& item : *items) {
    const auto resource = resource_of(file.ring, item);
    const auto object = resource ? decoder.decode(item.dump()) : Result<kube::ObjectMeta>();
    if (resource && object) {
      file.objects.emplace_back(*resource, *object);
    }
  }
  return file;
}

}  // namespace sharder::ctl
