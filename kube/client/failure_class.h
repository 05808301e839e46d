#pragma once

#include "base/error.h"

// What another try can be expected to meet, by the error of the last one. Pure functions.
namespace sharder::kube {

// The API server was not reached, or the connection to it broke. That says nothing about what was asked for, and an
// Event would not reach it either; it is told where the connection is watched over, once.
bool is_outage(const Error& error);

// No answer came, in time or at all. What was asked for may have been done.
bool is_unanswered(const Error& error);

// What was asked for may have been done all the same: no answer came, or the server failed on the way.
bool may_be_done(const Error& error);

// To try again soon is of no use: somebody has to change something first.
bool is_refusal(const Error& error);

// The request line or the headers are too long for the server, or for a proxy before it: 414, 431. No smaller answer
// helps.
bool is_request_too_large(const Error& error);

// Both are the same failure, but for the message, which may name another object each time.
bool is_alike(const Error& one, const Error& other);

}  // namespace sharder::kube
