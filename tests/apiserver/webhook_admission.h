#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "tests/apiserver/admission.h"
#include "tests/apiserver/catalog.h"
#include "tests/apiserver/database.h"
#include "tests/apiserver/webhook_caller.h"

namespace sharder::apiserver {

// Calls the mutating webhooks that the MutatingWebhookConfigurations in the store ask for, one after the other in the
// order of their configurations' names, on CREATE and UPDATE. A change of a configuration counts at once.
class WebhookAdmission final : public Admission {
 public:
  WebhookAdmission(Database& database, Published<Catalog>& catalog, std::map<std::string, std::string> services)
      : database_(database), catalog_(catalog), caller_(std::move(services)) {}

  Outcome<nlohmann::json> admit(AdmissionInput input) override;

 private:
  // What the configurations said when they were these objects.
  struct Compiled {
    std::vector<ObjectPtr> configurations;
    std::vector<Webhook> webhooks;
  };
  std::shared_ptr<const Compiled> webhooks();
  std::optional<Labels> namespace_labels(const AdmissionInput& input) const;
  Outcome<void> ask(const Webhook& webhook, AdmissionInput& input);

  Database& database_;
  Published<Catalog>& catalog_;
  WebhookCaller caller_;
  Published<Compiled> compiled_;
};

}  // namespace sharder::apiserver
