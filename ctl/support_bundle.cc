#include "ctl/support_bundle.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "ctl/doctor.h"
#include "ctl/document.h"
#include "ctl/status_command.h"
#include "kube/codec/json.h"
#include "ring/names.h"
#include "sharder/version.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kLogLines = 2000;
constexpr const char* kComponent = "app.kubernetes.io/component=sharder";
const kube::Resource kPods{"", "v1", "pods", "Pod", true};
const kube::Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};

template <class Json>
std::string text_of(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

class Reader {
 public:
  Reader(Cluster& cluster, const Options& options, std::chrono::milliseconds overdue)
      : cluster_(cluster), options_(options), overdue_(overdue) {}

  SupportBundle read() {
    read_versions();
    read_list("controllerrings.json", kube::kControllerRings, "", "", "");
    read_list("leases.json", kube::kLeases, "", std::string(ring::kRingLabel), "");
    read_list("webhook_configurations.json", kube::kMutatingWebhookConfigurations, "", std::string(ring::kRingLabel),
              "");
    read_list("events.json", kube::kEvents, "default", "", "involvedObject.kind=ControllerRing");
    read_list("sharder/deployments.json", kDeployments, options_.sharder_namespace, kComponent, "");
    read_list("sharder/leases.json", kube::kLeases, options_.sharder_namespace, "", "metadata.name=sharder");
    for (const json& pod : read_list("sharder/pods.json", kPods, options_.sharder_namespace, kComponent, "")) {
      read_pod(kube::string_at(pod, "/metadata/name"), pod);
    }
    read_status_document();
    read_diagnosis();
    ordered_json incomplete = document("Incomplete");
    incomplete["items"] = to_json(bundle_.gaps);
    bundle_.files["incomplete.json"] = text_of(incomplete);
    return std::move(bundle_);
  }

 private:
  void add_gap(std::string verb, std::string resource, Error error) {
    bundle_.gaps.push_back({.verb = std::move(verb), .resource = std::move(resource), .error = std::move(error)});
  }

  void read_versions() {
    ordered_json versions = document("Version");
    versions["version"] = app::version();
    versions["commit"] = app::kCommit;
    if (auto body = cluster_.call({.target = "/version"}, "get", "/version")) {
      const json server = kube::parse_json(*body).value_or(json());
      for (const char* const field : {"gitVersion", "goVersion", "platform"}) {
        versions["apiServer"][field] = kube::string_of(kube::field_of(server, field));
      }
    } else {
      add_gap("get", "/version", std::move(body.error()));
    }
    bundle_.files["version.json"] = text_of(versions);
  }

  // Returns what it has put into the file.
  std::vector<json> read_list(const std::string& path, const kube::Resource& resource,
                              const std::string& object_namespace, const std::string& labels,
                              const std::string& fields) {
    std::vector<json> items;
    auto listed = cluster_.list(
        resource, object_namespace, labels, [&items](const json& object) { items.push_back(without_secrets(object)); },
        fields);
    if (!listed) {
      add_gap("list", name_of(resource), std::move(listed.error()));
      return {};
    }
    bundle_.files[path] = text_of(json{{"kind", resource.kind + "List"}, {"items", items}});
    return items;
  }

  void read_pod(const std::string& name, const json& pod) {
    // Of the sharder alone: what other containers log is not known.
    const std::string container = kube::string_at(pod, "/spec/containers/0/name");
    read_text("sharder/logs/" + name + ".log",
              kube::path(kPods, options_.sharder_namespace, name, "log",
                         {{"container", container}, {"tailLines", std::to_string(kLogLines)}}),
              "pods/log");
    // The sharder shows them only to callers with a token, which the API server's proxy does not pass on.
    read_text("sharder/metrics/" + name + ".txt",
              "/api/v1/namespaces/" + options_.sharder_namespace + "/pods/https:" + name + ":8080/proxy/metrics",
              "pods/proxy");
  }

  void read_text(const std::string& path, const std::string& target, const std::string& resource) {
    auto body = cluster_.call({.target = target, .accept = "*/*"}, "get", resource);
    if (body) {
      bundle_.files[path] = *std::move(body);
    } else {
      add_gap("get", resource, std::move(body.error()));
    }
  }

  void read_status_document() {
    auto report = read_status(cluster_, options_, {.ring = "", .object_namespace = "", .pods = false}, {});
    if (report) {
      bundle_.files["status.json"] = text_of(to_json(*report));
    } else {
      add_gap("list", name_of(kube::kControllerRings), std::move(report.error()));
    }
  }

  void read_diagnosis() {
    auto diagnosis = diagnose(cluster_, options_, {.ring = "", .object_namespace = "", .overdue = overdue_});
    if (diagnosis) {
      bundle_.files["doctor.json"] = text_of(to_json(*diagnosis));
    } else {
      add_gap("list", name_of(kube::kControllerRings), std::move(diagnosis.error()));
    }
  }

  Cluster& cluster_;
  const Options& options_;
  const std::chrono::milliseconds overdue_;
  SupportBundle bundle_;
};

// Those of environment variables, and of headers that probes and hooks send, wherever they stand.
void remove_values(json& part) {
  for (auto& [key, element] : part.items()) {
    if ((key == "env" || key == "httpHeaders") && element.is_array()) {
      for (json& variable : element) {
        if (variable.is_object() && variable.contains("value")) {
          variable["value"] = "(removed)";
        }
      }
    } else if (element.is_structured()) {
      remove_values(element);
    }
  }
}

void remove_annotations(json& metadata) {
  metadata.erase("annotations");
  metadata.erase("managedFields");
}

}  // namespace

json without_secrets(json object) {
  for (const char* const metadata : {"/metadata", "/spec/template/metadata"}) {
    if (kube::value_at(object, metadata).is_object()) {
      remove_annotations(object[json::json_pointer(metadata)]);
    }
  }
  for (const char* const spec : {"/spec", "/spec/template/spec"}) {
    if (kube::value_at(object, spec).is_object()) {
      remove_values(object[json::json_pointer(spec)]);
    }
  }
  return object;
}

SupportBundle read_support_bundle(Cluster& cluster, const Options& options, std::chrono::milliseconds overdue) {
  return Reader(cluster, options, overdue).read();
}

}  // namespace sharder::ctl
