#include "kube/watch/watch_decoder.h"

#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "kube/client/answer_error.h"
#include "kube/codec/json_fields_internal.h"
#include "kube/codec/protobuf_internal.h"
#include "kube/codec/status.h"

namespace sharder::kube {

namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

// How much memory a decoder keeps between events. Most objects are far smaller.
constexpr std::size_t kKeptBytes = std::size_t{256} << 10;
// Before each frame, big endian.
constexpr std::size_t kLengthBytes = 4;

error_code read_annotations(ondemand::value value, RawEvent& event) {
  return for_each_field(value, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key != kInitialEventsEnd) {
      return simdjson::SUCCESS;
    }
    std::string_view text;
    const auto error = field.get_string().get(text);
    event.initial_events_end = text == "true";
    return error;
  });
}

error_code read_object_metadata(ondemand::value value, RawEvent& event) {
  return for_each_field(value, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key == "resourceVersion") {
      return field.get_string().get(event.resource_version);
    }
    // Objects' own annotations can be long: they are skipped where the type is known not to be BOOKMARK.
    if (key == "annotations" && (event.type.empty() || event.type == "BOOKMARK")) {
      return read_annotations(field, event);
    }
    return simdjson::SUCCESS;
  });
}

error_code read_object(ondemand::value value, RawEvent& event) {
  event.resource_version = {};
  event.initial_events_end = false;
  ondemand::object object;
  if (const auto error = value.get_object().get(object)) {
    return error;
  }
  if (const error_code error = raw_text(object, event.object)) {
    return error;
  }
  if (const auto error = object.reset().error()) {
    return error;
  }
  return for_each_field(object, [&](std::string_view key, ondemand::value field) -> error_code {
    return key == "metadata" ? read_object_metadata(field, event) : simdjson::SUCCESS;
  });
}

error_code read_event(ondemand::parser& parser, simdjson::padded_string_view text, RawEvent& event) {
  ondemand::document document;
  if (const auto error = parser.iterate(text).get(document)) {
    return error;
  }
  ondemand::object object;
  if (const auto error = document.get_object().get(object)) {
    return error;
  }
  const error_code error = for_each_field(object, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key == "type") {
      return field.get_string().get(event.type);
    }
    return key == "object" ? read_object(field, event) : simdjson::SUCCESS;
  });
  return error ? error : expect_end(document);
}

std::optional<WatchMessageType> message_type(std::string_view type) {
  if (type == "ADDED") {
    return WatchMessageType::kAdded;
  }
  if (type == "MODIFIED") {
    return WatchMessageType::kModified;
  }
  if (type == "DELETED") {
    return WatchMessageType::kDeleted;
  }
  if (type == "BOOKMARK") {
    return WatchMessageType::kBookmark;
  }
  return std::nullopt;
}

// The error in an ERROR event, as if an answer had carried its Status.
Error error_of(const RawEvent& event) {
  auto status = decode_status(event.object);
  if (!status) {
    return fail("ERROR event", std::move(status.error())).error();
  }
  if (status->code < 400) {
    status->code = 500;  // an ERROR event is an error, whatever its Status says
  }
  return error_from_status("ERROR event", *std::move(status));
}

}  // namespace

struct WatchDecoder::Impl {
  std::size_t max_event_bytes;
  ondemand::parser parser = ondemand::parser();
  std::string buffer = {};             // what has come and is not decoded yet
  std::optional<bool> is_framed = {};  // protobuf in frames, or JSON in lines; unknown until the first byte has come
  std::size_t scanned = 0;             // of lines: up to here the buffer has no newline

  // Where an event stands in the buffer, as far as that is known, and where the next one begins.
  struct Extent {
    std::size_t begin;
    std::size_t end;
    std::size_t next;
    bool is_whole;
  };

  // Of the first event at or after `begin`.
  Extent find(std::size_t begin) {
    if (!is_framed && begin < buffer.size()) {
      static_assert(kMaxEventBytes >> 24U < '\t', "the first byte of a length is that of no JSON");
      is_framed = static_cast<unsigned char>(buffer[begin]) < '\t';
    }
    return is_framed.value_or(false) ? find_frame(begin) : find_line(begin);
  }

