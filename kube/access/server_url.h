#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// Where an API server or a proxy listens, taken apart.
struct ServerUrl {
  std::string scheme;  // "http" or "https", of proxies also "socks5"
  std::string host;    // without brackets: "10.0.0.1", "fd00::1", "api.example.com"
  std::uint16_t port = 0;
  std::string path;  // "/k8s/clusters/c1", without a slash at its end; "" for none

  // "[fd00::1]:6443": for messages, metrics and a Host header.
  std::string address() const;
  // "https://[fd00::1]:6443/k8s/clusters/c1"
  std::string text() const;
};

// A server of a kubeconfig: http or https. Without a scheme it is `default_scheme`. A query or fragment is dropped;
// a user name or password is an error, because it would end up in messages. kInvalid: the reason, without a prefix.
Result<ServerUrl> parse_server_url(std::string_view text, std::string_view default_scheme = "https");

// A proxy: http, https, socks5 or socks5h; without a scheme it is http. User name and password are allowed: they are
// left out of the result, use `text` itself for the connection.
Result<ServerUrl> parse_proxy_url(std::string_view text);

}  // namespace sharder::kube
