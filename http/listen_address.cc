#include "http/listen_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <expected>
#include <memory>
#include <system_error>
#include <vector>

namespace sharder::http {
namespace {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

std::string reason(int error) {
  return std::generic_category().message(error);
}

SocketAddress any_address(int family, std::uint16_t port) {
  SocketAddress address;
  if (family == AF_INET6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_any;
    v6.sin6_port = htons(port);
    address.size = sizeof(v6);
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_ANY);
    v4.sin_port = htons(port);
    address.size = sizeof(v4);
  }
  return address;
}

Result<std::vector<SocketAddress>> resolve(const ListenAddress& address) {
  if (address.host.empty()) {
    return std::vector{any_address(AF_INET6, address.port), any_address(AF_INET, address.port)};
  }
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return fail(ErrorCode::kInvalid, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
      if (entry->ai_family == family) {
        SocketAddress one;
        one.size = entry->ai_addrlen;
        std::copy_n(reinterpret_cast<const char*>(entry->ai_addr), one.size, reinterpret_cast<char*>(&one.storage));
        addresses.push_back(one);
      }
    }
  }
  return addresses;
}

std::uint16_t bound_port(int fd) {
  SocketAddress address;
  address.size = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) {
    return 0;
  }
  return ntohs(address.storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port
                                                     : reinterpret_cast<sockaddr_in&>(address.storage).sin_port);
}

// The listening socket, or the errno of the failure.
std::expected<FileDescriptor, int> listen_at(const SocketAddress& address, bool dual_stack) {
  const int family = address.storage.ss_family;
  FileDescriptor socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return std::unexpected(errno);
  }
  const int on = 1;
  const int v6_only = dual_stack ? 0 : 1;
  if (setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      (family == AF_INET6 && setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) != 0) ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 ||
      listen(socket.get(), SOMAXCONN) != 0) {
    return std::unexpected(errno);
  }
  return socket;
}

}  // namespace

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "no port, expected host:port or :port");
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.empty()) {
      return fail(ErrorCode::kInvalid, "no address between the brackets");
    }
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "an IPv6 address stands in brackets, as in [::1]:8080");
  }
  const std::string_view digits = text.substr(colon + 1);
  ListenAddress address{.host = std::string(host)};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return fail(ErrorCode::kInvalid, "the port is no number from 0 to 65535");
  }
  return address;
}

Result<Listener> listen_on(std::string_view text) {
  const std::string context = "listen on " + std::string(text);
  auto address = parse_listen_address(text);
  if (!address) {
    return fail(context, std::move(address.error()));
  }
  auto candidates = resolve(*address);
  if (!candidates) {
    return fail(context, std::move(candidates.error()));
  }
  int error = EADDRNOTAVAIL;
  for (const auto& candidate : *candidates) {
    auto socket = listen_at(candidate, address->host.empty());
    if (socket) {
      const std::uint16_t port = bound_port(socket->get());
      return Listener{.socket = std::move(*socket), .port = port};
    }
    error = socket.error();
    // Without a host the second candidate is only for machines without IPv6: it must not hide that a port is taken.
    if (address->host.empty() && error != EAFNOSUPPORT && error != EADDRNOTAVAIL && error != EPROTONOSUPPORT) {
      break;
    }
  }
  return fail(ErrorCode::kInvalid, context + ": " + reason(error));
}

}  // namespace sharder::http
