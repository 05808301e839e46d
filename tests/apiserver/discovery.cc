#include "tests/apiserver/discovery.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

namespace sharder::apiserver {

using nlohmann::json;

namespace {

json resource_entry(const Resource& resource) {
  json verbs = {"create"};
  if (!resource.virtual_only) {
    verbs = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
  }
  json entry = {{"name", resource.plural},
                {"singularName", resource.singular},
                {"namespaced", resource.namespaced},
                {"kind", resource.kind},
                {"verbs", verbs}};
  if (!resource.short_names.empty()) {
    entry["shortNames"] = resource.short_names;
  }
  return entry;
}

json resource_list(const Catalog& catalog, std::string_view group, std::string_view version) {
  json resources = json::array();
  std::string name;
  for (const auto& resource : catalog.all()) {
    if (resource->group != group || resource->version != version) {
      continue;
    }
    name = resource->api_version();
    resources.push_back(resource_entry(*resource));
    if (resource->status_subresource) {
      resources.push_back({{"name", resource->plural + "/status"},
                           {"singularName", ""},
                           {"namespaced", resource->namespaced},
                           {"kind", resource->kind},
                           {"verbs", {"get", "patch", "update"}}});
    }
  }
  return name.empty() ? json()
                      : json{{"kind", "APIResourceList"},
                             {"apiVersion", "v1"},
                             {"groupVersion", name},
                             {"resources", std::move(resources)}};
}

std::vector<std::string> versions_of(const Catalog& catalog, std::string_view group) {
  std::vector<std::string> versions;
  for (const auto& resource : catalog.all()) {
    if (resource->group == group && std::ranges::find(versions, resource->version) == versions.end()) {
      versions.push_back(resource->version);
    }
  }
  return versions;
}

json group_entry(const Catalog& catalog, const std::string& group) {
  json versions = json::array();
  for (const std::string& version : versions_of(catalog, group)) {
    versions.push_back({{"groupVersion", group + "/" + version}, {"version", version}});
  }
  const json preferred = versions.empty() ? json() : versions[0];
  return {{"name", group}, {"versions", std::move(versions)}, {"preferredVersion", preferred}};
}

json group_list(const Catalog& catalog) {
  std::vector<std::string> groups;
  for (const auto& resource : catalog.all()) {
    if (!resource->group.empty() && std::ranges::find(groups, resource->group) == groups.end()) {
      groups.push_back(resource->group);
    }
  }
  json list = json::array();
  for (const std::string& group : groups) {
    list.push_back(group_entry(catalog, group));
  }
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}};
}

// As much OpenAPI as kubectl needs to leave the validation of fields to the server.
json openapi_index(const Catalog& catalog) {
  json paths = json::object();
  for (const auto& resource : catalog.all()) {
    const std::string path = (resource->group.empty() ? "api/" : "apis/") + resource->api_version();
    paths[path] = {{"serverRelativeURL", "/openapi/v3/" + path}};
  }
  return {{"paths", std::move(paths)}};
}

json openapi_document(const Catalog& catalog, std::string_view group, std::string_view version) {
  json paths = json::object();
  for (const auto& resource : catalog.all()) {
    if (resource->group == group && resource->version == version) {
      const json kind = {{"group", group}, {"version", version}, {"kind", resource->kind}};
      const json parameter = {{"name", "fieldValidation"}, {"in", "query"}, {"schema", {{"type", "string"}}}};
      paths[(group.empty() ? "/api/" : "/apis/") + resource->api_version() + "/" + resource->plural + "/{name}"] = {
          {"patch",
           {{"parameters", json::array({parameter})},
            {"responses", json::object()},
            {"x-kubernetes-action", "patch"},
            {"x-kubernetes-group-version-kind", kind}}}};
    }
  }
  return {{"openapi", "3.0.0"},
          {"info", {{"title", "embedded"}, {"version", "v1"}}},
          {"paths", std::move(paths)},
          {"components", {{"schemas", json::object()}}}};
}

json version_info() {
  return {{"major", "1"},
          {"minor", "33"},
          {"gitVersion", "v1.33.0-embedded"},
          {"gitCommit", "embedded"},
          {"gitTreeState", "clean"},
          {"buildDate", "2026-01-01T00:00:00Z"},
          {"goVersion", "none"},
          {"compiler", "c++"},
          {"platform", "linux"}};
}

}  // namespace

std::optional<std::string> discovery_document(const Catalog& catalog, std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.remove_suffix(1);
  }
  json document;
  if (path == "/version") {
    document = version_info();
  } else if (path == "/api") {
    document = {{"kind", "APIVersions"}, {"versions", {"v1"}}, {"serverAddressByClientCIDRs", json::array()}};
  } else if (path == "/apis") {
    document = group_list(catalog);
  } else if (path == "/openapi/v3") {
    document = openapi_index(catalog);
  } else if (path.starts_with("/openapi/v3/api/")) {
    document = openapi_document(catalog, "", path.substr(16));
  } else if (path.starts_with("/openapi/v3/apis/") && std::ranges::count(path, '/') == 5) {
    path.remove_prefix(17);
    const std::size_t slash = path.find('/');
    document = openapi_document(catalog, path.substr(0, slash), path.substr(slash + 1));
  } else if (path.starts_with("/api/")) {
    document = resource_list(catalog, "", path.substr(5));
  } else if (path.starts_with("/apis/")) {
    path.remove_prefix(6);
    if (const std::size_t slash = path.find('/'); slash != std::string_view::npos) {
      document = resource_list(catalog, path.substr(0, slash), path.substr(slash + 1));
    } else if (!versions_of(catalog, path).empty()) {
      document = group_entry(catalog, std::string(path));
      document["kind"] = "APIGroup";
      document["apiVersion"] = "v1";
    }
  }
  return document.is_null() ? std::nullopt : std::optional(document.dump());
}

}  // namespace sharder::apiserver
