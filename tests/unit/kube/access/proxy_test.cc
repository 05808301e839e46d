#include "kube/access/proxy.h"

#include <doctest/doctest.h>

#include <map>

namespace sharder::kube {
namespace {

using Variables = std::map<std::string, std::string>;

std::string proxy_for(const std::string& server, const Variables& variables) {
  return proxy_from_environment(*parse_server_url(server), [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

TEST_CASE("the scheme of the server chooses the variable") {
  const Variables both{{"HTTPS_PROXY", "http://s:1"}, {"HTTP_PROXY", "http://h:1"}};
  CHECK(proxy_for("https://api:6443", both) == "http://s:1");
  CHECK(proxy_for("http://api:6443", both) == "http://h:1");
  CHECK(proxy_for("https://api:6443", {{"HTTP_PROXY", "http://h:1"}}).empty());
  CHECK(proxy_for("https://api:6443", {{"ALL_PROXY", "http://h:1"}}).empty());  // Go does not know it
  CHECK(proxy_for("https://api:6443", {}).empty());
}

TEST_CASE("upper case comes first, empty values do not count") {
  CHECK(proxy_for("https://api", {{"HTTPS_PROXY", "a:1"}, {"https_proxy", "b:1"}}) == "a:1");
  CHECK(proxy_for("https://api", {{"HTTPS_PROXY", ""}, {"https_proxy", "b:1"}}) == "b:1");
  CHECK(proxy_for("http://api", {{"http_proxy", "b:1"}}) == "b:1");
}

TEST_CASE("a CGI program does not believe in HTTP_PROXY") {
  CHECK(proxy_for("http://api", {{"HTTP_PROXY", "a:1"}, {"REQUEST_METHOD", "GET"}}).empty());
  CHECK(proxy_for("https://api", {{"HTTPS_PROXY", "a:1"}, {"REQUEST_METHOD", "GET"}}) == "a:1");
}

TEST_CASE("NO_PROXY is read as Go reads it") {
  struct Case {
    const char* server;
    const char* no_proxy;
    bool proxied;
  };
  const Case cases[] = {
      {"https://localhost:6443", "", false},
      {"https://127.0.0.1:6443", "", false},
      {"https://127.8.9.1:6443", "", false},
      {"https://[::1]:6443", "", false},
      {"https://api.example.com", "", true},
      {"https://api.example.com", "*", false},
      {"https://api.example.com", "other, *", false},
      {"https://api.example.com", "example.com", false},
      {"https://api.example.com", "EXAMPLE.com", false},
      {"https://API.example.com", "api.example.com", false},
      {"https://example.com", "example.com", false},
      {"https://badexample.com", "example.com", true},
      {"https://api.example.com", ".example.com", false},
      {"https://example.com", ".example.com", true},
      {"https://api.example.com", "*.example.com", false},
      {"https://example.com", "*.example.com", true},
      {"https://api.example.com", "example.com:443", false},
      {"https://api.example.com:6443", "example.com:443", true},
      {"https://api.example.com:6443", "  a , example.com:6443 ,, b", false},
      {"https://10.1.2.3:6443", "10.1.2.3", false},
      {"https://10.1.2.3:6443", "10.1.2.3:6443", false},
      {"https://10.1.2.3:6443", "10.1.2.3:443", true},
      {"https://10.1.2.3:6443", "10.0.0.0/8", false},
      {"https://11.1.2.3:6443", "10.0.0.0/8", true},
      {"https://10.1.2.3:6443", "10.1.2.0/30", false},
      {"https://10.1.2.4:6443", "10.1.2.0/30", true},
      {"https://10.1.2.4:6443", "0.0.0.0/0", false},
      {"https://[fd00::1]:6443", "0.0.0.0/0", true},
      {"https://[fd00::1]:6443", "fd00::/8", false},
      {"https://[fe00::1]:6443", "fd00::/8", true},
      {"https://10.1.2.4:6443", "::/0", true},
      {"https://[fd00::1]:6443", "fd00::1", false},
      {"https://[fd00::1]:6443", "[fd00::1]", false},
      {"https://[fd00::1]:6443", "[fd00::1]:6443", false},
      {"https://[fd00::1]:6443", "[fd00::1]:1", true},
      {"https://10.1.2.4:6443", "2.4", true},          // addresses are no domains
      {"https://10.1.2.4:6443", "10.0.0.0/33", true},  // nonsense is skipped
      {"https://10.1.2.4:6443", "10.0.0.0/x", true},
      {"https://10.1.2.4:6443", "[10.1.2.4", true},
      {"https://api.example.com", ":443", true},
      {"https://api.example.com", ",,,", true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.server);
    CAPTURE(c.no_proxy);
    CHECK(proxy_for(c.server, {{"HTTPS_PROXY", "http://p:1"}, {"NO_PROXY", c.no_proxy}}).empty() == !c.proxied);
    CHECK(proxy_for(c.server, {{"HTTPS_PROXY", "http://p:1"}, {"no_proxy", c.no_proxy}}).empty() == !c.proxied);
  }
}

}  // namespace
}  // namespace sharder::kube
