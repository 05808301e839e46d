#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/apiserver/admission.h"
#include "tests/apiserver/selector.h"

// Mutating webhooks, decided purely: which of them a write meets, what they are asked, what their answers mean.
namespace sharder::apiserver {

struct WebhookRule {
  std::vector<std::string> operations;
  std::vector<std::string> groups;
  std::vector<std::string> versions;
  std::vector<std::string> resources;
  std::string scope = "*";

  bool matches(const AdmissionInput& input) const;
};

struct Webhook {
  std::string name = {};
  std::string url = {};      // with the path; "" when it names a service
  std::string service = {};  // "namespace/name:port"
  std::string service_path = {};
  std::string ca_bundle_pem = {};
  bool ignore_failures = false;
  bool no_side_effects = true;
  std::chrono::seconds timeout{10};
  std::vector<WebhookRule> rules = {};
  LabelSelector namespace_selector = {};
  LabelSelector object_selector = {};
};

// The webhooks of a MutatingWebhookConfiguration, in its order. What cannot be understood matches nothing.
std::vector<Webhook> webhooks_of(const nlohmann::json& configuration);

// Whether the webhook is called. `namespace_labels`: of the namespace that the object is in; nullopt when it is in
// none. A namespace that is created or updated is judged by its own new labels. The object selector looks at the old
// and at the new object.
bool meets(const Webhook& webhook, const AdmissionInput& input, const std::optional<Labels>& namespace_labels);

// The AdmissionReview to send, admission.k8s.io/v1.
nlohmann::json review_of(const AdmissionInput& input, const std::string& uid);

// The object after a webhook's answer: patched, unchanged, or the refusal. An answer that makes no sense is a failure
// of the webhook: `broken`.
struct Verdict {
  std::optional<nlohmann::json> patch = {};  // JSON patch
  std::optional<Status> refusal = {};
  std::string broken = {};
};
Verdict verdict_of(const Webhook& webhook, const std::string& answer, const std::string& uid);

}  // namespace sharder::apiserver
