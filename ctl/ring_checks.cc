#include "ctl/ring_checks.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/base64.h"
#include "base/rfc3339.h"
#include "certs/x509.h"
#include "controllerring/webhook_configuration.h"
#include "ctl/text.h"
#include "kube/codec/json.h"
#include "membership/label_selector.h"
#include "ring/names.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

// Of a certificate's life: whoever renews certificates does it earlier, however long they live.
constexpr int kPartThatIsSoon = 10;

std::string configuration_object(const RingFacts& ring) {
  return name_of(kube::kMutatingWebhookConfigurations) + " " + controllerring::webhook_configuration_name(ring.name());
}

std::string lease_object(const Shard& shard) {
  return "leases " + membership::to_string(shard.lease.id);
}

// The ring's webhook in its configuration, null without one.
const json& webhook_of(const json& configuration) {
  const json& webhooks = kube::elements_of(kube::value_at(configuration, "/webhooks"));
  const auto found = std::ranges::find_if(
      webhooks, [](const json& one) { return kube::string_at(one, "/name") == controllerring::kWebhookName; });
  static const json none;
  return found == webhooks.end() ? none : *found;
}

bool selects_as_ring(const RingFacts& ring, const json& webhook) {
  const auto& wanted = ring.object.spec.namespace_selector;
  const auto selector = membership::decode_label_selector(kube::value_at(webhook, "/namespaceSelector"));
  return !wanted || (selector && *selector == *wanted);
}

std::string fault_text(certs::ChainFault fault) {
  switch (fault) {
    case certs::ChainFault::kUnreadable:
      return "the caBundle or the certificate cannot be read";
    case certs::ChainFault::kNotYetValid:
      return "a certificate is not valid yet";
    case certs::ChainFault::kExpired:
      return "a certificate has expired";
    case certs::ChainFault::kNotForServers:
      return "a certificate is not for servers";
    case certs::ChainFault::kUntrusted:
      return "the caBundle does not trust it";
  }
  return "";
}

void examine_certificate(std::vector<Finding>& found, const RingFacts& ring, const json& configuration,
                         const std::optional<ServedCertificate>& served, WallTime now) {
  const std::string advice = "whoever fills the caBundle and the certificate has to use the same authority";
  const auto add = [&](Check check, std::string message, std::string what_to_do) {
    found.push_back({.check = check,
                     .ring = ring.name(),
                     .object = configuration_object(ring),
                     .message = std::move(message),
                     .advice = std::move(what_to_do)});
  };
  const std::string roots =
      decode_base64(kube::string_at(webhook_of(configuration), "/clientConfig/caBundle")).value_or("");
  if (served && !roots.empty()) {
    const auto target = webhook_target(configuration);
    const std::string checked = "checked: the certificate that " + served->where + " shows, against the caBundle";
    if (const auto fault = certs::chain_fault(served->chain_pem, roots, now)) {
      add(Check::kCertificateNotTrusted, fault_text(*fault) + " (" + checked + ")", advice);
    } else if (target && !certs::covers(served->chain_pem, target->host)) {
      add(Check::kCertificateNotTrusted, "the certificate is not for the name " + target->host + " (" + checked + ")",
          "issue a certificate with this name");
    }
  } else if (const Condition* const condition = ring.condition(ring::kWebhookReachable);
             condition != nullptr && condition->status == "False") {
    add(Check::kCertificateNotTrusted,
        condition->message + " (checked: the ring's condition WebhookReachable, by the sharder itself)", advice);
  }
  const auto warn = [&](const certs::CertificateFacts& certificate, const std::string& what) {
    const auto life = certificate.not_after - certificate.not_before;
    if (certificate.not_after - now < life / kPartThatIsSoon) {
      add(Check::kCertificateExpires,
          what + (certificate.not_after < now ? " expired at " : " expires at ") + format_time(certificate.not_after),
          "find out why it was not renewed: the sharder's log, or cert-manager's Certificate");
    }
  };
  if (const auto bundle = certs::read_certificates(roots)) {  // one that is valid is enough
    warn(std::ranges::max(*bundle, {}, &certs::CertificateFacts::not_after), "the caBundle");
  }
  if (const auto chain = certs::read_certificates(served ? served->chain_pem : "")) {
    warn(chain->front(), "the certificate that " + served->where + " shows");
  }
}

}  // namespace

