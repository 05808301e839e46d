#include "tests/apiserver/catalog.h"

#include <algorithm>
#include <tuple>

#include "tests/apiserver/object.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

// clang-format off
std::vector<Resource> built_in_resources() {
  const std::string none;
  return {
      {.group = none, .version = "v1", .plural = "configmaps", .kind = "ConfigMap", .short_names = {"cm"}},
      {.group = none, .version = "v1", .plural = "endpoints", .kind = "Endpoints", .short_names = {"ep"}},
      {.group = none, .version = "v1", .plural = "events", .kind = "Event", .short_names = {"ev"}, .create_on_update = true},
      {.group = none, .version = "v1", .plural = "namespaces", .kind = "Namespace", .namespaced = false, .short_names = {"ns"}, .status_subresource = true, .dns_label_name = true},
      {.group = none, .version = "v1", .plural = "nodes", .kind = "Node", .namespaced = false, .short_names = {"no"}, .status_subresource = true},
      {.group = none, .version = "v1", .plural = "persistentvolumeclaims", .kind = "PersistentVolumeClaim", .short_names = {"pvc"}, .status_subresource = true},
      {.group = none, .version = "v1", .plural = "pods", .kind = "Pod", .short_names = {"po"}, .status_subresource = true},
      {.group = none, .version = "v1", .plural = "secrets", .kind = "Secret"},
      {.group = none, .version = "v1", .plural = "serviceaccounts", .kind = "ServiceAccount", .short_names = {"sa"}},
      {.group = none, .version = "v1", .plural = "services", .kind = "Service", .short_names = {"svc"}, .status_subresource = true, .dns_label_name = true},
      {.group = "admissionregistration.k8s.io", .version = "v1", .plural = "mutatingwebhookconfigurations", .kind = "MutatingWebhookConfiguration", .namespaced = false, .has_generation = true, .tracks_fields = true},
      {.group = "admissionregistration.k8s.io", .version = "v1", .plural = "validatingwebhookconfigurations", .kind = "ValidatingWebhookConfiguration", .namespaced = false, .has_generation = true, .tracks_fields = true},
      {.group = "apiextensions.k8s.io", .version = "v1", .plural = "customresourcedefinitions", .kind = "CustomResourceDefinition", .namespaced = false, .short_names = {"crd", "crds"}, .has_generation = true, .status_subresource = true},
      {.group = "apps", .version = "v1", .plural = "daemonsets", .kind = "DaemonSet", .short_names = {"ds"}, .has_generation = true, .status_subresource = true},
      {.group = "apps", .version = "v1", .plural = "deployments", .kind = "Deployment", .short_names = {"deploy"}, .has_generation = true, .status_subresource = true},
      {.group = "apps", .version = "v1", .plural = "replicasets", .kind = "ReplicaSet", .short_names = {"rs"}, .has_generation = true, .status_subresource = true},
      {.group = "apps", .version = "v1", .plural = "statefulsets", .kind = "StatefulSet", .short_names = {"sts"}, .has_generation = true, .status_subresource = true},
      {.group = "authentication.k8s.io", .version = "v1", .plural = "tokenreviews", .kind = "TokenReview", .namespaced = false, .virtual_only = true},
      {.group = "authorization.k8s.io", .version = "v1", .plural = "selfsubjectaccessreviews", .kind = "SelfSubjectAccessReview", .namespaced = false, .virtual_only = true},
      {.group = "authorization.k8s.io", .version = "v1", .plural = "subjectaccessreviews", .kind = "SubjectAccessReview", .namespaced = false, .virtual_only = true},
      {.group = "batch", .version = "v1", .plural = "cronjobs", .kind = "CronJob", .short_names = {"cj"}, .has_generation = true, .status_subresource = true},
      {.group = "batch", .version = "v1", .plural = "jobs", .kind = "Job", .has_generation = true, .status_subresource = true},
      {.group = "coordination.k8s.io", .version = "v1", .plural = "leases", .kind = "Lease", .unconditional_update = false, .create_on_update = true},
      {.group = "policy", .version = "v1", .plural = "poddisruptionbudgets", .kind = "PodDisruptionBudget", .short_names = {"pdb"}, .has_generation = true, .status_subresource = true},
      {.group = "rbac.authorization.k8s.io", .version = "v1", .plural = "clusterrolebindings", .kind = "ClusterRoleBinding", .namespaced = false, .free_name = true},
      {.group = "rbac.authorization.k8s.io", .version = "v1", .plural = "clusterroles", .kind = "ClusterRole", .namespaced = false, .free_name = true},
      {.group = "rbac.authorization.k8s.io", .version = "v1", .plural = "rolebindings", .kind = "RoleBinding", .free_name = true},
      {.group = "rbac.authorization.k8s.io", .version = "v1", .plural = "roles", .kind = "Role", .free_name = true},
  };
}
// clang-format on

const json& member(const json& object, const char* name) {
  static const json kNone;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : kNone;
}

