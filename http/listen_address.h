#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/file_descriptor.h"

namespace sharder::http {

// ":9443" has no host: every interface. "[::1]:80" has host "::1".
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
};

// "host:port", ":port" or "[ipv6]:port"; ports are numbers. kInvalid says what is wrong with it.
Result<ListenAddress> parse_listen_address(std::string_view text);

// A listening socket, non-blocking and closed on exec, and its port.
struct Listener {
  FileDescriptor socket;
  std::uint16_t port = 0;
};

// Without a host: IPv6 and IPv4 on one socket, or IPv4 where the machine has no IPv6. A name that resolves to several
// addresses: the first that can be bound, IPv4 before IPv6 (as Go does). kInvalid names the address and the reason.
Result<Listener> listen_on(std::string_view address);

}  // namespace sharder::http
