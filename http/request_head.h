#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

// Reading the head of a request: pure functions of bytes, strict where tolerance was a CVE of other servers.
namespace sharder::http {

// An answer of the server itself to a request that no handler sees. Its connection is closed after it.
struct Rejection {
  int status = 400;
  std::string_view reason;  // one line of text that lives for ever
};

// A part of the head, as an offset: the buffer that holds the head may move before the body is complete.
struct Slice {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  std::string_view in(std::string_view head) const { return head.substr(offset, size); }
};

struct RequestHead {
  Slice method;
  Slice path;  // absolute-form targets ("http://host/path") without scheme and authority
  Slice query;
  Slice content_type;
  Slice authorization;
  Slice host;  // authority of an absolute-form target, else the Host header
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = true;  // false for HTTP/1.0, always
  bool expects_continue = false;
  bool is_head = false;  // the method is HEAD

  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

// Finds the end of a head while it arrives; looks at each byte once. Rejects three errors at once, which could
// otherwise be rejected only at the end (or never, when no end comes): bytes that begin no request, lines that end
// without CR, folded lines.
class HeadScanner {
 public:
  // `bytes`: all bytes so far, from the head's first byte. Returns the head's length once it is complete.
  std::expected<std::optional<std::size_t>, Rejection> scan(std::string_view bytes);
  void reset() { *this = {}; }

 private:
  std::size_t line_begin_ = 0;  // of the line that is not complete yet
  std::size_t scanned_ = 0;
};

// `head`: a complete head, CRLF CRLF included, at most 4 GiB.
std::expected<RequestHead, Rejection> parse_head(std::string_view head);

}  // namespace sharder::http
