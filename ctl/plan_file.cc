#include "ctl/plan_file.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_set>
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

using Kind = std::pair<std::string, std::string>;  // its group and its name

Kind kind_of(const json& item) {
  return {std::string(ring::group_of(kube::string_at(item, "/apiVersion"))), kube::string_at(item, "/kind")};
}

// What the files have.
struct Contents {
  std::vector<json> items;  // each object once
  std::set<Kind> kinds;     // of objects and of lists, which may be empty
};

class Reader {
 public:
  Result<void> read(const std::string& text) {
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
    if (kube::value_at(*parsed, "/items").is_array()) {
      add_list(*std::move(parsed));
    } else {
      add(*std::move(parsed));
    }
    return {};
  }

  Contents finish() && { return std::move(contents_); }

 private:
  // A "SecretList" of the API server says the kind of its objects, which need not say it themselves.
  void add_list(json list) {
    constexpr std::string_view kList = "List";
    Kind kind = kind_of(list);
    const bool of_one_kind = kind.second.size() > kList.size() && kind.second.ends_with(kList);
    if (of_one_kind) {
      kind.second.resize(kind.second.size() - kList.size());
      contents_.kinds.insert(kind);
    }
    for (json& item : list["items"]) {
      if (of_one_kind && item.is_object() && !item.contains("kind")) {
        item["kind"] = kind.second;
        item["apiVersion"] = list["apiVersion"];
      }
      add(std::move(item));
    }
  }

  void add(json item) {
    Kind kind = kind_of(item);
    const std::string id = kind.first + "/" + kind.second + "/" + kube::string_at(item, "/metadata/namespace") + "/" +
                           kube::string_at(item, "/metadata/name");
    if (seen_.insert(id).second) {
      contents_.kinds.insert(std::move(kind));
      contents_.items.push_back(std::move(item));
    }
  }

  Contents contents_;
  std::unordered_set<std::string> seen_;
};

bool is(const json& item, const kube::Resource& resource) {
  return kind_of(item) == Kind(resource.group, resource.kind);
}

bool is_crd(const json& item) {
  return kind_of(item) == Kind("apiextensions.k8s.io", "CustomResourceDefinition");
}

// The usual plural of a kind, as a CRD's author would form it.
bool is_plural(std::string_view plural, std::string_view kind) {
  const std::string word = to_lower(kind);
  return plural == word + "s" || plural == word + "es" || plural == word ||
         (word.ends_with('y') && plural == word.substr(0, word.size() - 1) + "ies");
}

void add_gap(std::vector<Gap>& gaps, std::string resource, std::string message) {
  gaps.push_back({.verb = "find",
                  .resource = std::move(resource),
                  .error = {.code = ErrorCode::kNotFound, .message = std::move(message)}});
}

std::string what_lacks(const ring::GroupResource& resource, const std::vector<Kind>& strange) {
  std::vector<std::string> candidates;
  for (const auto& [group, kind] : strange) {
    // Custom resources alone can have an irregular plural, and their groups have a dot.
    if (group == resource.group && group.contains('.')) {
      candidates.push_back(kind);
    }
  }
  return "the files have no " + to_string(resource) +
         (candidates.empty() ? "; if there are none, what kubectl get --raw prints of them, as a further file, says so"
                             : ", unless it is what " + join(candidates, " or ") +
                                   " is: its CustomResourceDefinition, as a further file, says so");
}

