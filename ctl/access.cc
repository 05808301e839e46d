#include "ctl/access.h"

#include <map>
#include <nlohmann/json.hpp>

#include "ctl/text.h"
#include "kube/codec/json.h"
#include "ring/resources.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

const kube::Resource kSelfSubjectAccessReviews{"authorization.k8s.io", "v1", "selfsubjectaccessreviews",
                                               "SelfSubjectAccessReview", false};

json attributes(const Permission& permission) {
  return {{"verb", permission.verb},
          {"group", permission.resource.group},
          {"resource", permission.resource.resource},
          {"subresource", permission.subresource},
          {"namespace", permission.object_namespace},
          {"name", permission.name}};
}

Result<bool> review(Cluster& cluster, const kube::Resource& resource, json spec) {
  const auto answer = cluster.create(
      resource, "",
      {{"apiVersion", resource.group + "/" + resource.version}, {"kind", resource.kind}, {"spec", std::move(spec)}});
  return answer ? Result<bool>(kube::bool_at(*answer, "/status/allowed")) : std::unexpected(answer.error());
}

std::string resource_name(const Permission& permission) {
  return to_string(permission.resource) + (permission.subresource.empty() ? "" : "/" + permission.subresource);
}

}  // namespace

std::string to_string(const Permission& permission) {
  return permission.verb + " " + resource_name(permission) +
         (permission.object_namespace.empty() ? "" : " in " + permission.object_namespace);
}

std::vector<Permission> needs_of_sharder(const std::string& sharder_namespace) {
  struct Row {
    const char *group, *resource, *subresource;
    std::vector<const char*> verbs;
  };
  static const std::vector<Row> rows{
      {"", "events", "", {"create", "patch"}},
      {"", "namespaces", "", {"get", "list", "watch"}},
      {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", {"create", "patch"}},
      {"coordination.k8s.io", "leases", "", {"get", "list", "watch", "update", "patch", "delete"}},
      {"sharding.timebertt.dev", "controllerrings", "", {"get", "list", "watch"}},
      {"sharding.timebertt.dev", "controllerrings", "status", {"update", "patch"}},
      {"authentication.k8s.io", "tokenreviews", "", {"create"}},
      {"authorization.k8s.io", "subjectaccessreviews", "", {"create"}},
  };
  std::vector<Permission> needs;
  for (const Row& row : rows) {
    for (const char* const verb : row.verbs) {
      needs.push_back(
          {.verb = verb, .resource = {.group = row.group, .resource = row.resource}, .subresource = row.subresource});
    }
  }
  for (const char* const verb : {"get", "update"}) {  // the leader election's Lease
    needs.push_back({.verb = verb,
                     .resource = {.group = "coordination.k8s.io", .resource = "leases"},
                     .object_namespace = sharder_namespace,
                     .name = "sharder"});
  }
  needs.push_back({.verb = "create",
                   .resource = {.group = "coordination.k8s.io", .resource = "leases"},
                   .object_namespace = sharder_namespace});
  return needs;
}

std::vector<Permission> needs_of_ring(const RingFacts& ring) {
  std::vector<Permission> needs;
  for (const ring::GroupResource& resource : ring::resources_of(ring.object.spec)) {
    for (const char* const verb : {"list", "watch", "patch"}) {
      needs.push_back({.verb = verb, .resource = resource});
    }
  }
  return needs;
}

std::vector<Finding> examine_access(const std::string& ring, const std::string& service_account,
                                    const std::vector<Permission>& missing) {
  std::map<std::string, std::vector<std::string>> verbs;  // by resource and namespace
  for (const Permission& one : missing) {
    const std::string where = one.object_namespace.empty() ? "" : " in " + one.object_namespace;
    verbs[resource_name(one) + where].push_back(one.verb);
  }
  std::vector<Finding> found;
  found.reserve(verbs.size());
  for (const auto& [resource, missed] : verbs) {
    found.push_back({.check = Check::kSharderPermission,
                     .ring = ring,
                     .object = "serviceaccounts " + service_account,
                     .message = "it may not " + join(missed, ", ") + " " + resource,
                     .advice = ring.empty() ? "apply the ClusterRole sharding:sharder and its binding again"
                                            : "grant it list, watch and patch on the ring's resources"});
  }
  return found;
}

Result<bool> caller_may(Cluster& cluster, const Permission& permission) {
  return review(cluster, kSelfSubjectAccessReviews, {{"resourceAttributes", attributes(permission)}});
}

Result<bool> may(Cluster& cluster, const ServiceAccount& account, const Permission& permission) {
  return review(
      cluster, kube::kSubjectAccessReviews,
      {{"user", "system:serviceaccount:" + account.object_namespace + ":" + account.name},
       {"groups",
        {"system:serviceaccounts", "system:serviceaccounts:" + account.object_namespace, "system:authenticated"}},
       {"resourceAttributes", attributes(permission)}});
}

}  // namespace sharder::ctl
