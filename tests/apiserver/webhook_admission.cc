#include "tests/apiserver/webhook_admission.h"

namespace sharder::apiserver {

Outcome<nlohmann::json> WebhookAdmission::admit(AdmissionInput input) {
  static_cast<void>(database_);
  static_cast<void>(catalog_);
  return std::move(input.object);
}

}  // namespace sharder::apiserver
