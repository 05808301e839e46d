#include "tests/apiserver/protobuf_body.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <protozero/pbf_reader.hpp>
#include <span>
#include <string>

#include "base/base64.h"
#include "base/clock.h"
#include "base/rfc3339.h"

namespace sharder::apiserver {

using nlohmann::json;
using protozero::pbf_reader;

namespace {

enum class Type { kString, kInteger, kBool, kBytes, kJson, kTime, kMicroTime, kMessage, kStringMap, kBytesMap };
// What the generated Go code writes: always, also when it is empty (then JSON leaves it out), only when it is set (then
// JSON has it even when it is empty), or for each element of a list.
enum class Presence { kAlways, kSet, kList };

struct Field {
  std::uint32_t tag;
  const char* name;
  Type type = Type::kString;
  Presence presence = Presence::kAlways;
  std::span<const Field> message = {};
};

// From generated.proto of k8s.io/apimachinery and k8s.io/api.
constexpr Field kOwnerReference[] = {
    {1, "kind"},
    {3, "name"},
    {4, "uid"},
    {5, "apiVersion"},
    {6, "controller", Type::kBool, Presence::kSet},
    {7, "blockOwnerDeletion", Type::kBool, Presence::kSet},
};
constexpr Field kFieldsV1[] = {{1, "raw", Type::kJson}};
constexpr Field kManagedFields[] = {
    {1, "manager"},           {2, "operation"},  {3, "apiVersion"},
    {4, "time", Type::kTime}, {6, "fieldsType"}, {7, "fieldsV1", Type::kMessage, Presence::kSet, kFieldsV1},
    {8, "subresource"},
};
constexpr Field kObjectMeta[] = {
    {1, "name"},
    {2, "generateName"},
    {3, "namespace"},
    {4, "selfLink"},
    {5, "uid"},
    {6, "resourceVersion"},
    {7, "generation", Type::kInteger},
    {8, "creationTimestamp", Type::kTime},
    {9, "deletionTimestamp", Type::kTime},
    {10, "deletionGracePeriodSeconds", Type::kInteger, Presence::kSet},
    {11, "labels", Type::kStringMap},
    {12, "annotations", Type::kStringMap},
    {13, "ownerReferences", Type::kMessage, Presence::kList, kOwnerReference},
    {14, "finalizers", Type::kString, Presence::kList},
    {17, "managedFields", Type::kMessage, Presence::kList, kManagedFields},
};
constexpr Field kLeaseSpec[] = {
    {1, "holderIdentity", Type::kString, Presence::kSet},
    {2, "leaseDurationSeconds", Type::kInteger, Presence::kSet},
    {3, "acquireTime", Type::kMicroTime},
    {4, "renewTime", Type::kMicroTime},
    {5, "leaseTransitions", Type::kInteger, Presence::kSet},
    {6, "strategy", Type::kString, Presence::kSet},
    {7, "preferredHolder", Type::kString, Presence::kSet},
};
constexpr Field kLease[] = {
    {1, "metadata", Type::kMessage, Presence::kSet, kObjectMeta},
    {2, "spec", Type::kMessage, Presence::kSet, kLeaseSpec},
};
constexpr Field kConfigMap[] = {
    {1, "metadata", Type::kMessage, Presence::kSet, kObjectMeta},
    {2, "data", Type::kStringMap},
    {3, "binaryData", Type::kBytesMap},
    {4, "immutable", Type::kBool, Presence::kSet},
};
constexpr Field kSecret[] = {
    {1, "metadata", Type::kMessage, Presence::kSet, kObjectMeta},
    {2, "data", Type::kBytesMap},
    {3, "type"},
    {4, "stringData", Type::kStringMap},
    {5, "immutable", Type::kBool, Presence::kSet},
};
constexpr Field kObjectReference[] = {
    {1, "kind"}, {2, "namespace"}, {3, "name"}, {4, "uid"}, {5, "apiVersion"}, {6, "resourceVersion"}, {7, "fieldPath"},
};
constexpr Field kEventSource[] = {{1, "component"}, {2, "host"}};
constexpr Field kEventSeries[] = {{1, "count", Type::kInteger}, {2, "lastObservedTime", Type::kMicroTime}};
constexpr Field kEvent[] = {
    {1, "metadata", Type::kMessage, Presence::kSet, kObjectMeta},
    {2, "involvedObject", Type::kMessage, Presence::kSet, kObjectReference},
    {3, "reason"},
    {4, "message"},
    {5, "source", Type::kMessage, Presence::kSet, kEventSource},
    {6, "firstTimestamp", Type::kTime},
    {7, "lastTimestamp", Type::kTime},
    {8, "count", Type::kInteger},
    {9, "type"},
    {10, "eventTime", Type::kMicroTime},
    {11, "series", Type::kMessage, Presence::kSet, kEventSeries},
    {12, "action"},
    {13, "related", Type::kMessage, Presence::kSet, kObjectReference},
    {14, "reportingComponent"},
    {15, "reportingInstance"},
};
constexpr Field kPreconditions[] = {
    {1, "uid", Type::kString, Presence::kSet},
    {2, "resourceVersion", Type::kString, Presence::kSet},
};
constexpr Field kDeleteOptions[] = {
    {1, "gracePeriodSeconds", Type::kInteger, Presence::kSet},
    {2, "preconditions", Type::kMessage, Presence::kSet, kPreconditions},
    {3, "orphanDependents", Type::kBool, Presence::kSet},
    {4, "propagationPolicy", Type::kString, Presence::kSet},
    {5, "dryRun", Type::kString, Presence::kList},
};

struct KnownKind {
  std::string_view api_version;  // "" for any
  std::string_view kind;
  std::span<const Field> message;
};
constexpr KnownKind kKinds[] = {
    {"coordination.k8s.io/v1", "Lease", kLease},
    {"v1", "ConfigMap", kConfigMap},
    {"v1", "Secret", kSecret},
    {"v1", "Event", kEvent},
    {"", "DeleteOptions", kDeleteOptions},
};

// Thrown by read() and caught in parse_protobuf(), as protozero's own exceptions.
struct UnknownField final : std::exception {
  explicit UnknownField(std::uint32_t tag) : text("field " + std::to_string(tag) + " is not known") {}
  const char* what() const noexcept override { return text.c_str(); }
  std::string text;
};

json read_time(pbf_reader message, bool micro) {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
  bool is_set = false;
  while (message.next()) {
    is_set = true;
    if (message.tag() == 1) {
      seconds = message.get_int64();
    } else if (message.tag() == 2) {
      nanos = message.get_int32();
    } else {
      throw UnknownField(message.tag());
    }
  }
  if (!is_set) {
    return nullptr;  // Go's zero time
  }
  const WallTime time{std::chrono::seconds(seconds) + std::chrono::microseconds(nanos / 1000)};
  return micro ? format_micro_time(time) : format_time(time);
}

void read_map_entry(pbf_reader entry, bool bytes, json& map) {
  std::string key;
  std::string value;
  while (entry.next()) {
    std::string& part = entry.tag() == 1 ? key : value;  // the tag is forgotten by the read
    part = entry.get_bytes();
  }
  map[key] = bytes ? encode_base64(value) : value;
}

json read(pbf_reader message, std::span<const Field> fields);

json read_value(pbf_reader& message, const Field& field) {
  switch (field.type) {
    case Type::kString:
      return message.get_string();
    case Type::kInteger:
      return message.get_int64();
    case Type::kBool:
      return message.get_bool();
    case Type::kBytes:
      return encode_base64(message.get_bytes());
    case Type::kJson:
      return json::parse(message.get_bytes(), nullptr, false);
    case Type::kTime:
    case Type::kMicroTime:
      return read_time(message.get_message(), field.type == Type::kMicroTime);
    default:
      return read(message.get_message(), field.message);
  }
}

bool is_empty(const json& value) {
  return value.is_null() || value == "" || value == 0 || value == false;
}

void read_field(pbf_reader& message, const Field& field, json& object) {
  if (field.type == Type::kStringMap || field.type == Type::kBytesMap) {
    read_map_entry(message.get_message(), field.type == Type::kBytesMap, object[field.name]);
    return;
  }
  json value = read_value(message, field);
  if (field.presence == Presence::kList) {
    object[field.name].push_back(std::move(value));
  } else if (field.presence == Presence::kSet ? !value.is_null() : !is_empty(value)) {
    object[field.name] = std::move(value);
  }
}

json read(pbf_reader message, std::span<const Field> fields) {
  if (fields.data() == kFieldsV1) {  // JSON has its content in its place
    return message.next(1) ? read_value(message, kFieldsV1[0]) : json::object();
  }
  json object = json::object();
  while (message.next()) {
    const auto field = std::ranges::find(fields, message.tag(), &Field::tag);
    if (field == fields.end()) {
      throw UnknownField(message.tag());
    }
    read_field(message, *field, object);
  }
  return object;
}

// runtime.Unknown
struct Envelope {
  std::string api_version;
  std::string kind;
  std::string raw;
};

Envelope open(std::string_view body) {
  Envelope envelope;
  pbf_reader unknown(body.data(), body.size());
  while (unknown.next()) {
    if (unknown.tag() == 1) {
      pbf_reader type = unknown.get_message();
      while (type.next()) {
        std::string& part = type.tag() == 1 ? envelope.api_version : envelope.kind;
        part = type.get_string();
      }
    } else if (unknown.tag() == 2) {
      envelope.raw = unknown.get_bytes();
    } else {
      unknown.skip();
    }
  }
  return envelope;
}

}  // namespace

Outcome<json> parse_protobuf(std::string_view body) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (!body.starts_with(kMagic)) {
    return refuse(failure(400, "the object provided is unrecognized: it does not begin as protobuf does"));
  }
  try {
    const Envelope envelope = open(body.substr(kMagic.size()));
    const auto* known = std::ranges::find_if(kKinds, [&](const KnownKind& entry) {
      return entry.kind == envelope.kind && (entry.api_version.empty() || entry.api_version == envelope.api_version);
    });
    if (known == std::end(kKinds)) {
      return refuse(failure(415, "this server reads no " + envelope.kind + " of " + envelope.api_version +
                                     " in protobuf: send application/json"));
    }
    json object = read(pbf_reader(envelope.raw), known->message);
    object["apiVersion"] = envelope.api_version;
    object["kind"] = envelope.kind;
    return object;
  } catch (const std::exception& error) {
    return refuse(failure(400, std::string("the object provided is unrecognized: ") + error.what()));
  }
}

}  // namespace sharder::apiserver
