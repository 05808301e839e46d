#include "ctl/doctor.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/rfc3339.h"
#include "controllerring/webhook_configuration.h"
#include "ctl/access.h"
#include "ctl/document.h"
#include "ctl/explain.h"
#include "ctl/replicas.h"
#include "ctl/ring_checks.h"
#include "ctl/rings.h"
#include "ctl/selection.h"
#include "ctl/status.h"
#include "ctl/suspects.h"
#include "ctl/tls_probe.h"
#include "ctl/webhook_dry_run.h"
#include "kube/codec/json.h"
#include "ring/object_key.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

constexpr std::chrono::seconds kOnItsWay{3};  // how long an ordinary move may take, as seen from here
constexpr std::chrono::seconds kProbeTimeout{5};
constexpr const char* kSharder = "sharder";  // its ServiceAccount, and the leader election's Lease

template <class T>
void append(std::vector<T>& all, std::vector<T> more) {
  std::ranges::move(more, std::back_inserter(all));
}

// A ring that is looked at, with what has to be looked at twice.
struct Patient {
  RingFacts ring;
  Selection selection = {};
  std::vector<RingResource> resources = {};  // that are served, main ones first
  std::vector<std::pair<std::size_t, std::map<Check, Suspects::OfCheck>>> suspects = {};  // by index of `resources`

  // nullptr: none of them is served.
  const RingResource* main_resource() const {
    return resources.empty() || resources.front().role != ring::Role::kMain ? nullptr : &resources.front();
  }
};

class Doctor {
 public:
  Doctor(Cluster& cluster, const Options& options, const DoctorQuery& query)
      : cluster_(cluster),
        options_(options),
        query_(query),
        account_{.object_namespace = options.sharder_namespace, .name = kSharder} {}

  Result<Diagnosis> diagnose() {
    auto rings = read_rings();
    if (!rings) {
      return std::unexpected(std::move(rings.error()));
    }
    found_.now = SystemClock().wall();
    append(found_.findings, examine_shared_resources(rings->rings, query_.ring));
    if (query_.ring.empty()) {
      append(found_.findings, examine_strays(rings->strays));
    }
    check_leader();
    check_access("", needs_of_sharder(options_.sharder_namespace));
    const std::vector<SharderPod> pods = read_pods();
    for (RingFacts& ring : rings->rings) {
      if (query_.ring.empty() || ring.name() == query_.ring) {
        found_.rings.push_back(ring.name());
        patients_.push_back(std::make_unique<Patient>(Patient{.ring = std::move(ring)}));
        examine(*patients_.back(), pods);
      }
    }
    look_again();
    append(found_.findings, findings_of(found_.gaps));
    sort_findings(found_.findings);
    return std::move(found_);
  }

 private:
  // All of them; kNotFound without the one that is asked for.
  Result<Rings> read_rings() {
    auto rings = ctl::read_rings(cluster_);
    if (rings && !query_.ring.empty() &&
        std::ranges::find(rings->rings, query_.ring, &RingFacts::name) == rings->rings.end()) {
      auto ring = read_ring(cluster_, query_.ring);  // its error names those that there are
      return ring ? std::move(rings) : std::unexpected(std::move(ring.error()));
    }
    return rings;
  }

  void add_gap(std::string verb, std::string resource, Error error) {
    found_.gaps.push_back({.verb = std::move(verb), .resource = std::move(resource), .error = std::move(error)});
  }

  void check_leader() {
    auto lease = cluster_.get(kube::kLeases, options_.sharder_namespace, kSharder);
    if (lease) {
      append(found_.findings, examine_leader(decode_leader(*lease, found_.now)));
    } else if (lease.error().code == ErrorCode::kNotFound) {
      append(found_.findings, examine_leader({.lease = object_name(options_.sharder_namespace, kSharder)}));
    } else {
      add_gap("get", name_of(kube::kLeases), std::move(lease.error()));
    }
  }

  void check_access(const std::string& ring, const std::vector<Permission>& needs) {
    std::vector<Permission> missing;
    for (const Permission& need : needs) {
      auto allowed = may(cluster_, account_, need);
      if (!allowed) {
        add_gap("create", name_of(kube::kSubjectAccessReviews), std::move(allowed.error()));
        return;
      }
      if (!*allowed) {
        missing.push_back(need);
      }
    }
    append(found_.findings, examine_access(ring, object_name(account_.object_namespace, account_.name), missing));
  }

  std::vector<SharderPod> read_pods() {
    auto pods = read_sharder_pods(cluster_, options_.sharder_namespace);
    if (!pods) {
      add_gap("list", "pods", std::move(pods.error()));
      return {};
    }
    append(found_.findings, examine_images(*pods));
    return *std::move(pods);
  }

