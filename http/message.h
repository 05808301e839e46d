#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Requests and answers of the listener, and the interface of what answers them.
namespace sharder::http {

// Bytes that may be read behind a request's body (their values are unspecified): simdjson loads whole vectors.
inline constexpr std::size_t kBodyPadding = 64;

// One request. The views live until the handler has returned.
struct Request {
  std::string_view method;         // "GET", "POST", ... as sent
  std::string_view path;           // of the target, not decoded: "/webhooks/sharder/controllerring/a"
  std::string_view query;          // behind '?', not decoded; "" when there is none
  std::string_view content_type;   // "" when absent
  std::string_view authorization;  // "" when absent
  std::string_view host = {};      // that the client called, with its port: of the target, else the Host header
  std::string_view body;           // kBodyPadding readable bytes follow it
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};  // besides those of the server itself
};

// Sends the answer, once, from any thread. When it is destroyed without a call, the server answers 500.
using Reply = std::move_only_function<void(Response)>;

// Answers the requests of one loop, always called on that loop's thread. To answer later, keep `reply` and copy the
// needed parts of `request`; the connection reads no further request meanwhile. An exception is logged and answered
// with 500.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void handle(const Request& request, Reply reply) = 0;
};

}  // namespace sharder::http
