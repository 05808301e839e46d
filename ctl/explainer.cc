#include "ctl/explainer.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <ranges>
#include <set>
#include <unordered_map>
#include <utility>

#include "ctl/access.h"
#include "ctl/text.h"
#include "ring/object_key.h"
#include "ring/resources.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

// The same name elsewhere, or a name that is like it here.
std::string hint(Cluster& cluster, const kube::Resource& resource, const std::string& object_namespace,
                 const std::string& name) {
  constexpr std::size_t kMost = 20'000;
  std::vector<std::string> names;
  const auto listed = cluster.list_metadata(resource, "", "", [&](const kube::ObjectMeta& object) {
    if (object.name == name) {
      names.insert(names.begin(), "-n " + object.object_namespace);
    } else if (object.object_namespace == object_namespace && names.size() < kMost) {
      names.push_back(object.name);
    }
  });
  if (!listed) {
    return "";
  }
  if (!names.empty() && names.front().starts_with("-n ")) {
    return "; there is one with " + names.front();
  }
  return what_there_is(name, names);
}

std::optional<bool> sharder_may(Cluster& cluster, const Options& options, const std::string& verb,
                                const kube::Resource& resource, const std::string& object_namespace,
                                std::vector<Gap>& gaps) {
  auto allowed = may(cluster, {.object_namespace = options.sharder_namespace, .name = "sharder"},
                     {.verb = verb,
                      .resource = {.group = resource.group, .resource = resource.plural},
                      .object_namespace = object_namespace});
  if (!allowed) {
    if (std::ranges::find(gaps, "create", &Gap::verb) == gaps.end()) {
      gaps.push_back(
          {.verb = "create", .resource = name_of(kube::kSubjectAccessReviews), .error = std::move(allowed.error())});
    }
    return std::nullopt;
  }
  return *allowed;
}

// Owners in one namespace, by the key that a reference to them gives there.
using Owners = std::unordered_multimap<std::string, Explanation*>;

// Counts the objects of one controlled resource.
void count_controlled(Cluster& cluster, const RingFacts& ring, const kube::Resource& resource,
                      const std::string& object_namespace, const Owners& owners, std::vector<Gap>& gaps) {
  std::unordered_map<const Explanation*, ControlledObjects> found;
  std::string key;  // reused
  auto listed = cluster.list_metadata(resource, object_namespace, "", [&](const kube::ObjectMeta& object) {
    if (!object.controller) {
      return;
    }
    const kube::OwnerReference& reference = *object.controller;
    ring::object_key(key, ring::group_of(reference.api_version), reference.kind, object_namespace, reference.name);
    const auto [begin, end] = owners.equal_range(key);
    for (const Explanation* const owner : std::ranges::subrange(begin, end) | std::views::values) {
      ControlledObjects& controlled = found[owner];
      const std::string shard(object.label(ring.entry->shard_label()).value_or(""));
      ++controlled.by_shard[shard];
      if (shard != owner->shard && ++controlled.elsewhere == 1) {
        controlled.example = object.name;
      }
    }
  });
  if (!listed) {
    gaps.push_back({.verb = "list", .resource = name_of(resource), .error = std::move(listed.error())});
    return;
  }
  for (Explanation* const owner : owners | std::views::values) {
    ControlledObjects& controlled = found[owner];
    controlled.resource = name_of(resource);
    owner->controlled.push_back(std::move(controlled));
  }
}

// Rings that select other namespaces have nothing to say about an object that another ring selects, unless it has their
// label.
void keep_those_that_matter(std::vector<Explanation>& explanations) {
  const auto matters = [](const Explanation& one) { return one.selected != false || !one.shard.empty(); };
  if (std::ranges::any_of(explanations, matters)) {
    std::erase_if(explanations, std::not_fn(matters));
  }
}

}  // namespace

Explainer::Explainer(Cluster& cluster, const Options& options, const Rings& rings, std::vector<Gap>& gaps)
    : cluster_(cluster), options_(options), rings_(rings), gaps_(gaps) {
  for (const RingFacts& ring : rings.rings) {
    for (const ring::GroupResource& name : ring::resources_of(ring.object.spec)) {
      if (const auto& resource = resolve(name)) {
        places_.push_back(
            {.ring = &ring, .resource = {.resource = *resource, .role = ring.entry->role(name.group, name.resource)}});
      } else if (std::ranges::find(unserved_, name) == unserved_.end()) {
        unserved_.push_back(name);
      }
    }
  }
}

const Result<kube::Resource>& Explainer::resolve(const ring::GroupResource& name) {
  const auto known = resources_.find(to_string(name));
  return known != resources_.end() ? known->second
                                   : resources_.emplace(to_string(name), cluster_.resolve(name)).first->second;
}

const Explainer::Common& Explainer::common(const RingFacts& ring) {
  const auto known = common_.find(&ring);
  if (known != common_.end()) {
    return known->second;
  }
  auto webhook = read_webhook(cluster_, ring.name(), gaps_);
  auto selection = read_selection(cluster_, ring, webhook, gaps_);
  return common_.emplace(&ring, Common{.webhook = std::move(webhook), .selection = std::move(selection)}).first->second;
}