std::vector<Finding> examine_ring(const RingFacts& ring, WallTime now) {
  std::vector<Finding> found;
  const std::string object = "controllerrings " + ring.name();
  const Condition* const ready = ring.condition("Ready");
  if (!ring.object.spec_error.empty() || ready == nullptr || ready->status != "True") {
    const std::string message = !ring.object.spec_error.empty() ? ring.object.spec_error
                                : ready == nullptr              ? "no sharder has looked at it"
                                                                : ready->message;
    found.push_back({.check = Check::kRingNotReady,
                     .ring = ring.name(),
                     .object = object,
                     .message = message,
                     .advice = "the sharder's log and sharderctl events " + ring.name() + " say more"});
  }
  if (ring.entry->ring().shards().empty()) {
    found.push_back({.check = Check::kNoMembers,
                     .ring = ring.name(),
                     .object = object,
                     .message = count_of(static_cast<std::int64_t>(ring.shards.size()), "Lease") +
                                ", and no shard holds its own: its objects stay as they are",
                     .advice = "start the controller whose shards are in this ring"});
  }
  std::map<std::string, std::vector<std::string>> namespaces;
  for (const Shard& shard : ring.shards) {
    const auto& lease = shard.lease;
    namespaces[lease.id.name].push_back(lease.id.lease_namespace);
    if (lease.held() && !ring::is_label_value(lease.id.name)) {
      found.push_back({.check = Check::kNameTooLong,
                       .ring = ring.name(),
                       .object = lease_object(shard),
                       .message = "the name has " + std::to_string(lease.id.name.size()) +
                                  " characters; a label's value has at most 63 of [A-Za-z0-9._-]: it gets no objects",
                       .advice = "give its Deployment or StatefulSet a shorter name"});
    }
    if (shard.state == membership::LeaseState::kExpired || shard.state == membership::LeaseState::kUncertain) {
      const std::string age =
          lease.renew_time ? short_duration(std::chrono::floor<std::chrono::seconds>(now - *lease.renew_time)) + " ago"
                           : "never";
      found.push_back({.check = Check::kLeaseNotRenewed,
                       .ring = ring.name(),
                       .object = lease_object(shard),
                       .message = "renewed " + age + ", " + std::string(membership::to_string(shard.state)) +
                                  " by this machine's clock",
                       .advice = "if the shard runs, see whether it reaches the API server, and compare the clocks"});
    }
  }
  for (const auto& [name, where] : namespaces) {
    if (where.size() > 1) {
      found.push_back({.check = Check::kLeaseTwice,
                       .ring = ring.name(),
                       .object = "leases " + object_name(where.front(), name),
                       .message = "the namespaces " + join(where, ", ") +
                                  " have a Lease of this name: one shard for the "
                                  "ring, and two programs that work on its objects",
                       .advice =
                           "give each Deployment or StatefulSet of the ring another name, or delete the Lease that "
                           "is left over"});
    }
  }
  return found;
}

Finding examine_unknown_resource(const RingFacts& ring, const std::string& resource) {
  return {
      .check = Check::kUnknownResource,
      .ring = ring.name(),
      .object = "controllerrings " + ring.name(),
      .message = "the API server serves no " + resource,
      .advice = "install the CustomResourceDefinition of " + resource + ", or correct group and plural in the ring"};
}

std::vector<Finding> examine_shared_resources(const std::vector<RingFacts>& rings, const std::string& only) {
  std::map<ring::GroupResource, std::vector<std::string>> owners;
  for (const RingFacts& ring : rings) {
    for (const ring::RingResource& resource : ring.object.spec.resources) {
      owners[resource.main].push_back(ring.name());
    }
  }
  std::vector<Finding> found;
  for (const auto& [resource, names] : owners) {
    const bool wanted = only.empty() || std::ranges::find(names, only) != names.end();
    if (names.size() > 1 && wanted) {
      found.push_back({.check = Check::kSharedResource,
                       .ring = only.empty() ? names.front() : only,
                       .object = to_string(resource),
                       .message = "it is the main resource of the rings " + join(names, ", ") +
                                  ": each of them gives its objects a shard",
                       .advice = "nothing, when they are rings of different controllers; else delete the ring that is "
                                 "left over"});
    }
  }
  return found;
}

