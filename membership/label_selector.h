#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"
#include "ring/label_selector.h"

namespace sharder::membership {

// From a metav1.LabelSelector. kInvalid: "\"Is\" is not a valid label selector operator". The API server checks
// everything else, when the webhook configuration is applied.
Result<ring::LabelSelector> decode_label_selector(const nlohmann::json& value);

}  // namespace sharder::membership
