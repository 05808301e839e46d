#include "kube/codec/status.h"

#include <algorithm>
#include <cstdint>

#include "kube/codec/json.h"
#include "kube/codec/protobuf_internal.h"

namespace sharder::kube {

namespace {

Result<Status> decode_json_status(std::string_view body) {
  const auto object = parse_json(body);
  if (!object) {
    return std::unexpected(object.error());
  }
  if (!object->is_object()) {
    return fail(ErrorCode::kInvalid, "not a Status: no object");
  }
  const auto number_at = [&](const char* pointer) {
    return std::clamp<std::int64_t>(int_at(*object, pointer).value_or(0), 0, Status::kMaxRetryAfter.count());
  };
  return Status{.code = static_cast<int>(number_at("/code")),
                .reason = string_at(*object, "/reason"),
                .message = string_at(*object, "/message"),
                .continue_token = string_at(*object, "/metadata/continue"),
                .retry_after = std::chrono::seconds(number_at("/details/retryAfterSeconds"))};
}

}  // namespace

Result<Status> decode_status(std::string_view body) {
  return is_protobuf(body) ? decode_protobuf_status(body) : decode_json_status(body);
}

}  // namespace sharder::kube