  void examine(Patient& patient, const std::vector<SharderPod>& pods) {
    const RingFacts& ring = patient.ring;
    append(found_.findings, examine_ring(ring, found_.now));
    std::vector<Gap> unresolved;
    patient.resources = resolve_resources(cluster_, ring, unresolved);
    for (Gap& gap : unresolved) {
      if (gap.error.code == ErrorCode::kNotFound) {
        found_.findings.push_back(examine_unknown_resource(ring, gap.resource));
      } else {
        found_.gaps.push_back(std::move(gap));
      }
    }
    const std::optional<WebhookFacts> webhook = check_webhook(ring);
    patient.selection = read_selection(cluster_, ring, webhook, found_.gaps);
    check_access(ring.name(), needs_of_ring(ring));
    const std::optional<kube::ObjectMeta> example = check_objects(patient);
    check_dry_run(patient, example);
    check_replicas(patient, pods);
  }

  std::optional<WebhookFacts> check_webhook(const RingFacts& ring) {
    auto configuration =
        cluster_.get(kube::kMutatingWebhookConfigurations, "", controllerring::webhook_configuration_name(ring.name()));
    if (!configuration && configuration.error().code != ErrorCode::kNotFound) {
      add_gap("get", name_of(kube::kMutatingWebhookConfigurations), std::move(configuration.error()));
      return std::nullopt;
    }
    const json live = configuration ? *std::move(configuration) : json();
    append(found_.findings, examine_webhook(ring, live, read_certificate(live), found_.now));
    return live.is_null() ? WebhookFacts() : decode_webhook(live);
  }

  // A Service can be reached from a pod alone.
  std::optional<ServedCertificate> read_certificate(const json& configuration) {
    const auto target = webhook_target(configuration);
    if (!target || (target->is_service && std::getenv("KUBERNETES_SERVICE_HOST") == nullptr)) {
      return std::nullopt;
    }
    const auto timeout = std::min<std::chrono::milliseconds>(options_.request_timeout, kProbeTimeout);
    auto chain = served_chain(target->host, target->port, target->host, timeout);
    return chain ? std::optional(
                       ServedCertificate{.where = target->host + ":" + target->port, .chain_pem = *std::move(chain)})
                 : std::nullopt;
  }

  // Returns an object of the first main resource that the ring selects.
  std::optional<kube::ObjectMeta> check_objects(Patient& patient) {
    std::optional<kube::ObjectMeta> example;
    Drains drains(found_.now, query_.overdue);
    for (std::size_t at = 0; at < patient.resources.size(); ++at) {
      const RingResource& one = patient.resources[at];
      const std::string object_namespace = one.resource.namespaced ? query_.object_namespace : "";
      Suspects suspects(patient.ring, one, patient.selection);
      auto listed = cluster_.list_metadata(one.resource, object_namespace, "", [&](const kube::ObjectMeta& object) {
        suspects.consider(object);
        if (!example && &one == patient.main_resource() && patient.selection.selects(one.resource, object) == true) {
          example = object;
        }
      });
      if (!listed) {
        add_gap("list", name_of(one.resource), std::move(listed.error()));
        continue;
      }
      patient.suspects.emplace_back(at, suspects.found());
      read_drains(patient.ring, one, object_namespace, drains);
    }
    append(found_.findings, drains.findings(patient.ring));
    return example;
  }

  // Their managedFields, which a list of all would be too large with, say since when they drain.
  void read_drains(const RingFacts& ring, const RingResource& one, const std::string& object_namespace,
                   Drains& drains) {
    const std::string& drain_label = ring.entry->drain_label();
    auto listed = cluster_.list_whole_metadata(one.resource, object_namespace, drain_label, [&](const json& object) {
      const auto setter = setter_of_label(object, drain_label);
      drains.add({.object = name_of(one.resource) + " " +
                            object_name(kube::string_at(object, "/metadata/namespace"),
                                        kube::string_at(object, "/metadata/name")),
                  .shard = kube::string_of(
                      kube::field_of(kube::value_at(object, "/metadata/labels"), ring.entry->shard_label())),
                  .since = setter ? setter->time : std::nullopt});
    });
    if (!listed) {
      add_gap("list", name_of(one.resource), std::move(listed.error()));
    }
  }

  void check_dry_run(const Patient& patient, const std::optional<kube::ObjectMeta>& example) {
    if (patient.main_resource() != nullptr && !patient.ring.entry->ring().shards().empty()) {
      append(found_.findings,
             examine_dry_run(patient.ring, try_webhook(cluster_, options_, patient.ring, *patient.main_resource(),
                                                       patient.selection, example)));
    }
  }

