#include "http/chunked_decoder.h"

#include <algorithm>
#include <cstring>

#include "base/ascii.h"

namespace sharder::http {
namespace {

constexpr Rejection kMalformed{400, "the chunked body is malformed"};
constexpr int kMaxDigits = 16;

}  // namespace

std::expected<ChunkedDecoder::Progress, Rejection> ChunkedDecoder::decode(std::span<char> bytes) {
  Progress progress;
  while (progress.consumed < bytes.size() && state_ != State::kComplete) {
    if (state_ == State::kData) {
      const auto size = std::min<std::uint64_t>(remaining_, bytes.size() - progress.consumed);
      std::memmove(bytes.data() + progress.body, bytes.data() + progress.consumed, size);
      progress.body += size;
      progress.consumed += size;
      remaining_ -= size;
      if (remaining_ == 0) {
        state_ = State::kDataReturn;
      }
    } else if (auto stepped = step(bytes[progress.consumed]); stepped) {
      ++progress.consumed;
    } else {
      return std::unexpected(stepped.error());
    }
  }
  progress.complete = state_ == State::kComplete;
  return progress;
}

std::expected<void, Rejection> ChunkedDecoder::step(char c) {
  switch (state_) {
    case State::kSize:
      if (const int digit = hex_value(c); digit >= 0) {
        return add_digit(digit);
      }
      if (digits_ == 0) {
        return std::unexpected(kMalformed);
      }
      if (c == '\r') {
        state_ = State::kSizeNewline;
        return {};
      }
      return c == ';' || c == ' ' || c == '\t' ? ignore(c, State::kExtension) : std::unexpected(kMalformed);
    case State::kExtension:
      if (c == '\r') {
        state_ = State::kSizeNewline;
        return {};
      }
      return ignore(c, State::kExtension);
    case State::kSizeNewline:
      return c == '\n' ? end_size_line() : std::unexpected(kMalformed);
    case State::kDataReturn:
      return expect(c, '\r', State::kDataNewline);
    case State::kDataNewline:
      return expect(c, '\n', State::kSize);
    case State::kTrailerBegin:
      if (c == '\r') {
        state_ = State::kEndNewline;
        return {};
      }
      return ignore(c, State::kTrailer);
    case State::kTrailer:
      if (c == '\r') {
        state_ = State::kTrailerNewline;
        return {};
      }
      return ignore(c, State::kTrailer);
    case State::kTrailerNewline:
      return expect(c, '\n', State::kTrailerBegin);
    case State::kEndNewline:
      return expect(c, '\n', State::kComplete);
    case State::kData:
    case State::kComplete:
      break;
  }
  return std::unexpected(kMalformed);
}

std::expected<void, Rejection> ChunkedDecoder::add_digit(int digit) {
  if (++digits_ > kMaxDigits) {
    return std::unexpected(Rejection{400, "a chunk size has too many digits"});
  }
  remaining_ = remaining_ << 4 | static_cast<std::uint64_t>(digit);
  return {};
}

std::expected<void, Rejection> ChunkedDecoder::ignore(char c, State next) {
  if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F) {
    return std::unexpected(kMalformed);
  }
  if (++ignored_bytes_ > limits_.max_ignored_bytes) {
    return std::unexpected(Rejection{431, "too many chunk extensions or trailers"});
  }
  state_ = next;
  return {};
}

std::expected<void, Rejection> ChunkedDecoder::expect(char c, char wanted, State next) {
  if (c != wanted) {
    return std::unexpected(kMalformed);
  }
  state_ = next;
  return {};
}

std::expected<void, Rejection> ChunkedDecoder::end_size_line() {
  // body_bytes_ <= max_body_bytes always, so the difference does not wrap.
  if (remaining_ > limits_.max_body_bytes - body_bytes_) {
    return std::unexpected(Rejection{413, "the body is too large"});
  }
  body_bytes_ += remaining_;
  digits_ = 0;
  state_ = remaining_ == 0 ? State::kTrailerBegin : State::kData;
  return {};
}

}  // namespace sharder::http
