#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "kube/client/request.h"
#include "kube/codec/status.h"

// What an answer other than 2xx means to the caller. Pure functions.
namespace sharder::kube {

// "GET", "PATCH", ...
std::string_view to_string(Method method);

// "GET /api/v1/secrets": for messages. The query is left out, as it may hold selectors and tokens.
std::string describe(Method method, std::string_view target);

// The error that a Status describes, with `context` before its message: "ERROR event: 410 Gone: too old".
Error error_from_status(std::string_view context, Status status);

// The error of an answer with `status` >= 300. `body` is a metav1.Status, or text of a proxy or load balancer: then its
// first line goes into the message. "GET /apis/apps/v1/deployments: 503 Service Unavailable: etcd is away".
Error error_from_answer(Method method, std::string_view target, int status, std::string_view body,
                        std::optional<std::chrono::seconds> retry_after);

// The value of a Retry-After header (RFC 9110, 10.2.3): seconds, or a date, which then is compared with `now`. At most
// an hour; nullopt when it is neither.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, WallTime now);

}  // namespace sharder::kube
