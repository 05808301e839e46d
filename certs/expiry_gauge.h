#pragma once

#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>

#include "base/clock.h"

namespace sharder::certs {

// controller_sharding_certificate_expiry_timestamp_seconds{server}: when the certificate that a server shows expires.
inline prometheus::Gauge& expiry_gauge(prometheus::Registry& registry, const std::string& server) {
  return prometheus::BuildGauge()
      .Name("controller_sharding_certificate_expiry_timestamp_seconds")
      .Help("When the certificate that the server shows expires, in seconds since the epoch.")
      .Register(registry)
      .Add({{"server", server}});
}

inline double unix_seconds(WallTime time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

}  // namespace sharder::certs