std::string text(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace

std::shared_ptr<const Catalog> Catalog::built_in() {
  auto catalog = std::make_shared<Catalog>();
  for (Resource& resource : built_in_resources()) {
    if (resource.singular.empty()) {
      resource.singular = lower_case(resource.kind);
    }
    catalog->resources_.push_back(std::make_shared<const Resource>(std::move(resource)));
  }
  return catalog;
}

std::shared_ptr<const Catalog> Catalog::with(const json& definition) const {
  const json& spec = definition.at("spec");
  const json& names = spec.at("names");
  auto catalog = std::make_shared<Catalog>(*without(text(spec, "group"), text(names, "plural")));
  std::vector<std::string> served;
  for (const json& version : spec.at("versions")) {
    if (version.value("served", true)) {
      served.push_back(text(version, "name"));
    }
  }
  for (const json& version : spec.at("versions")) {
    const json& subresources = member(version, "subresources");
    Resource resource{.group = text(spec, "group"),
                      .version = text(version, "name"),
                      .plural = text(names, "plural"),
                      .kind = text(names, "kind"),
                      .namespaced = text(spec, "scope") != "Cluster",
                      .singular = text(names, "singular"),
                      .list_kind = text(names, "listKind"),
                      .has_generation = true,
                      .status_subresource = !member(subresources, "status").is_null(),
                      .custom = true,
                      .unconditional_update = false,
                      .tracks_fields = true,
                      .served = served};
    if (const json& short_names = member(names, "shortNames"); short_names.is_array()) {
      resource.short_names = short_names.get<std::vector<std::string>>();
    }
    if (version.value("storage", false)) {
      catalog->schemas_.push_back({resource.bucket(), std::make_shared<const Schema>(Schema::from_open_api(
                                                          member(member(version, "schema"), "openAPIV3Schema")))});
    }
    if (version.value("served", true)) {
      catalog->resources_.push_back(std::make_shared<const Resource>(std::move(resource)));
    }
  }
  return catalog;
}

std::shared_ptr<const Catalog> Catalog::without(std::string_view group, std::string_view plural) const {
  auto catalog = std::make_shared<Catalog>(*this);
  std::erase_if(catalog->resources_, [&](const auto& resource) {
    return resource->custom && resource->group == group && resource->plural == plural;
  });
  const std::string bucket = std::string(group) + "/" + std::string(plural);
  std::erase_if(catalog->schemas_, [&](const Custom& custom) { return custom.bucket == bucket; });
  return catalog;
}

std::shared_ptr<const Resource> Catalog::find(std::string_view group, std::string_view version,
                                              std::string_view plural) const {
  const auto found = std::ranges::find_if(resources_, [&](const auto& resource) {
    return resource->plural == plural && resource->group == group && resource->version == version;
  });
  return found == resources_.end() ? nullptr : *found;
}

std::shared_ptr<const Resource> Catalog::find_bucket(std::string_view bucket) const {
  const auto found = std::ranges::find_if(resources_, [&](const auto& r) { return r->bucket() == bucket; });
  return found == resources_.end() ? nullptr : *found;
}

std::shared_ptr<const Resource> Catalog::find_kind(std::string_view api_version, std::string_view kind) const {
  const auto found = std::ranges::find_if(
      resources_, [&](const auto& r) { return r->kind == kind && r->api_version() == api_version; });
  return found == resources_.end() ? nullptr : *found;
}

const Schema& Catalog::schema(const Resource& resource) const {
  if (resource.custom) {
    const std::string bucket = resource.bucket();
    const auto found = std::ranges::find_if(schemas_, [&](const Custom& custom) { return custom.bucket == bucket; });
    if (found != schemas_.end()) {
      return *found->schema;
    }
  }
  return Schema::built_in();
}

Outcome<void> check_definition(const Resource& definitions, const json& definition) {
  std::vector<Cause> causes;
  const auto need = [&](const std::string& value, const char* field) {
    if (value.empty()) {
      causes.push_back({"FieldValueRequired", "Required value", field});
    }
  };
  const json& spec = member(definition, "spec");
  const json& names = member(spec, "names");
  need(text(spec, "group"), "spec.group");
  need(text(names, "plural"), "spec.names.plural");
  need(text(names, "kind"), "spec.names.kind");
  const std::string scope = text(spec, "scope");
  if (scope != "Cluster" && scope != "Namespaced") {
    causes.push_back({"FieldValueNotSupported", "Unsupported value: \"" + scope + "\"", "spec.scope"});
  }
  const json& versions = member(spec, "versions");
  const auto stored =
      versions.is_array()
          ? std::ranges::count_if(
                versions, [](const json& version) { return version.is_object() && version.value("storage", false); })
          : 0;
  if (stored != 1) {
    causes.push_back({"FieldValueInvalid", "must have exactly one version marked as storage version", "spec.versions"});
  }
  const std::string name = metadata_string(definition, "name");
  if (causes.empty() && name != text(names, "plural") + "." + text(spec, "group")) {
    causes.push_back({"FieldValueInvalid", "must be spec.names.plural+\".\"+spec.group", "metadata.name"});
  }
  if (!causes.empty()) {
    return refuse(invalid(definitions, name, std::move(causes)));
  }
  return {};
}

void complete_definition(json& definition, const std::string& now) {
  json& names = definition["spec"]["names"];
  const std::string kind = text(names, "kind");
  if (text(names, "singular").empty()) {
    names["singular"] = lower_case(kind);
  }
  if (text(names, "listKind").empty()) {
    names["listKind"] = kind + "List";
  }
  json stored = json::array();
  for (const json& version : definition["spec"]["versions"]) {
    if (version.value("storage", false)) {
      stored.push_back(version["name"]);
    }
  }
  json conditions = json::array();
  for (const auto& [type, reason, message] :
       {std::tuple{"NamesAccepted", "NoConflicts", "no conflicts found"},
        std::tuple{"Established", "InitialNamesAccepted", "the initial names have been accepted"}}) {
    conditions.push_back(
        {{"type", type}, {"status", "True"}, {"reason", reason}, {"message", message}, {"lastTransitionTime", now}});
  }
  definition["status"] = {{"acceptedNames", names}, {"conditions", conditions}, {"storedVersions", stored}};
}

}  // namespace sharder::apiserver