std::vector<Finding> examine_strays(const std::vector<Shard>& strays) {
  std::vector<Finding> found;
  found.reserve(strays.size());
  for (const Shard& stray : strays) {
    found.push_back({.check = Check::kLeaseWithoutRing,
                     .ring = stray.lease.ring,
                     .object = lease_object(stray),
                     .message = "its ring does not exist: no sharder looks at it",
                     .advice = "create the ring, or correct its name in the shard's configuration"});
  }
  return found;
}

std::optional<WebhookTarget> webhook_target(const json& configuration) {
  const json& client = kube::value_at(webhook_of(configuration), "/clientConfig");
  constexpr std::string_view kScheme = "https://";
  if (const std::string url = kube::string_at(client, "/url"); url.starts_with(kScheme)) {
    const std::string authority = url.substr(kScheme.size(), url.find('/', kScheme.size()) - kScheme.size());
    const auto bracket = authority.rfind(']');
    const auto colon = authority.rfind(':');
    const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
    std::string host = authority.substr(0, has_port ? colon : std::string::npos);
    if (host.starts_with('[') && host.ends_with(']')) {
      host = host.substr(1, host.size() - 2);
    }
    return WebhookTarget{.host = host, .port = has_port ? authority.substr(colon + 1) : "443"};
  }
  const std::string name = kube::string_at(client, "/service/name");
  if (name.empty()) {
    return std::nullopt;
  }
  return WebhookTarget{.host = name + "." + kube::string_at(client, "/service/namespace") + ".svc",
                       .port = std::to_string(kube::int_at(client, "/service/port").value_or(443)),
                       .is_service = true};
}

std::vector<std::string> changed_fields(const RingFacts& ring, const json& configuration) {
  const json& live = webhook_of(configuration);
  if (live.is_null()) {
    return {"webhooks"};
  }
  std::vector<std::string> changed;
  const json wanted =
      json::parse(controllerring::webhook_configuration(ring.object.spec, {}, controllerring::CaBundle::kLeaveOut));
  for (const auto& [key, value] : webhook_of(wanted).items()) {
    // Whose values are the sharder's configuration, apart from what follows.
    if (key != "clientConfig" && key != "namespaceSelector" && kube::field_of(live, key) != value) {
      changed.push_back(key);
    }
  }
  const std::string path = std::string(ring::kWebhookPathPrefix) + ring.name();
  const json& client = kube::value_at(live, "/clientConfig");
  const std::string url = kube::string_at(client, "/url");
  if (!(url.empty() ? kube::string_at(client, "/service/path") : url).ends_with(path)) {
    changed.push_back(url.empty() ? "clientConfig.service.path" : "clientConfig.url");
  }
  if (!selects_as_ring(ring, live)) {
    changed.push_back("namespaceSelector");
  }
  if (kube::string_of(kube::field_of(kube::value_at(configuration, "/metadata/labels"), ring::kRingLabel)) !=
      ring.name()) {
    changed.push_back("metadata.labels");
  }
  const json& owners = kube::elements_of(kube::value_at(configuration, "/metadata/ownerReferences"));
  if (std::ranges::none_of(owners,
                           [&ring](const json& one) { return kube::string_at(one, "/uid") == ring.object.spec.uid; })) {
    changed.push_back("metadata.ownerReferences");
  }
  return changed;
}

std::vector<Finding> examine_webhook(const RingFacts& ring, const json& configuration,
                                     const std::optional<ServedCertificate>& served, WallTime now) {
  std::vector<Finding> found;
  if (configuration.is_null()) {
    found.push_back({.check = Check::kWebhookMissing,
                     .ring = ring.name(),
                     .object = configuration_object(ring),
                     .message = "it does not exist: new objects are created without a shard",
                     .advice = "a leading sharder creates it: look at SHD501 and SHD401, and at its log"});
    return found;
  }
  if (const auto changed = changed_fields(ring, configuration); !changed.empty()) {
    found.push_back({.check = Check::kWebhookChanged,
                     .ring = ring.name(),
                     .object = configuration_object(ring),
                     .message = "somebody else has changed: " + join(changed, ", "),
                     .advice = "its managedFields say who: kubectl get --show-managed-fields"});
  }
  examine_certificate(found, ring, configuration, served, now);
  return found;
}

