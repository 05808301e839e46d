#include "tests/apiserver/webhook_admission.h"

#include <utility>

#include "tests/apiserver/body.h"
#include "tests/apiserver/patch.h"
#include "tests/apiserver/preparation.h"

namespace sharder::apiserver {

using nlohmann::json;

std::shared_ptr<const WebhookAdmission::Compiled> WebhookAdmission::webhooks() {
  static const std::string kBucket = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
  auto page = database_.page(kBucket, {});
  auto known = compiled_.get();
  if (known && page && known->configurations == page->items) {
    return known;
  }
  auto compiled = std::make_shared<Compiled>();
  compiled->configurations = std::move(page->items);
  const auto resource = catalog_.get()->find_bucket(kBucket);
  for (const ObjectPtr& configuration : compiled->configurations) {
    for (Webhook& webhook : webhooks_of(configuration->json(*resource))) {
      compiled->webhooks.push_back(std::move(webhook));
    }
  }
  compiled_.publish(compiled);
  return compiled;
}

std::optional<Labels> WebhookAdmission::namespace_labels(const AdmissionInput& input) const {
  if (input.object_namespace.empty()) {
    return std::nullopt;
  }
  const ObjectPtr object = database_.get("/namespaces", input.object_namespace);
  return object ? object->labels() : Labels();
}

Outcome<json> WebhookAdmission::admit(AdmissionInput input) {
  const auto compiled = webhooks();
  if (compiled->webhooks.empty()) {
    return std::move(input.object);
  }
  const auto labels = namespace_labels(input);
  for (const Webhook& webhook : compiled->webhooks) {
    if (!meets(webhook, input, labels)) {
      continue;
    }
    if (input.dry_run && !webhook.no_side_effects) {
      return refuse(failure(400, "admission webhook \"" + webhook.name + "\" does not support dry run"));
    }
    if (auto asked = ask(webhook, input); !asked) {
      return refuse(asked.error());
    }
  }
  return std::move(input.object);
}

Outcome<void> WebhookAdmission::ask(const Webhook& webhook, AdmissionInput& input) {
  const std::string uid = random_uid();
  const auto answer = caller_.call(webhook, review_of(input, uid).dump(-1, ' ', false, json::error_handler_t::replace));
  Verdict verdict = answer ? verdict_of(webhook, *answer, uid) : Verdict{.broken = answer.error()};
  if (verdict.refusal) {
    return refuse(std::move(*verdict.refusal));
  }
  if (verdict.patch) {
    auto patched = json_patch(input.object, *verdict.patch);
    if (patched) {
      patched = checked_object(std::move(*patched), *input.resource);
    }
    if (!patched) {  // no matter what the failurePolicy says
      return refuse(failure(500, "Internal error occurred: " + patched.error().message));
    }
    input.object = std::move(*patched);
  }
  if (!verdict.broken.empty() && !webhook.ignore_failures) {
    return refuse(failure(500, "Internal error occurred: failed calling webhook \"" + webhook.name +
                                   "\": failed to call webhook: " + verdict.broken));
  }
  return {};
}

}  // namespace sharder::apiserver
