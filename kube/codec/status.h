#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// The fields of a metav1.Status that we use: the API server describes a failure with it. A field that is absent, or of
// another type than in the API, is 0 or "".
struct Status {
  int code = 0;                         // the HTTP status that goes with it
  std::string reason = {};              // "Expired"
  std::string message = {};             // for a person
  std::string continue_token = {};      // of a 410 to a list page: ListMeta.continue
  std::chrono::seconds retry_after{0};  // details.retryAfterSeconds, up to kMaxRetryAfter

  static constexpr std::chrono::seconds kMaxRetryAfter{3600};
};

// JSON, or protobuf in its envelope. kInvalid: not a Status.
Result<Status> decode_status(std::string_view body);

}  // namespace sharder::kube
