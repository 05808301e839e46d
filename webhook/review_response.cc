#include "webhook/review_response.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "base/base64.h"
#include "base/json_string.h"
#include "webhook/assign.h"

namespace sharder::webhook {

void write_review_response(std::string& out, std::string_view uid, const Assignment& assignment) {
  constexpr std::size_t kFrame = 256;  // everything that is always there, with some room
  out.clear();
  out.reserve(kFrame + uid.size() + assignment.message.size() + 2 * assignment.warning.size() +
              4 * (assignment.patch.size() + 2) / 3);
  out += R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":")";
  out += uid;
  out += R"(","allowed":true)";
  if (!assignment.patch.empty()) {
    out += R"(,"patchType":"JSONPatch","patch":")";
    append_base64(out, assignment.patch);
    out += '"';
  }
  out += R"(,"status":{"code":200,"message":)";
  append_json_string(out, assignment.message);
  out += '}';
  if (!assignment.warning.empty()) {
    out += R"(,"warnings":[)";
    append_json_string(out, assignment.warning);
    out += ']';
  }
  out += "}}";
}

}  // namespace sharder::webhook
