#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// What is used of a metav1.Status, the API server's word for a failure. Fields that are absent, or of another type than
// the API's, are 0 and "".
struct Status {
  int code = 0;                         // the HTTP status that goes with it
  std::string reason = {};              // "Expired"
  std::string message = {};             // for a person
  std::string continue_token = {};      // of the 410 to a page of a list: ListMeta.continue
  std::chrono::seconds retry_after{0};  // details.retryAfterSeconds, up to kMaxRetryAfter

  static constexpr std::chrono::seconds kMaxRetryAfter{3600};
};

// JSON, or protobuf in its envelope. kInvalid: no Status.
Result<Status> decode_status(std::string_view body);

}  // namespace sharder::kube
