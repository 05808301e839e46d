#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "http/request_head.h"

namespace sharder::http {

// Takes the framing out of a chunked body (RFC 9112, 7.1), in place, byte by byte, so that any split of the input gives
// the same result. Strict: sizes of 1 to 16 hexadecimal digits, CRLF line ends, no control characters in extensions and
// trailers (both are skipped, and limited together).
class ChunkedDecoder {
 public:
  struct Limits {
    std::size_t max_body_bytes = 0;     // else 413
    std::size_t max_ignored_bytes = 0;  // extensions and trailers; else 431
  };
  struct Progress {
    std::size_t body = 0;      // decoded bytes, moved to the front of `bytes`
    std::size_t consumed = 0;  // of `bytes`; less than all only when the body is complete
    bool complete = false;
  };

  explicit ChunkedDecoder(Limits limits) : limits_(limits) {}

  std::expected<Progress, Rejection> decode(std::span<char> bytes);

 private:
  enum class State {
    kSize,          // digits of a chunk's size
    kExtension,     // from ';' to the end of the line
    kSizeNewline,   // CR was read
    kData,          // remaining_ bytes
    kDataReturn,    // CR after the data
    kDataNewline,   // LF after that
    kTrailerBegin,  // first byte of a line after the last chunk
    kTrailer,       // within such a line
    kTrailerNewline,
    kEndNewline,  // CR of the empty line was read
    kComplete,
  };

  std::expected<void, Rejection> step(char c);
  std::expected<void, Rejection> add_digit(int digit);
  std::expected<void, Rejection> ignore(char c, State next);
  std::expected<void, Rejection> expect(char c, char wanted, State next);
  std::expected<void, Rejection> end_size_line();

  const Limits limits_;
  State state_ = State::kSize;
  std::uint64_t remaining_ = 0;  // of the chunk: its size while that is read, then its data
  int digits_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::size_t ignored_bytes_ = 0;
};

}  // namespace sharder::http
