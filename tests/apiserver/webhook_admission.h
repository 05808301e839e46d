#pragma once

#include "base/guarded.h"
#include "tests/apiserver/admission.h"
#include "tests/apiserver/catalog.h"
#include "tests/apiserver/database.h"

namespace sharder::apiserver {

// Calls the mutating webhooks that the MutatingWebhookConfigurations in the store ask for.
class WebhookAdmission final : public Admission {
 public:
  WebhookAdmission(Database& database, Published<Catalog>& catalog) : database_(database), catalog_(catalog) {}

  Outcome<nlohmann::json> admit(AdmissionInput input) override;

 private:
  Database& database_;
  Published<Catalog>& catalog_;
};

}  // namespace sharder::apiserver
