#include "ctl/explain_command.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "ctl/access.h"
#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/explain.h"
#include "ctl/text.h"
#include "kube/codec/json.h"
#include "ring/object_key.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

struct Wanted {
  std::string kind, name;
};

// "secret/a", or "secret a".
Result<Wanted> wanted_object(const std::vector<std::string>& arguments) {
  if (arguments.size() == 2) {
    return Wanted{.kind = arguments[0], .name = arguments[1]};
  }
  const auto slash = arguments.front().find('/');
  Wanted wanted{.kind = arguments.front().substr(0, slash),
                .name = slash == std::string::npos ? "" : arguments.front().substr(slash + 1)};
  if (wanted.kind.empty() || wanted.name.empty() || wanted.name.contains('/')) {
    return fail(ErrorCode::kInvalid, "want KIND/NAME, such as secret/a, got \"" + arguments.front() + "\"");
  }
  return wanted;
}

struct Match {
  const RingFacts* ring;
  RingResource resource;
};

// The rings that shard objects of this kind.
Result<std::vector<Match>> find_rings(Cluster& cluster, const Rings& rings, const std::string& kind,
                                      std::vector<Gap>& gaps) {
  std::vector<Match> matches;
  std::vector<std::string> known;
  for (const RingFacts& ring : rings.rings) {
    for (RingResource& resource : resolve_resources(cluster, ring, gaps)) {
      if (std::ranges::find(known, name_of(resource.resource)) == known.end()) {
        known.push_back(name_of(resource.resource));
      }
      if (is_called(resource.resource, kind)) {
        matches.push_back({.ring = &ring, .resource = std::move(resource)});
      }
    }
  }
  if (matches.empty()) {
    return fail(ErrorCode::kNotFound, "no ring shards \"" + kind + "\"" + what_there_is(kind, known));
  }
  return matches;
}

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

bool owns(const Explanation& owner, const kube::ObjectMeta& object) {
  const auto& reference = object.controller;
  return reference && reference->name == owner.object.name && reference->kind == owner.resource.resource.kind &&
         ring::group_of(reference->api_version) == owner.resource.resource.group;
}

void read_controlled(Cluster& cluster, const RingFacts& ring, Explanation& owner, std::vector<Gap>& gaps) {
  const auto& specs = ring.object.spec.resources;
  const auto spec = std::ranges::find_if(specs, [&owner](const ring::RingResource& one) {
    return one.main.group == owner.resource.resource.group && one.main.resource == owner.resource.resource.plural;
  });
  if (spec == specs.end()) {
    return;
  }
  for (const ring::GroupResource& name : spec->controlled) {
    auto resource = cluster.resolve(name);
    if (!resource) {
      gaps.push_back({.verb = "discover", .resource = to_string(name), .error = std::move(resource.error())});
      continue;
    }
    ControlledObjects found{.resource = to_string(name), .by_shard = {}, .elsewhere = 0, .example = {}};
    auto listed =
        cluster.list_metadata(*resource, owner.object.object_namespace, "", [&](const kube::ObjectMeta& object) {
          if (!owns(owner, object)) {
            return;
          }
          const std::string shard(object.label(ring.entry->shard_label()).value_or(""));
          ++found.by_shard[shard];
          if (shard != owner.shard && ++found.elsewhere == 1) {
            found.example = object.name;
          }
        });
    if (!listed) {
      gaps.push_back({.verb = "list", .resource = to_string(name), .error = std::move(listed.error())});
      continue;
    }
    owner.controlled.push_back(std::move(found));
  }
}

Explanation explain_in(Cluster& cluster, const Options& options, const Match& match, const json& object,
                       const kube::ObjectMeta& meta, std::vector<Gap>& gaps) {
  const RingFacts& ring = *match.ring;
  const auto webhook = read_webhook(cluster, ring.name(), gaps);
  const Selection selection = read_selection(cluster, ring, webhook, gaps);
  Explanation one = explain(ring, match.resource, selection, meta, SystemClock().wall());
  one.shard_set = setter_of_label(object, ring.entry->shard_label());
  one.drain_set = one.drain ? setter_of_label(object, ring.entry->drain_label()) : std::nullopt;
  if (webhook) {
    one.webhook_calls = webhook->calls_for(match.resource.resource);
  }
  for (const char* const verb : {"list", "patch", "watch"}) {
    one.sharder_may[verb] = sharder_may(cluster, options, verb, match.resource.resource, meta.object_namespace, gaps);
  }
  if (match.resource.role == ring::Role::kMain) {
    read_controlled(cluster, ring, one, gaps);
  }
  return one;
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

Result<ExitCode> run_explain(Context& context) {
  const auto wanted = wanted_object(context.invocation.arguments);
  if (!wanted) {
    return std::unexpected(wanted.error());
  }
  const auto connected = Cluster::connect(context.options);
  if (!connected) {
    return std::unexpected(connected.error());
  }
  Cluster& cluster = **connected;
  const auto rings = read_rings(cluster);
  if (!rings) {
    return std::unexpected(rings.error());
  }
  std::vector<Gap> gaps;
  auto matches = find_rings(cluster, *rings, wanted->kind, gaps);
  if (!matches) {
    note_gaps(context.console, gaps);
    return std::unexpected(std::move(matches.error()));
  }
  const kube::Resource& resource = matches->front().resource.resource;
  const std::string object_namespace = resource.namespaced ? cluster.default_namespace() : "";
  auto object = cluster.get_metadata(resource, object_namespace, wanted->name);
  if (!object) {
    if (object.error().code == ErrorCode::kNotFound) {
      return fail(ErrorCode::kNotFound, "there is no " + wanted->kind + " \"" + wanted->name + "\"" +
                                            (resource.namespaced ? " in the namespace " + object_namespace : "") +
                                            hint(cluster, resource, object_namespace, wanted->name));
    }
    return std::unexpected(std::move(object.error()));
  }
  const auto meta = kube::ObjectMetaDecoder().decode(object->dump());
  if (!meta) {
    return std::unexpected(meta.error());
  }
  std::vector<Explanation> explanations;
  for (const Match& match : *matches) {
    explanations.push_back(explain_in(cluster, context.options, match, *object, *meta, gaps));
  }
  keep_those_that_matter(explanations);
  ExitCode code = ExitCode::kOk;
  std::string text;
  nlohmann::ordered_json all = document("Explanations");
  all["items"] = nlohmann::ordered_json::array();
  for (const Explanation& one : explanations) {
    code = worse(code, one.exit_code());
    text += (text.empty() ? "" : "\n") + render(one, context.style());
    all["items"].push_back(to_json(one));
  }
  all["incomplete"] = to_json(gaps);
  if (context.options.structured()) {
    print_document(context, all);
  } else {
    context.console.print(text);
    note_gaps(context.console, gaps);
  }
  return worse(code, worst_of(gaps));
}

}  // namespace sharder::ctl