// The ring's resources, by the kinds of the files. `gaps` gets those of which there is none.
std::map<Kind, ring::GroupResource> match_kinds(const std::vector<ring::GroupResource>& resources,
                                                const Contents& contents, std::vector<Gap>& gaps) {
  std::map<Kind, std::string> plurals;  // as CRDs have them
  for (const json& item : contents.items) {
    if (is_crd(item)) {
      plurals[{kube::string_at(item, "/spec/group"), kube::string_at(item, "/spec/names/kind")}] =
          kube::string_at(item, "/spec/names/plural");
    }
  }
  std::map<Kind, ring::GroupResource> matched;
  std::vector<Kind> strange;  // kinds that may be anything in their groups
  for (const Kind& kind : contents.kinds) {
    const auto plural = plurals.find(kind);
    const auto is_it = [&](const ring::GroupResource& resource) {
      return resource.group == kind.first && (plural != plurals.end() ? plural->second == resource.resource
                                                                      : is_plural(resource.resource, kind.second));
    };
    if (const auto found = std::ranges::find_if(resources, is_it); found != resources.end()) {
      matched.emplace(kind, *found);
    } else if (plural == plurals.end()) {
      strange.push_back(kind);
    }
  }
  for (const ring::GroupResource& resource : resources) {
    if (std::ranges::none_of(matched, [&resource](const auto& one) { return one.second == resource; })) {
      add_gap(gaps, to_string(resource), what_lacks(resource, strange));
    }
  }
  return matched;
}

}  // namespace

Result<PlanFile> read_plan_file(const std::vector<std::string>& texts, const std::string& ring_name,
                                const std::string& object_namespace, WallTime now) {
  Reader reader;
  for (const std::string& text : texts) {
    if (auto read = reader.read(text); !read) {
      return std::unexpected(std::move(read.error()));
    }
  }
  const Contents contents = std::move(reader).finish();
  std::vector<RingFacts> rings;
  std::vector<membership::ShardLease> leases;
  std::map<std::string, Selection::Labels> namespaces;
  std::optional<WebhookFacts> webhook;
  kube::ObjectMetaDecoder decoder;
  for (const json& item : contents.items) {
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
  PlanFile file{.ring = std::move(*found), .selection = {}, .objects = {}, .gaps = {}};
  if (file.ring.shards.empty()) {
    return fail(ErrorCode::kInvalid, "no Lease of the ring " + ring_name + " in the file");
  }
  file.selection = selection_of(file.ring, webhook);
  if (!webhook && !file.ring.object.spec.namespace_selector) {
    add_gap(file.gaps, name_of(kube::kMutatingWebhookConfigurations),
            "the files have no MutatingWebhookConfiguration of the ring " + ring_name +
                ", which has no namespaceSelector: the default one is assumed");
  }
  if (!file.selection.by_name) {
    file.selection.namespaces = std::move(namespaces);
  }
  std::set<std::string> unknown;  // namespaces
  const auto resources = match_kinds(ring::resources_of(file.ring.object.spec), contents, file.gaps);
  for (const json& item : contents.items) {
    const auto resource = resources.find(kind_of(item));
    if (resource == resources.end()) {
      continue;
    }
    auto object = decoder.decode(item.dump());
    if (!object) {
      add_gap(file.gaps, to_string(resource->second),
              "an object of " + to_string(resource->second) +
                  " cannot be read, and is not counted: " + object.error().message);
      continue;
    }
    const bool namespaced = !object->object_namespace.empty();
    if (namespaced && !object_namespace.empty() && object->object_namespace != object_namespace) {
      continue;
    }
    const std::string api_version = kube::string_at(item, "/apiVersion");
    const auto& [group, plural] = resource->second;
    RingResource described{.resource = {.group = group,
                                        .version = api_version.substr(group.empty() ? 0 : group.size() + 1),
                                        .plural = plural,
                                        .kind = resource->first.second,
                                        .namespaced = namespaced},
                           .role = file.ring.entry->role(group, plural)};
    if (!file.selection.selects(described.resource, *object)) {
      unknown.insert(object->object_namespace);
    }
    file.objects.emplace_back(std::move(described), *std::move(object));
  }
  if (!unknown.empty()) {
    add_gap(file.gaps, name_of(kube::kNamespaces),
            "the files have no labels of " + count_of(static_cast<std::int64_t>(unknown.size()), "namespace") +
                ", such as " + *unknown.begin() + ": objects there are counted as selected");
  }
  return file;
}

}  // namespace sharder::ctl
