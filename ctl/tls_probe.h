#pragma once

#include <chrono>
#include <string>

#include "base/error.h"

namespace sharder::ctl {

// The certificates (PEM, leaf first) that a TLS server shows; none is verified. `name`: what the client calls it (SNI).
// kUnavailable: nobody answers there, or not with TLS, within the timeout.
Result<std::string> served_chain(const std::string& host, const std::string& port, const std::string& name,
                                 std::chrono::milliseconds timeout);

}  // namespace sharder::ctl
