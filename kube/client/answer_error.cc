#include "kube/client/answer_error.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "base/ascii.h"
#include "base/http_status.h"
#include "base/utf8.h"

namespace sharder::kube {

namespace {

constexpr std::size_t kMaxMessageBytes = 1024;

std::string status_line(int status) {
  const std::string_view phrase = reason_phrase(status);
  return phrase.empty() ? std::to_string(status) : std::to_string(status).append(" ").append(phrase);
}

ErrorCode code_for(int status, std::string_view reason) {
  // The API server answers Expired with 410, and with 400 for a continue token that it can no longer use.
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
      // A redirect comes from a load balancer or proxy that is not (yet) set up right.
      return status >= 500 || status < 400 ? ErrorCode::kUnavailable : ErrorCode::kInvalid;
  }
}

// The first line of a text that is no Status, without control characters; "" for a page of HTML.
std::string first_line(std::string_view text) {
  text = text.substr(0, text.find_first_of("\r\n"));
  if (text.starts_with('<') || text.starts_with('{')) {
    return {};
  }
  std::string line(cut_utf8(text, kMaxMessageBytes));
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

Error error_from_status(std::string_view context, Status status) {
  Error error{.code = code_for(status.code, status.reason),
              .message = std::string(context) + ": " + status_line(status.code),
              .http_status = status.code,
              .reason = std::move(status.reason),
              .retry_after = std::nullopt,
              .continue_token = std::move(status.continue_token)};
  if (!status.message.empty()) {
    error.message.append(": ").append(cut_utf8(status.message, kMaxMessageBytes));
  }
  if (status.retry_after > std::chrono::seconds(0)) {
    error.retry_after = status.retry_after;
  }
  return error;
}

Error error_from_answer(Method method, std::string_view target, int status, std::string_view body,
                        std::optional<std::chrono::seconds> retry_after) {
  Status parsed = decode_status(body).value_or(Status{.message = first_line(body)});
  parsed.code = status;
  Error error = error_from_status(describe(method, target), std::move(parsed));
  error.retry_after = retry_after;
  return error;
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, WallTime now) {
  constexpr std::chrono::seconds kMax = std::chrono::hours(1);
  value = trim(value);
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
