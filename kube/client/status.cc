#include "kube/client/status.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <utility>

#include "kube/codec/json.h"

namespace sharder::kube {

namespace {

constexpr std::size_t kMaxMessageBytes = 1024;

struct Phrase {
  int status;
  std::string_view text;
};
constexpr std::array kPhrases{
    Phrase{400, "Bad Request"},
    Phrase{401, "Unauthorized"},
    Phrase{403, "Forbidden"},
    Phrase{404, "Not Found"},
    Phrase{405, "Method Not Allowed"},
    Phrase{406, "Not Acceptable"},
    Phrase{408, "Request Timeout"},
    Phrase{409, "Conflict"},
    Phrase{410, "Gone"},
    Phrase{412, "Precondition Failed"},
    Phrase{413, "Content Too Large"},
    Phrase{414, "URI Too Long"},
    Phrase{415, "Unsupported Media Type"},
    Phrase{422, "Unprocessable Content"},
    Phrase{429, "Too Many Requests"},
    Phrase{431, "Request Header Fields Too Large"},
    Phrase{500, "Internal Server Error"},
    Phrase{502, "Bad Gateway"},
    Phrase{503, "Service Unavailable"},
    Phrase{504, "Gateway Timeout"},
};

std::string status_line(int status) {
  std::string line = std::to_string(status);
  const auto* const found = std::ranges::find(kPhrases, status, &Phrase::status);
  if (found != kPhrases.end()) {
    line.append(" ").append(found->text);
  }
  return line;
}

ErrorCode code_for(int status, std::string_view reason) {
  // The API server says Expired with 410, and with 400 for a continue token that it cannot use any more.
  if (reason == "Expired" || reason == "Gone") {
    return ErrorCode::kGone;
  }
  switch (status) {
    case 401:
      return ErrorCode::kUnauthorized;
    case 403:
      return ErrorCode::kForbidden;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return reason == "AlreadyExists" ? ErrorCode::kExists : ErrorCode::kConflict;
    case 410:
      return ErrorCode::kGone;
    case 412:
      return ErrorCode::kConflict;
    case 413:
    case 414:
    case 431:
      return ErrorCode::kTooLarge;
    case 408:
    case 429:
      return ErrorCode::kUnavailable;
    default:
      // A redirect comes from a load balancer or proxy that is not (yet) what it should be.
      return status >= 500 || status < 400 ? ErrorCode::kUnavailable : ErrorCode::kInvalid;
  }
}

// The first line of a text that is no Status, without control characters; "" for a page of HTML.
std::string first_line(std::string_view text) {
  text = text.substr(0, text.find_first_of("\r\n"));
  if (text.starts_with('<') || text.starts_with('{')) {
    return {};
  }
  std::string line(text.substr(0, kMaxMessageBytes));
  std::ranges::replace_if(line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kPost:
      return "POST";
    case Method::kPut:
      return "PUT";
    case Method::kPatch:
      return "PATCH";
    case Method::kDelete:
      return "DELETE";
  }
  return "GET";
}

std::string describe(Method method, std::string_view target) {
  return std::string(to_string(method)).append(" ").append(target.substr(0, target.find('?')));
}

Error error_from_answer(Method method, std::string_view target, int status, std::string_view body,
                        std::optional<std::chrono::seconds> retry_after) {
  Error error;
  error.http_status = status;
  error.retry_after = retry_after;
  std::string message;
  if (const auto parsed = body.starts_with('{') ? parse_json(body) : fail(ErrorCode::kInvalid, ""); parsed) {
    error.reason = string_at(*parsed, "/reason");
    message = string_at(*parsed, "/message");
    message.resize(std::min(message.size(), kMaxMessageBytes));
    error.continue_token = string_at(*parsed, "/metadata/continue");
  } else {
    message = first_line(body);
  }
  error.code = code_for(status, error.reason);
  error.message = describe(method, target) + ": " + status_line(status);
  if (!message.empty()) {
    error.message += ": " + message;
  }
  return error;
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, WallTime now) {
  constexpr std::chrono::seconds kMax = std::chrono::hours(1);
  while (value.starts_with(' ') || value.starts_with('\t')) {
    value.remove_prefix(1);
  }
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) {
    value.remove_suffix(1);
  }
  std::uint32_t seconds = 0;
  const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (failure == std::errc() && end == value.data() + value.size()) {
    return std::min(std::chrono::seconds(seconds), kMax);
  }
  std::tm date{};
  const std::string text(value);
  const char* const rest = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (rest == nullptr || *rest != '\0') {
    return std::nullopt;
  }
  const auto at = std::chrono::sys_seconds(std::chrono::seconds(timegm(&date)));
  const auto wait = std::chrono::ceil<std::chrono::seconds>(at - now);
  return std::clamp(wait, std::chrono::seconds(0), kMax);
}

}  // namespace sharder::kube
