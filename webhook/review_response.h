#pragma once

#include <string>
#include <string_view>

#include "webhook/assign.h"

namespace sharder::webhook {

// Replaces `out` with the answer to an admission.k8s.io/v1 AdmissionReview: always allowed, status code 200. `uid` is
// the inside of a JSON string and is copied byte by byte. Reuse `out` to save the allocation.
void write_review_response(std::string& out, std::string_view uid, const Assignment& assignment);

}  // namespace sharder::webhook