std::vector<Finding> examine_dry_run(const RingFacts& ring, const DryRun& dry_run) {
  switch (dry_run.outcome) {
    case DryRun::Outcome::kLabelled:
      return {};
    case DryRun::Outcome::kNotTried:
      return {{.check = Check::kWebhookNotChecked,
               .ring = ring.name(),
               .object = configuration_object(ring),
               .message = dry_run.reason,
               .advice = "give yourself create on the ring's main resource, or ask somebody who has it"}};
    case DryRun::Outcome::kNotLabelled:
      break;
  }
  return {{.check = Check::kWebhookSilent,
           .ring = ring.name(),
           .object = dry_run.object,
           .message = "a dry run of it came back without a shard: the API server did not reach the webhook, does not "
                      "trust it, or does not call it for this namespace",
           .advice = "the API server's log says why (\"failed calling webhook\"); look at the sharder's Service, "
                     "Endpoints and NetworkPolicy"}};
}

std::vector<Finding> examine_leader(const LeaderFacts& leader) {
  if (leader.leads()) {
    return {};
  }
  return {{.check = Check::kNoLeader,
           .object = "leases " + leader.lease,
           .message = leader.holder.empty() ? "nobody holds it: no object is moved, and no dead shard is noticed"
                                            : leader.holder + " does not renew it: no object is moved",
           .advice = "see whether the sharder's pods run, and what their log says"}};
}

std::vector<Finding> examine_images(const std::vector<SharderPod>& pods) {
  std::map<std::string, std::string> images;  // image → a pod
  for (const SharderPod& pod : pods) {
    images.try_emplace(pod.image, object_name(pod.object_namespace, pod.name));
  }
  if (images.size() < 2) {
    return {};
  }
  std::vector<std::string> texts;
  texts.reserve(images.size());
  for (const auto& [image, pod] : images) {
    texts.emplace_back(image).append(" (").append(pod).append(")");
  }
  return {{.check = Check::kVersionsApart,
           .object = "pods " + images.begin()->second,
           .message = "there are " + join(texts, ", "),
           .advice = "nothing, while an update is under way; else look at kubectl rollout status"}};
}

std::vector<Finding> examine_answers(const RingFacts& ring, const std::vector<ReplicaAnswers>& answers) {
  std::vector<Finding> found;
  for (const ReplicaAnswers& one : answers) {
    if (!one.failure.empty()) {
      found.push_back({.check = Check::kNotAnswered,
                       .ring = ring.name(),
                       .object = "pods " + one.pod,
                       .message = "whether it agrees with the Leases is not known: " + one.failure,
                       .advice = "see whether the pod is ready, and whether the API server reaches it"});
    } else if (one.wrong > 0) {
      found.push_back({.check = Check::kReplicasDisagree,
                       .ring = ring.name(),
                       .object = "pods " + one.pod,
                       .message = "asked for " + count_of(one.asked, "key") + ", it answered " +
                                  std::to_string(one.wrong) + " with another shard than the Leases demand, such as " +
                                  one.example,
                       .advice = "its watch of Leases may hang: look at its log, and delete the pod"});
    }
  }
  return found;
}

std::vector<Finding> findings_of(const std::vector<Gap>& gaps) {
  std::vector<Finding> found;
  std::set<std::pair<std::string, std::string>> seen;
  for (const Gap& gap : gaps) {
    if (!seen.emplace(gap.verb, gap.resource).second) {
      continue;
    }
    const bool forbidden = exit_code_of(gap.error) == ExitCode::kNotAllowed;
    found.push_back({.check = forbidden ? Check::kNotPermitted : Check::kNotAnswered,
                     .object = gap.resource,
                     .message = gap.error.message,
                     .advice = forbidden ? "to have this checked too, ask for " + gap.verb + " on " + gap.resource
                                         : "try again; a longer --request-timeout may help"});
  }
  return found;
}

}  // namespace sharder::ctl
