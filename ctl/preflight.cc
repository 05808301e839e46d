#include "ctl/preflight.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "ctl/ring_checks.h"
#include "ctl/text.h"
#include "kube/codec/json.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

// docs/reference/support.md
constexpr int kOldest = 30, kNewest = 36;

const kube::Resource kCrds{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
                           false};
const kube::Resource kApiServices{"apiregistration.k8s.io", "v1", "apiservices", "APIService", false};

struct Kind {
  const char *group, *resource;
  bool namespaced;
};
// What an installation creates.
constexpr std::array kInstalled{
    Kind{"apiextensions.k8s.io", "customresourcedefinitions", false},
    Kind{"", "namespaces", false},
    Kind{"rbac.authorization.k8s.io", "clusterroles", false},
    Kind{"rbac.authorization.k8s.io", "clusterrolebindings", false},
    Kind{"rbac.authorization.k8s.io", "roles", true},
    Kind{"rbac.authorization.k8s.io", "rolebindings", true},
    Kind{"", "serviceaccounts", true},
    Kind{"", "configmaps", true},
    Kind{"", "services", true},
    Kind{"apps", "deployments", true},
    Kind{"policy", "poddisruptionbudgets", true},
    Kind{"networking.k8s.io", "networkpolicies", true},
};
// What the sharder asks for besides.
constexpr std::array kUsed{
    Kind{"admissionregistration.k8s.io", "mutatingwebhookconfigurations", false},
    Kind{"coordination.k8s.io", "leases", true},
    Kind{"authentication.k8s.io", "tokenreviews", false},
    Kind{"authorization.k8s.io", "subjectaccessreviews", false},
    Kind{"", "events", true},
};

ring::GroupResource name_of(const Kind& kind) {
  return {.group = kind.group, .resource = kind.resource};
}

// What is wrong with the CRD, "" for nothing.
std::string crd_fault(const json& crd) {
  const json& versions = kube::elements_of(kube::value_at(crd, "/spec/versions"));
  const auto ours = std::ranges::find_if(versions, [](const json& one) {
    return kube::string_at(one, "/name") == kube::kControllerRings.version && kube::bool_at(one, "/served");
  });
  if (ours == versions.end()) {
    return "it does not serve the version " + kube::kControllerRings.version;
  }
  if (kube::string_at(crd, "/spec/scope") != "Cluster") {
    return "its scope is not Cluster";
  }
  if (kube::value_at(*ours, "/subresources/status").is_null()) {
    return "it has no subresource status";
  }
  if (kube::string_at(kube::condition_of(crd, "Established"), "/status") != "True") {
    return "it is not established: " + kube::string_at(kube::condition_of(crd, "NamesAccepted"), "/message");
  }
  return "";
}

class Preflight {
 public:
  Preflight(Cluster& cluster, const Options& options) : cluster_(cluster), options_(options) {}

  Result<Diagnosis> run() {
    const auto body = cluster_.call({.target = "/version"}, "get", "/version");
    const auto version = body ? kube::parse_json(*body) : Result<json>(std::unexpected(body.error()));
    if (!version) {
      return std::unexpected(version.error());
    }
    facts_.version = kube::string_at(*version, "/gitVersion");
    facts_.minor = minor_version(*version).value_or(0);
    read_apis();
    read_permissions();
    facts_.crd = read(kCrds, kube::kControllerRings.plural + "." + kube::kControllerRings.group);
    facts_.sharder_namespace = read(kube::kNamespaces, options_.sharder_namespace);
    read_aggregated_apis();
    Diagnosis found{.now = SystemClock().wall(), .findings = examine_cluster(facts_)};
    std::ranges::move(findings_of(gaps_), std::back_inserter(found.findings));
    sort_findings(found.findings);
    found.gaps = std::move(gaps_);
    return found;
  }

 private:
  // nullopt: not known.
  std::optional<bool> serves(const ring::GroupResource& resource) {
    auto resolved = cluster_.resolve(resource);
    if (!resolved && resolved.error().code != ErrorCode::kNotFound) {
      gaps_.push_back({.verb = "discover", .resource = to_string(resource), .error = std::move(resolved.error())});
      return std::nullopt;
    }
    return resolved.has_value();
  }

  void read_apis() {
    for (const auto& kinds : {std::span<const Kind>(kInstalled), std::span<const Kind>(kUsed)}) {
      for (const Kind& kind : kinds) {
        if (serves(name_of(kind)) == false) {
          facts_.missing_apis.push_back(to_string(name_of(kind)));
        }
      }
    }
    facts_.cert_manager = serves({.group = "cert-manager.io", .resource = "certificates"});
  }

