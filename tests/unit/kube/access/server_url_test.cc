#include "kube/access/server_url.h"

#include <doctest/doctest.h>

namespace sharder::kube {
namespace {

TEST_CASE("a server URL is taken apart") {
  struct Case {
    const char* text;
    const char* address;
    const char* whole;
  };
  const Case cases[] = {
      {"https://10.0.0.1:6443", "10.0.0.1:6443", "https://10.0.0.1:6443"},
      {"https://api.example.com", "api.example.com:443", "https://api.example.com:443"},
      {"http://api/", "api:80", "http://api:80"},
      {"https://[fd00::1]:6443/", "[fd00::1]:6443", "https://[fd00::1]:6443"},
      {"https://rancher/k8s/clusters/c1/", "rancher:443", "https://rancher:443/k8s/clusters/c1"},
      {"https://api:1?a=b#c", "api:1", "https://api:1"},
      {"api:6443", "api:6443", "https://api:6443"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const auto url = parse_server_url(c.text);
    REQUIRE(url);
    CHECK(url->address() == c.address);
    CHECK(url->text() == c.whole);
  }
  CHECK(parse_server_url("localhost:8080", "http")->text() == "http://localhost:8080");
}

TEST_CASE("what is not a server is an error that names the reason") {
  CHECK(parse_server_url("ftp://a").error().message == "scheme \"ftp\" is not https or http");
  CHECK(parse_server_url("https://u:p@a").error().message == "must not hold a user name or password");
  CHECK(parse_server_url("https://a b").error().message == "not a URL: blanks in it");
  for (const char* text : {"", "https://", "https://a:99999", "https://a:0", "https://[::1", "://a"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_server_url(text));
  }
}

TEST_CASE("proxies may be http, https and socks5, with a user") {
  CHECK(parse_proxy_url("proxy:3128")->text() == "http://proxy:3128");
  CHECK(parse_proxy_url("https://proxy")->address() == "proxy:443");
  CHECK(parse_proxy_url("socks5://proxy")->address() == "proxy:1080");
  CHECK(parse_proxy_url("http://u:secret@proxy:1")->text() == "http://proxy:1");
  CHECK(parse_proxy_url("gopher://proxy").error().message == "scheme \"gopher\" is not http, https or socks5");
}

}  // namespace
}  // namespace sharder::kube