  Extent find_line(std::size_t begin) {
    const std::size_t newline = buffer.find('\n', std::max(begin, scanned));
    scanned = newline == std::string::npos ? buffer.size() : newline + 1;
    const std::size_t end = newline == std::string::npos ? buffer.size() : newline;
    return {.begin = begin, .end = end, .next = scanned, .is_whole = newline != std::string::npos};
  }

  Extent find_frame(std::size_t begin) const {
    if (buffer.size() - begin < kLengthBytes) {
      return {.begin = begin, .end = buffer.size(), .next = buffer.size(), .is_whole = false};
    }
    std::size_t length = 0;
    for (std::size_t index = 0; index < kLengthBytes; ++index) {
      length = length << 8U | static_cast<unsigned char>(buffer[begin + index]);
    }
    const std::size_t end = begin + kLengthBytes + length;
    return {.begin = begin + kLengthBytes, .end = end, .next = end, .is_whole = end <= buffer.size()};
  }

  Result<RawEvent> read(const Extent& extent) {
    const std::size_t size = extent.end - extent.begin;
    if (*is_framed) {
      return decode_protobuf_event({buffer.data() + extent.begin, size});
    }
    RawEvent event;
    const simdjson::padded_string_view text(buffer.data() + extent.begin, size, buffer.capacity() - extent.begin);
    if (const error_code error = read_event(parser, text, event)) {
      return fail(ErrorCode::kInvalid, std::string("not a watch event: ") + simdjson::error_message(error));
    }
    return event;
  }

  Result<bool> decode(const Extent& extent, const Consumer& consumer) {
    if (!*is_framed && buffer.find_first_not_of(" \t\r", extent.begin) >= extent.end) {
      return true;  // an empty line
    }
    const auto event = read(extent);
    if (!event) {
      return std::unexpected(event.error());
    }
    if (event->object.empty()) {
      return fail(ErrorCode::kInvalid, "not a watch event: it has no object");
    }
    if (event->type == "ERROR") {
      return std::unexpected(error_of(*event));
    }
    const auto type = message_type(event->type);
    if (!type) {
      return fail(ErrorCode::kInvalid, "not a watch event: it is of no known type");
    }
    return consumer({.type = *type,
                     .object = event->object,
                     .resource_version = event->resource_version,
                     .initial_events_end = *type == WatchMessageType::kBookmark && event->initial_events_end});
  }

  // Drops the first `bytes` of the buffer, and memory that only a large event needed.
  void consume(std::size_t bytes) {
    buffer.erase(0, bytes);
    scanned -= std::min(scanned, bytes);
    if (buffer.capacity() > kKeptBytes && buffer.size() < kKeptBytes / 2) {
      std::string smaller;
      smaller.reserve(buffer.size() + simdjson::SIMDJSON_PADDING);
      smaller = buffer;
      buffer.swap(smaller);
    }
    if (parser.capacity() > kKeptBytes) {
      parser = ondemand::parser();
    }
  }
};

WatchDecoder::WatchDecoder(std::size_t max_event_bytes)
    : impl_(std::make_unique<Impl>(Impl{.max_event_bytes = max_event_bytes})) {}
WatchDecoder::~WatchDecoder() = default;

std::size_t WatchDecoder::buffer_capacity() const {
  return impl_->buffer.capacity() + impl_->parser.capacity();
}

Result<void> WatchDecoder::feed(std::string_view chunk, const Consumer& consumer) {
  Impl& state = *impl_;
  state.buffer.append(chunk);
  state.buffer.reserve(state.buffer.size() + simdjson::SIMDJSON_PADDING);
  std::size_t begin = 0;
  for (;;) {
    const auto extent = state.find(begin);
    if (extent.end - extent.begin > state.max_event_bytes) {
      return fail(ErrorCode::kInvalid,
                  "not a watch event: more than " + std::to_string(state.max_event_bytes) + " bytes");
    }
    if (!extent.is_whole) {
      break;
    }
    const auto wants_more = state.decode(extent, consumer);
    if (!wants_more) {
      return std::unexpected(wants_more.error());
    }
    begin = extent.next;
    if (!*wants_more) {
      break;
    }
  }
  state.consume(begin);
  return {};
}

}  // namespace sharder::kube