  void check_replicas(const Patient& patient, const std::vector<SharderPod>& pods) {
    if (patient.main_resource() != nullptr) {
      append(found_.findings, examine_answers(patient.ring, ask_replicas(cluster_, patient.ring,
                                                                         *patient.main_resource(), pods, found_.gaps)));
    }
  }

  // Objects that moved while they were listed are well by now.
  void look_again() {
    const auto has_suspects = [](const auto& patient) {
      return std::ranges::any_of(patient->suspects, [](const auto& of) { return !of.second.empty(); });
    };
    if (std::ranges::none_of(patients_, has_suspects)) {
      return;
    }
    std::this_thread::sleep_for(kOnItsWay);
    auto rings = ctl::read_rings(cluster_);
    if (!rings) {
      add_gap("list", name_of(kube::kControllerRings), std::move(rings.error()));
      return;
    }
    for (const auto& patient : patients_) {
      const auto fresh = std::ranges::find(rings->rings, patient->ring.name(), &RingFacts::name);
      if (fresh != rings->rings.end()) {
        look_again(*patient, *fresh);
      }
    }
  }

  void look_again(const Patient& patient, const RingFacts& ring) {
    for (const auto& [at, by_check] : patient.suspects) {
      const RingResource& resource = patient.resources[at];
      for (const auto& [check, found] : by_check) {
        for (const Suspect& suspect : found.examples) {
          if (const auto still = read_again(patient, ring, resource, suspect)) {
            found_.findings.push_back(
                finding_of(ring, resource, *still, found.count, owner_shard(patient, ring, still->object)));
            break;
          }
        }
      }
    }
  }

  std::optional<Suspect> read_again(const Patient& patient, const RingFacts& ring, const RingResource& resource,
                                    const Suspect& suspect) {
    auto object = read_meta(resource.resource, suspect.object.object_namespace, suspect.object.name);
    if (!object) {
      return std::nullopt;
    }
    rebalancer::Placement placement;
    auto suspicion = suspicion_of(ring, resource, patient.selection, *object, placement);
    return suspicion ? std::optional(Suspect{.object = *std::move(object), .suspicion = *std::move(suspicion)})
                     : std::nullopt;
  }

  std::optional<std::string> owner_shard(const Patient& patient, const RingFacts& ring,
                                         const kube::ObjectMeta& object) {
    const auto& owner = object.controller;
    const auto resource = std::ranges::find_if(patient.resources, [&owner](const RingResource& one) {
      return owner && one.role == ring::Role::kMain && one.resource.kind == owner->kind &&
             one.resource.group == ring::group_of(owner->api_version);
    });
    if (resource == patient.resources.end()) {
      return std::nullopt;
    }
    const auto meta = read_meta(resource->resource, object.object_namespace, owner->name);
    return meta ? std::optional(std::string(meta->label(ring.entry->shard_label()).value_or(""))) : std::nullopt;
  }

  std::optional<kube::ObjectMeta> read_meta(const kube::Resource& resource, const std::string& object_namespace,
                                            const std::string& name) {
    auto object = cluster_.get_metadata(resource, object_namespace, name);
    if (!object) {
      if (object.error().code != ErrorCode::kNotFound) {
        add_gap("get", name_of(resource), std::move(object.error()));
      }
      return std::nullopt;
    }
    auto meta = kube::ObjectMetaDecoder().decode(object->dump());
    return meta ? std::optional(*std::move(meta)) : std::nullopt;
  }

  Cluster& cluster_;
  const Options& options_;
  const DoctorQuery& query_;
  const ServiceAccount account_;
  Diagnosis found_;
  std::vector<std::unique_ptr<Patient>> patients_;  // they stay where they are
};

}  // namespace

ExitCode Diagnosis::exit_code(Severity threshold) const {
  return worse(ctl::exit_code_of(findings, threshold), worst_of(gaps));
}

Result<Diagnosis> diagnose(Cluster& cluster, const Options& options, const DoctorQuery& query) {
  return Doctor(cluster, options, query).diagnose();
}

nlohmann::ordered_json to_json(const Diagnosis& diagnosis) {
  nlohmann::ordered_json all = document("Diagnosis");
  all["time"] = format_micro_time(diagnosis.now);
  all["rings"] = diagnosis.rings;
  all["findings"] = to_json(diagnosis.findings);
  all["incomplete"] = to_json(diagnosis.gaps);
  return all;
}

}  // namespace sharder::ctl
