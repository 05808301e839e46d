#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <protozero/pbf_message.hpp>
#include <utility>
#include <vector>

#include "kube/codec/protobuf_internal.h"

namespace sharder::kube {

namespace {

// An envelope begins with these bytes (is_protobuf).
constexpr std::string_view kMagic("k8s\0", 4);

enum class Unknown : protozero::pbf_tag_type { kTypeMeta = 1, kRaw = 2, kContentEncoding = 3 };
enum class TypeMeta : protozero::pbf_tag_type { kKind = 2 };
enum class List : protozero::pbf_tag_type { kMetadata = 1, kItems = 2 };
enum class ListMeta : protozero::pbf_tag_type { kContinue = 3 };
enum class Object : protozero::pbf_tag_type { kMetadata = 1 };
enum class Meta : protozero::pbf_tag_type {
  kName = 1,
  kNamespace = 3,
  kUid = 5,
  kResourceVersion = 6,
  kLabels = 11,
  kAnnotations = 12,
  kOwnerReferences = 13
};
enum class MapEntry : protozero::pbf_tag_type { kKey = 1, kValue = 2 };
enum class Event : protozero::pbf_tag_type { kType = 1, kObject = 2 };
enum class RawExtension : protozero::pbf_tag_type { kRaw = 1 };
enum class StatusField : protozero::pbf_tag_type { kMetadata = 1, kMessage = 3, kReason = 4, kDetails = 5, kCode = 6 };
enum class StatusDetails : protozero::pbf_tag_type { kRetryAfterSeconds = 5 };
enum class Owner : protozero::pbf_tag_type { kKind = 1, kName = 3, kApiVersion = 5, kController = 6 };

template <class Tag>
using Message = protozero::pbf_message<Tag>;

constexpr auto kBytes = protozero::pbf_wire_type::length_delimited;

struct NotUtf8 : protozero::exception {
  const char* what() const noexcept override { return "text that is not UTF-8"; }
};

struct WrongType : protozero::exception {
  const char* what() const noexcept override { return "a field of another type than the API's"; }
};

template <class Tag>
void expect(const Message<Tag>& message, protozero::pbf_wire_type type) {
  if (message.wire_type() != type) {
    throw WrongType();
  }
}

template <class Tag>
std::string_view bytes(Message<Tag>& message) {
  expect(message, kBytes);
  const protozero::data_view view = message.get_view();
  return {view.data(), view.size()};
}

template <class Tag>
std::string_view text_view(Message<Tag>& message) {
  const std::string_view view = bytes(message);
  if (!simdjson::validate_utf8(view.data(), view.size())) {
    throw NotUtf8();
  }
  return view;
}

template <class Tag>
std::string text(Message<Tag>& message) {
  return std::string(text_view(message));
}

template <class Inner, class Tag>
Message<Inner> inner(Message<Tag>& message) {
  const std::string_view view = bytes(message);
  return Message<Inner>(view.data(), view.size());
}

template <class Tag>
std::int32_t number(Message<Tag>& message) {
  expect(message, protozero::pbf_wire_type::varint);
  return message.get_int32();
}

// Not get_bool(): in protozero 1.7 it reads one byte without a check for the end.
template <class Tag>
bool flag(Message<Tag>& message) {
  expect(message, protozero::pbf_wire_type::varint);
  return message.get_uint64() != 0;
}

struct Pair {
  std::string_view key;
  std::string_view value;
};

// A label or an annotation.
Pair read_pair(Message<MapEntry> entry) {
  Pair pair;
  while (entry.next()) {
    switch (entry.tag()) {
      case MapEntry::kKey:
        pair.key = text_view(entry);
        break;
      case MapEntry::kValue:
        pair.value = text_view(entry);
        break;
      default:
        entry.skip();
    }
  }
  return pair;
}

void read_label(const Pair& label, ObjectMeta& meta) {
  const auto known = std::ranges::find(meta.labels, label.key, &std::pair<std::string, std::string>::first);
  if (known == meta.labels.end()) {
    meta.labels.emplace_back(label.key, label.value);
  } else {
    known->second = label.value;
  }
}

void read_owner(Message<Owner> message, std::optional<OwnerReference>& controller) {
  OwnerReference owner;
  bool is_controller = false;
  while (message.next()) {
    switch (message.tag()) {
      case Owner::kKind:
        owner.kind = text(message);
        break;
      case Owner::kName:
        owner.name = text(message);
        break;
      case Owner::kApiVersion:
        owner.api_version = text(message);
        break;
      case Owner::kController:
        is_controller = flag(message);
        break;
      default:
        message.skip();
    }
  }
  if (is_controller && !controller) {
    controller = std::move(owner);
  }
}

void read_meta(Message<Meta> message, ObjectMeta& meta) {
  while (message.next()) {
    switch (message.tag()) {
      case Meta::kName:
        meta.name = text(message);
        break;
      case Meta::kNamespace:
        meta.object_namespace = text(message);
        break;
      case Meta::kUid:
        meta.uid = text(message);
        break;
      case Meta::kResourceVersion:
        meta.resource_version = text(message);
        break;
      case Meta::kLabels:
        read_label(read_pair(inner<MapEntry>(message)), meta);
        break;
      case Meta::kOwnerReferences:
        read_owner(inner<Owner>(message), meta.controller);
        break;
      default:
        message.skip();  // managedFields above all
    }
  }
}

Result<ObjectMeta> read_object(std::string_view message) try {
  ObjectMeta meta;
  Message<Object> object(message.data(), message.size());
  while (object.next(Object::kMetadata)) {
    read_meta(inner<Meta>(object), meta);
  }
  if (meta.name.empty()) {
    return fail(ErrorCode::kInvalid, "not an object: it has no name");
  }
  return meta;
} catch (const protozero::exception& exception) {
  return fail(ErrorCode::kInvalid, std::string("not an object: ") + exception.what());
}

// The content of the envelope. kInvalid if its kind is not `kind`. Throws protozero::exception.
Result<std::string_view> open_envelope(std::string_view body, std::string_view kind) {
  if (!is_protobuf(body)) {
    return fail(ErrorCode::kInvalid, "it has no envelope");
  }
  std::optional<std::string_view> raw;
  std::string found;
  Message<Unknown> unknown(body.data() + kMagic.size(), body.size() - kMagic.size());
  while (unknown.next()) {
    switch (unknown.tag()) {
      case Unknown::kTypeMeta: {
        auto type = inner<TypeMeta>(unknown);
        while (type.next(TypeMeta::kKind)) {
          found = text(type);
        }
        break;
      }
      case Unknown::kRaw:
        raw = bytes(unknown);
        break;
      case Unknown::kContentEncoding:
        if (!bytes(unknown).empty()) {
          return fail(ErrorCode::kInvalid, "it is compressed");
        }
        break;
      default:
        unknown.skip();
    }
  }
  if (found != kind) {
    return fail(ErrorCode::kInvalid, "kind \"" + found.substr(0, 64) + "\" instead of " + std::string(kind));
  }
  if (!raw) {
    return fail(ErrorCode::kInvalid, "it is cut off");
  }
  return *raw;
}

void read_annotation(const Pair& annotation, RawEvent& event) {
  if (annotation.key == kInitialEventsEnd) {
    event.initial_events_end = annotation.value == "true";
  }
}

void read_event_metadata(Message<Meta> message, RawEvent& event) {
  while (message.next()) {
    switch (message.tag()) {
      case Meta::kResourceVersion:
        event.resource_version = text_view(message);
        break;
      case Meta::kAnnotations: {
        const auto annotation = inner<MapEntry>(message);
        if (event.type == "BOOKMARK") {  // objects' own annotations can be long
          read_annotation(read_pair(annotation), event);
        }
        break;
      }
      default:
        message.skip();
    }
  }
}

std::string read_continue_token(Message<ListMeta> message) {
  std::string token;
  while (message.next(ListMeta::kContinue)) {
    token = text(message);
  }
  return token;
}

std::chrono::seconds read_retry_after(Message<StatusDetails> message) {
  std::int32_t seconds = 0;
  while (message.next(StatusDetails::kRetryAfterSeconds)) {
    seconds = number(message);
  }
  return std::clamp(std::chrono::seconds(seconds), std::chrono::seconds(0), Status::kMaxRetryAfter);
}

}  // namespace

bool is_protobuf(std::string_view body) {
  return body.starts_with(kMagic);
}

Result<ObjectMeta> decode_protobuf_object(std::string_view body) try {
  const auto raw = open_envelope(body, "PartialObjectMetadata");
  return raw ? read_object(*raw) : fail("not an object", raw.error());
} catch (const protozero::exception& exception) {
  return fail(ErrorCode::kInvalid, std::string("not an object: ") + exception.what());
}

Result<std::string> decode_protobuf_list(std::string_view body,
                                         const std::function<void(const Result<ObjectMeta>&)>& consumer) try {
  const auto raw = open_envelope(body, "PartialObjectMetadataList");
  if (!raw) {
    return fail("not a list", raw.error());
  }
  std::string continue_token;
  std::vector<std::string_view> items;
  Message<List> list(raw->data(), raw->size());
  while (list.next()) {
    switch (list.tag()) {
      case List::kMetadata:
        continue_token = read_continue_token(inner<ListMeta>(list));
        break;
      case List::kItems:
        items.push_back(bytes(list));
        break;
      default:
        list.skip();
    }
  }
  for (const std::string_view item : items) {
    consumer(read_object(item));
  }
  return continue_token;
} catch (const protozero::exception& exception) {
  return fail(ErrorCode::kInvalid, std::string("not a list: ") + exception.what());
}

Result<RawEvent> decode_protobuf_event(std::string_view frame) try {
  RawEvent event;
  Message<Event> message(frame.data(), frame.size());
  while (message.next()) {
    switch (message.tag()) {
      case Event::kType:
        event.type = text_view(message);
        break;
      case Event::kObject: {
        auto extension = inner<RawExtension>(message);
        while (extension.next(RawExtension::kRaw)) {
          event.object = bytes(extension);
        }
        break;
      }
      default:
        message.skip();
    }
  }
  if (event.type == "ERROR") {
    return event;
  }
  const auto raw = open_envelope(event.object, "PartialObjectMetadata");
  if (!raw) {
    return fail("not a watch event", raw.error());
  }
  Message<Object> object(raw->data(), raw->size());
  while (object.next(Object::kMetadata)) {
    read_event_metadata(inner<Meta>(object), event);
  }
  return event;
} catch (const protozero::exception& exception) {
  return fail(ErrorCode::kInvalid, std::string("not a watch event: ") + exception.what());
}

Result<Status> decode_protobuf_status(std::string_view body) try {
  const auto raw = open_envelope(body, "Status");
  if (!raw) {
    return fail("not a Status", raw.error());
  }
  Status status;
  Message<StatusField> message(raw->data(), raw->size());
  while (message.next()) {
    switch (message.tag()) {
      case StatusField::kMetadata:
        status.continue_token = read_continue_token(inner<ListMeta>(message));
        break;
      case StatusField::kMessage:
        status.message = text(message);
        break;
      case StatusField::kReason:
        status.reason = text(message);
        break;
      case StatusField::kDetails:
        status.retry_after = read_retry_after(inner<StatusDetails>(message));
        break;
      case StatusField::kCode:
        status.code = number(message);
        break;
      default:
        message.skip();
    }
  }
  return status;
} catch (const protozero::exception& exception) {
  return fail(ErrorCode::kInvalid, std::string("not a Status: ") + exception.what());
}

}  // namespace sharder::kube
