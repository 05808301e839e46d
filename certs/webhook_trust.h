#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sharder::certs {

// Why an API server does not accept the webhook's certificate: a reason for programs, and a clause for people that says
// what is wrong and what to do. It quotes names and times of certificates, nothing else.
struct Distrust {
  std::string reason;
  std::string message;
};

// What an API server with these roots (PEM; as in Go, damaged certificates are left out) finds wrong with the chain
// when it calls the webhook by `host`. nullopt: nothing. Without roots, names and times alone are judged. Pure.
[[nodiscard]] std::optional<Distrust> distrust(std::string_view chain_pem, std::string_view roots_pem,
                                               const std::string& host, WallTime now);

}  // namespace sharder::certs