std::optional<bool> Explainer::sharder_may(const std::string& verb, const kube::Resource& resource,
                                           const std::string& object_namespace) {
  const auto [known, is_new] = may_.try_emplace({verb, name_of(resource), object_namespace});
  if (is_new) {
    known->second = ctl::sharder_may(cluster_, options_, verb, resource, object_namespace, gaps_);
  }
  return known->second;
}

Explanation Explainer::explain_in(const Place& place, const json& object, const kube::ObjectMeta& meta) {
  const RingFacts& ring = *place.ring;
  const auto& [webhook, selection] = common(ring);
  Explanation one = ctl::explain(ring, place.resource, selection, meta, SystemClock().wall());
  one.shard_set = setter_of_label(object, ring.entry->shard_label());
  one.drain_set = one.drain ? setter_of_label(object, ring.entry->drain_label()) : std::nullopt;
  if (webhook) {
    one.webhook_calls = webhook->calls_for(place.resource.resource);
  }
  for (const char* const verb : {"list", "patch", "watch"}) {
    one.sharder_may[verb] = sharder_may(verb, place.resource.resource, meta.object_namespace);
  }
  return one;
}

Result<std::vector<Explanation>> Explainer::explain(const std::string& kind, const std::string& name, bool hints) {
  std::map<std::string, std::vector<const Place*>> places;  // by resource
  for (const Place& place : places_) {
    if (is_called(place.resource.resource, kind)) {
      places[name_of(place.resource.resource)].push_back(&place);
    }
  }
  for (const ring::GroupResource& one : unserved_) {
    const Error& error = resolve(one).error();
    if (places.empty() && error.code != ErrorCode::kNotFound) {
      return fail("it is not known what \"" + kind + "\" is", error);
    }
    if (is_called({.group = one.group, .version = "", .plural = one.resource, .kind = ""}, kind)) {
      gaps_.push_back({.verb = "discover", .resource = to_string(one), .error = error});
    }
  }
  if (places.empty()) {
    std::set<std::string> known;
    for (const Place& place : places_) {
      known.insert(name_of(place.resource.resource));
    }
    return fail(ErrorCode::kNotFound, "no ring shards \"" + kind + "\"" +
                                          what_there_is(kind, std::vector<std::string>(known.begin(), known.end())));
  }
  std::vector<Explanation> explanations;
  std::vector<Gap> failed;
  for (const auto& [resource, in_rings] : places) {
    auto explained = explain_at(in_rings, name);
    if (explained) {
      std::ranges::move(*explained, std::back_inserter(explanations));
    } else if (explained.error().code != ErrorCode::kNotFound) {
      failed.push_back({.verb = "get", .resource = resource, .error = std::move(explained.error())});
    }
  }
  if (!explanations.empty()) {
    std::ranges::move(failed, std::back_inserter(gaps_));
    return explanations;
  }
  if (!failed.empty()) {
    return std::unexpected(std::move(failed.front().error));
  }
  const kube::Resource& resource = places.begin()->second.front()->resource.resource;
  const std::string object_namespace = resource.namespaced ? cluster_.default_namespace() : "";
  return fail(ErrorCode::kNotFound, "there is no " + kind + " \"" + name + "\"" +
                                        (resource.namespaced ? " in the namespace " + object_namespace : "") +
                                        (hints ? hint(cluster_, resource, object_namespace, name) : ""));
}

Result<std::vector<Explanation>> Explainer::explain_at(std::span<const Place* const> places, const std::string& name) {
  const kube::Resource& resource = places.front()->resource.resource;
  const std::string object_namespace = resource.namespaced ? cluster_.default_namespace() : "";
  auto object = cluster_.get_metadata(resource, object_namespace, name);
  if (!object) {
    return std::unexpected(std::move(object.error()));
  }
  const auto meta = decoder_.decode(object->dump());
  if (!meta) {
    return std::unexpected(meta.error());
  }
  std::vector<Explanation> explanations;
  explanations.reserve(places.size());
  for (const Place* const place : places) {
    explanations.push_back(explain_in(*place, *object, *meta));
  }
  keep_those_that_matter(explanations);
  return explanations;
}

void Explainer::read_controlled(std::span<Explanation> explanations) {
  for (const RingFacts& ring : rings_.rings) {
    for (const ring::RingResource& spec : ring.object.spec.resources) {
      std::map<std::string, Owners> owners;  // by their namespace
      for (Explanation& one : explanations) {
        const kube::Resource& resource = one.resource.resource;
        if (one.ring == ring.name() && one.resource.role == ring::Role::kMain && spec.main.group == resource.group &&
            spec.main.resource == resource.plural) {
          owners[one.object.object_namespace].emplace(one.key, &one);
        }
      }
      for (const auto& [object_namespace, of_namespace] : owners) {
        for (const ring::GroupResource& name : spec.controlled) {
          if (const auto& resource = resolve(name)) {
            count_controlled(cluster_, ring, *resource, object_namespace, of_namespace, gaps_);
          } else {
            gaps_.push_back({.verb = "discover", .resource = to_string(name), .error = resource.error()});
          }
        }
      }
    }
  }
}

}  // namespace sharder::ctl
