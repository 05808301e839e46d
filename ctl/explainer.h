#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "ctl/cluster.h"
#include "ctl/explain.h"
#include "ctl/rings.h"
#include "ctl/selection.h"
#include "kube/codec/object_meta.h"

namespace sharder::ctl {

// Reads what there is to say about objects, one after another. What they have in common is read once.
class Explainer {
 public:
  // All outlive it. `gaps` gets what could not be read, once.
  Explainer(Cluster& cluster, const Options& options, const Rings& rings, std::vector<Gap>& gaps);

  // The object of this kind ("secret", "deployments.apps") in each ring that has something to say about it, without
  // what it controls. Where several groups have the kind, the object of each. kNotFound: no ring shards the kind, or
  // there is no such object; with `hints`, the message has what there is, for which all objects are listed.
  Result<std::vector<Explanation>> explain(const std::string& kind, const std::string& name, bool hints);

  // Adds what the main objects control, with one list for all owners in a namespace.
  void read_controlled(std::span<Explanation> explanations);

 private:
  struct Place {
    const RingFacts* ring;
    RingResource resource;
  };
  struct Common {
    std::optional<WebhookFacts> webhook;
    Selection selection;
  };

  // Asks once for what several rings have.
  const Result<kube::Resource>& resolve(const ring::GroupResource& name);
  // What places have in common: one resource in all its rings.
  Result<std::vector<Explanation>> explain_at(std::span<const Place* const> places, const std::string& name);
  const Common& common(const RingFacts& ring);
  std::optional<bool> sharder_may(const std::string& verb, const kube::Resource& resource,
                                  const std::string& object_namespace);
  Explanation explain_in(const Place& place, const nlohmann::json& object, const kube::ObjectMeta& meta);

  Cluster& cluster_;
  const Options& options_;
  const Rings& rings_;
  std::vector<Gap>& gaps_;
  std::map<std::string, Result<kube::Resource>> resources_;
  std::vector<Place> places_;                  // all resources of all rings that are served
  std::vector<ring::GroupResource> unserved_;  // the others, or of which it is not known
  kube::ObjectMetaDecoder decoder_;
  std::map<const RingFacts*, Common> common_;
  std::map<std::tuple<std::string, std::string, std::string>, std::optional<bool>> may_;  // verb, resource, namespace
};

}  // namespace sharder::ctl
