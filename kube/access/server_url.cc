#include "kube/access/server_url.h"

#include <curl/curl.h>

#include <charconv>
#include <memory>

#include "base/delete_with.h"

namespace sharder::kube {

namespace {

std::string part(CURLU* url, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, what, &text, flags) != CURLUE_OK) {
    return {};
  }
  std::string copy(text);
  curl_free(text);
  return copy;
}

Result<ServerUrl> parse(std::string_view text, std::string_view default_scheme, bool proxy) {
  if (text.find_first_of(std::string_view(" \t\r\n\0", 5)) != std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "not a URL: blanks in it");
  }
  std::string full(text);
  if (text.find("://") == std::string_view::npos) {
    full.insert(0, std::string(default_scheme) + "://");
  }
  const std::unique_ptr<CURLU, DeleteWith<curl_url_cleanup>> url(curl_url());
  if (const auto failure = curl_url_set(url.get(), CURLUPART_URL, full.c_str(), CURLU_NON_SUPPORT_SCHEME);
      failure != CURLUE_OK) {
    return fail(ErrorCode::kInvalid, std::string("not a URL: ") + curl_url_strerror(failure));
  }
  ServerUrl result{.scheme = part(url.get(), CURLUPART_SCHEME), .host = part(url.get(), CURLUPART_HOST), .path = {}};
  if (const bool socks = result.scheme == "socks5" || result.scheme == "socks5h";
      result.scheme != "https" && result.scheme != "http" && !(proxy && socks)) {
    return fail(ErrorCode::kInvalid,
                "scheme \"" + result.scheme + "\" is not " + (proxy ? "http, https or socks5" : "https or http"));
  }
  if (!proxy && (!part(url.get(), CURLUPART_USER).empty() || !part(url.get(), CURLUPART_PASSWORD).empty())) {
    return fail(ErrorCode::kInvalid, "must not hold a user name or password");
  }
  if (result.host.starts_with('[') && result.host.ends_with(']')) {
    result.host = result.host.substr(1, result.host.size() - 2);
  }
  std::string port = part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (port.empty()) {
    port = "1080";
  }
  std::from_chars(port.data(), port.data() + port.size(), result.port);
  if (result.host.empty() || result.port == 0) {
    return fail(ErrorCode::kInvalid, "names no host and port");
  }
  result.path = part(url.get(), CURLUPART_PATH);
  while (result.path.ends_with('/')) {
    result.path.pop_back();
  }
  return result;
}

}  // namespace

std::string ServerUrl::address() const {
  const bool literal_v6 = host.find(':') != std::string::npos;
  return (literal_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string ServerUrl::text() const {
  return scheme + "://" + address() + path;
}

Result<ServerUrl> parse_server_url(std::string_view text, std::string_view default_scheme) {
  return parse(text, default_scheme, false);
}

Result<ServerUrl> parse_proxy_url(std::string_view text) {
  return parse(text, "http", true);
}

}  // namespace sharder::kube
