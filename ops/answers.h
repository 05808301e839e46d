#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.h"

// Short answers that the handlers of this folder share.
namespace sharder::ops {

inline http::Response line(int status, std::string_view text,
                           std::vector<std::pair<std::string, std::string>> headers = {}) {
  http::Response response{.status = status, .body = std::string(text), .headers = std::move(headers)};
  response.body += '\n';
  return response;
}

inline bool is_read(std::string_view method) {
  return method == "GET" || method == "HEAD";
}

inline http::Response method_not_allowed() {
  return line(405, "only GET and HEAD", {{"Allow", "GET, HEAD"}});
}

}  // namespace sharder::ops
