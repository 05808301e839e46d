#pragma once

#include <utility>

#include "base/error.h"

// What the error of one try means for the next. Pure functions.
namespace sharder::kube {

// The API server was not reached, or the connection to it broke. The cause is not the resource that was asked for, and
// an Event would not reach the API server either. So it is logged once, where the connection is watched.
bool is_outage(const Error& error);

// No answer came, in time or at all. The server may have done what was asked for.
bool is_unanswered(const Error& error);

// The server may have done what was asked for: no answer came, or it failed on the way.
bool may_be_done(const Error& error);

// Not permitted, rejected, not found or too large: the next try fails as well, until somebody changes something.
bool is_permanent(const Error& error);

// The request line or the headers are too long for the server, or for a proxy before it: 414, 431. Asking for a smaller
// answer does not help.
bool is_request_too_large(const Error& error);

// What makes two failures the same one: the code, and the HTTP status. Their messages may differ, as each may name
// another object.
using FailureKind = std::pair<ErrorCode, int>;
FailureKind failure_kind(const Error& error);
bool is_alike(const Error& one, const Error& other);

}  // namespace sharder::kube
