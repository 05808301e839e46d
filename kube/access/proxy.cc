#include "kube/access/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "base/ascii.h"

namespace sharder::kube {

namespace {

// An IPv4 address as the IPv6 address that stands for it, so that both compare alike.
using Address = std::array<std::uint8_t, 16>;

std::optional<Address> parse_address(std::string_view text) {
  const std::string copy(text);
  Address address{};
  if (inet_pton(AF_INET6, copy.c_str(), address.data()) == 1) {
    return address;
  }
  if (inet_pton(AF_INET, copy.c_str(), address.data() + 12) == 1) {
    address[10] = address[11] = 0xff;
    return address;
  }
  return std::nullopt;
}

bool is_v4(const Address& address) {
  return std::all_of(address.begin(), address.begin() + 10, [](auto byte) { return byte == 0; }) &&
         address[10] == 0xff && address[11] == 0xff;
}

bool is_loopback(const Address& address) {
  Address one{};
  one[15] = 1;
  return address == one || (is_v4(address) && address[12] == 127);
}

bool same_prefix(const Address& a, const Address& b, unsigned bits) {
  for (unsigned i = 0; i < a.size() && bits > 0; ++i) {
    const unsigned take = std::min(bits, 8U);
    const auto mask = static_cast<std::uint8_t>(0xff00U >> take);
    if ((a[i] & mask) != (b[i] & mask)) {
      return false;
    }
    bits -= take;
  }
  return true;
}

struct HostPort {
  std::string_view host;
  std::string_view port;  // "" for any
};

// "host", "host:port", "[v6]:port", "[v6]"; an IPv6 address without brackets has no port.
HostPort split_port(std::string_view entry) {
  if (entry.starts_with('[')) {
    const auto end = entry.find(']');
    if (end == std::string_view::npos) {
      return {entry, {}};
    }
    const std::string_view rest = entry.substr(end + 1);
    return {entry.substr(1, end - 1), rest.starts_with(':') ? rest.substr(1) : std::string_view()};
  }
  const auto colon = entry.find(':');
  if (colon == std::string_view::npos || entry.find(':', colon + 1) != std::string_view::npos) {
    return {entry, {}};
  }
  return {entry.substr(0, colon), entry.substr(colon + 1)};
}

// nullopt: the entry is no CIDR range.
std::optional<bool> matches_range(std::string_view entry, const std::optional<Address>& address) {
  const auto slash = entry.find('/');
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto network = parse_address(entry.substr(0, slash));
  const std::string_view digits = entry.substr(slash + 1);
  unsigned bits = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (!network || failure != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  const unsigned skipped = is_v4(*network) ? 96 : 0;
  if (bits > 128 - skipped) {
    return std::nullopt;
  }
  return address && is_v4(*address) == is_v4(*network) && same_prefix(*address, *network, bits + skipped);
}

bool matches_domain(std::string_view domain, std::string_view host) {
  if (domain.starts_with("*.")) {
    domain.remove_prefix(1);
  }
  if (domain.starts_with('.')) {
    return host.ends_with(domain);
  }
  return host == domain ||
         (host.size() > domain.size() && host.ends_with(domain) && host[host.size() - domain.size() - 1] == '.');
}

bool matches(std::string_view entry, const std::string& host, const std::string& port,
             const std::optional<Address>& address) {
  if (entry == "*") {
    return true;
  }
  if (const auto range = matches_range(entry, address)) {
    return *range;
  }
  const HostPort wanted = split_port(entry);
  if (wanted.host.empty() || (!wanted.port.empty() && wanted.port != port)) {
    return false;
  }
  if (const auto wanted_address = parse_address(wanted.host)) {
    return address == wanted_address;
  }
  return !address && matches_domain(wanted.host, host);
}

std::string any_of(const Environment& environment, const char* upper_case, const char* lower_case) {
  for (const char* name : {upper_case, lower_case}) {
    if (auto value = environment(name); value && !value->empty()) {
      return *std::move(value);
    }
  }
  return {};
}

}  // namespace

// NO_PROXY is not left to libcurl (CURLOPT_NOPROXY, 7.88), which reads it in another way than Go: it knows no ports, no
// "*." and no "*" in a list, no "0.0.0.0/0", no IPv6 ranges and no brackets. It takes ".example.com" for the domain
// itself too, and uses the proxy for localhost and loopback addresses.
std::string proxy_from_environment(const ServerUrl& server, const Environment& environment) {
  std::string proxy;
  if (server.scheme == "https") {
    proxy = any_of(environment, "HTTPS_PROXY", "https_proxy");
  } else if (any_of(environment, "REQUEST_METHOD", "REQUEST_METHOD").empty()) {
    proxy = any_of(environment, "HTTP_PROXY", "http_proxy");
  }
  const std::string host = to_lower(server.host);
  const auto address = parse_address(host);
  if (proxy.empty() || host == "localhost" || (address && is_loopback(*address))) {
    return {};
  }
  const std::string exceptions = to_lower(any_of(environment, "NO_PROXY", "no_proxy"));
  const std::string port = std::to_string(server.port);
  for (std::string_view rest = exceptions; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    const std::string_view entry = trim(rest.substr(0, comma));
    if (!entry.empty() && matches(entry, host, port, address)) {
      return {};
    }
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return proxy;
}

}  // namespace sharder::kube
