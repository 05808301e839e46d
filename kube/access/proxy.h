#pragma once

#include <functional>
#include <optional>
#include <string>

#include "kube/access/server_url.h"

namespace sharder::kube {

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// The proxy that the environment names for `server`, "" for none. As Go's net/http does it, because users set these
// variables for all the clients of a cluster (libcurl's own reading differs: no CIDR before 7.86, no ports, no "*.",
// and no exception of localhost):
// - HTTPS_PROXY (else https_proxy) for an https server, HTTP_PROXY (else http_proxy) for an http one, unless
//   REQUEST_METHOD is set (a CGI program's HTTP_PROXY comes from the client); a value without a scheme is http.
// - Never for "localhost" and loopback addresses.
// - NO_PROXY (else no_proxy), separated by commas: "*" (everything), an address, a CIDR range, a domain (with its
//   subdomains), ".domain" or "*.domain" (subdomains only); addresses and domains may have a port.
std::string proxy_from_environment(const ServerUrl& server, const Environment& environment);

}  // namespace sharder::kube