  void read_permissions() {
    for (const Kind& kind : kInstalled) {
      for (const char* const verb : {"create", "patch"}) {
        Permission wanted{.verb = verb,
                          .resource = name_of(kind),
                          .object_namespace = kind.namespaced ? options_.sharder_namespace : ""};
        auto allowed = caller_may(cluster_, wanted);
        if (!allowed) {
          gaps_.push_back({.verb = "create",
                           .resource = "selfsubjectaccessreviews.authorization.k8s.io",
                           .error = std::move(allowed.error())});
          return;
        }
        if (!*allowed) {
          facts_.missing_permissions.push_back(std::move(wanted));
        }
      }
    }
  }

  json read(const kube::Resource& resource, const std::string& name) {
    auto object = cluster_.get(resource, "", name);
    if (object) {
      return *std::move(object);
    }
    if (object.error().code != ErrorCode::kNotFound) {
      gaps_.push_back({.verb = "get", .resource = ctl::name_of(resource), .error = std::move(object.error())});
    }
    return {};
  }

  void read_aggregated_apis() {
    auto listed = cluster_.list(kApiServices, "", "", [this](const json& object) {
      const json& available = kube::condition_of(object, "Available");
      if (kube::value_at(object, "/spec/service").is_object() && kube::string_at(available, "/status") != "True") {
        facts_.silent_apis.push_back(
            {.name = kube::string_at(object, "/metadata/name"), .message = kube::string_at(available, "/message")});
      }
    });
    if (!listed && listed.error().code != ErrorCode::kNotFound) {
      gaps_.push_back({.verb = "list", .resource = ctl::name_of(kApiServices), .error = std::move(listed.error())});
    }
  }

  Cluster& cluster_;
  const Options& options_;
  ClusterFacts facts_;
  std::vector<Gap> gaps_;
};

}  // namespace

std::optional<int> minor_version(const json& version) {
  const std::string text = kube::string_at(version, "/minor");
  int minor = 0;
  const bool is_number = std::from_chars(text.data(), text.data() + text.size(), minor).ec == std::errc();
  return kube::string_at(version, "/major") == "1" && is_number ? std::optional(minor) : std::nullopt;
}

std::vector<Finding> examine_cluster(const ClusterFacts& facts) {
  std::vector<Finding> found;
  if (facts.minor < kOldest || facts.minor > kNewest) {
    found.push_back({.check = Check::kServerVersion,
                     .object = "API server " + facts.version,
                     .message = "supported are 1." + std::to_string(kOldest) + " to 1." + std::to_string(kNewest),
                     .advice = "try it in a cluster that may break first"});
  }
  for (const std::string& api : facts.missing_apis) {
    found.push_back({.check = Check::kApiNotServed,
                     .object = api,
                     .message = "the API server does not serve it",
                     .advice = "see whether --runtime-config turns it off"});
  }
  for (const Permission& one : facts.missing_permissions) {
    found.push_back({.check = Check::kInstallPermission,
                     .object = to_string(one.resource),
                     .message = "you may not " + to_string(one),
                     .advice = "have a cluster administrator install it"});
  }
  if (facts.crd.is_null()) {
    found.push_back({.check = Check::kCrdMissing,
                     .object = "customresourcedefinitions controllerrings.sharding.timebertt.dev",
                     .message = "there is none",
                     .advice = "the installation brings it: kubectl apply --server-side -k manifests/crd"});
  } else if (const std::string fault = crd_fault(facts.crd); !fault.empty()) {
    found.push_back({.check = Check::kCrd,
                     .object = "customresourcedefinitions " + kube::string_at(facts.crd, "/metadata/name"),
                     .message = fault,
                     .advice = "apply this version's: kubectl apply --server-side -k manifests/crd"});
  }
  if (facts.cert_manager == false) {
    found.push_back({.check = Check::kCertManager,
                     .object = "certificates.cert-manager.io",
                     .message = "the API server does not serve it",
                     .advice = "install the overlay self-managed, or the chart with its own certificate authority"});
  }
  for (const auto& [name, message] : facts.silent_apis) {
    found.push_back({.check = Check::kAggregatedApi,
                     .object = "apiservices " + name,
                     .message = "not available: " + message,
                     .advice = "repair what serves it, or delete the APIService that is left over"});
  }
  if (!kube::string_at(facts.sharder_namespace, "/metadata/deletionTimestamp").empty()) {
    found.push_back({.check = Check::kNamespace,
                     .object = "namespaces " + kube::string_at(facts.sharder_namespace, "/metadata/name"),
                     .message = "it is being deleted: nothing can be created in it",
                     .advice = "wait until it is gone; its conditions say what it waits for"});
  }
  return found;
}

Result<Diagnosis> examine_before_installation(Cluster& cluster, const Options& options) {
  return Preflight(cluster, options).run();
}

}  // namespace sharder::ctl
