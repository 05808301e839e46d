#include "ops/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <cstdint>

#include "base/ascii.h"

namespace sharder::ops {

bool is_loopback_address(const std::string& text) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == 127;
  }
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_loopback_host(std::string_view host) {
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    const std::string_view behind = end == std::string_view::npos ? "?" : host.substr(end + 1);
    return (behind.empty() || behind.starts_with(':')) && host.substr(1, end - 1) == "::1";
  }
  host = host.substr(0, host.find(':'));
  return equals_ignoring_case(host, "localhost") || is_loopback_address(std::string(host));
}

}  // namespace sharder::ops
