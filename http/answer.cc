#include "http/answer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/http_status.h"

namespace sharder::http {
namespace {

void append_number(std::string& out, std::size_t number) {
  std::array<char, 20> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), end);
}

bool breaks_line(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

}  // namespace

std::string_view DateLine::at(std::time_t now) {
  if (now != second_) {
    second_ = now;
    std::tm utc = {};
    gmtime_r(&now, &utc);
    std::array<char, 64> text;
    // The names of days and months are those of the C locale, which this program never leaves.
    const auto size = std::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
    line_.assign(text.data(), size);
  }
  return line_;
}

bool append_answer(std::string& out, const Response& response, std::string_view date_line, AnswerOptions options) {
  if (response.status < 200 || response.status > 599 || breaks_line(response.content_type) ||
      std::ranges::any_of(response.headers, [](const auto& header) {
        return header.first.empty() || breaks_line(header.first) || breaks_line(header.second);
      })) {
    return false;
  }
  const bool bodyless = response.status == 204 || response.status == 304;
  out += "HTTP/1.1 ";
  append_number(out, static_cast<std::size_t>(response.status));
  out += ' ';
  const std::string_view phrase = reason_phrase(response.status);
  out += phrase.empty() ? "Status" : phrase;
  out += "\r\n";
  if (!bodyless) {
    if (!response.content_type.empty()) {
      out += "Content-Type: ";
      out += response.content_type;
      out += "\r\n";
    }
    out += "Content-Length: ";
    append_number(out, response.body.size());
    out += "\r\n";
  }
  out += date_line;
  if (options.close) {
    out += "Connection: close\r\n";
  }
  for (const auto& [name, value] : response.headers) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  out += "\r\n";
  if (!bodyless && !options.omit_body) {
    out += response.body;
  }
  return true;
}

}  // namespace sharder::http
