#pragma once

#include <nlohmann/json.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>

// Objects and lists as kube-apiserver writes their metadata in protobuf (compare tests/testdata/metadata).
namespace sharder::testing {

inline std::string in_envelope(const std::string& kind, const std::string& message,
                               const std::string& content_encoding = "") {
  std::string body("k8s\0", 4);
  protozero::pbf_writer unknown(body);
  {
    protozero::pbf_writer type(unknown, 1);
    type.add_string(1, "meta.k8s.io/v1");
    type.add_string(2, kind);
  }
  unknown.add_bytes(2, message);
  unknown.add_string(3, content_encoding);
  return body;
}

// A PartialObjectMetadata without its envelope.
inline std::string metadata_message(const nlohmann::json& object) {
  const nlohmann::json& metadata = object.at("metadata");
  std::string bytes;
  protozero::pbf_writer fields(bytes);
  fields.add_string(1, metadata.value("name", ""));
  fields.add_string(3, metadata.value("namespace", ""));
  fields.add_string(5, metadata.value("uid", ""));
  fields.add_string(6, metadata.value("resourceVersion", ""));
  const auto labels = metadata.value("labels", nlohmann::json::object());
  for (const auto& [key, value] : labels.items()) {
    protozero::pbf_writer label(fields, 11);
    label.add_string(1, key);
    label.add_string(2, value.get<std::string>());
  }
  const auto annotations = metadata.value("annotations", nlohmann::json::object());
  for (const auto& [key, value] : annotations.items()) {
    protozero::pbf_writer annotation(fields, 12);
    annotation.add_string(1, key);
    annotation.add_string(2, value.get<std::string>());
  }
  const auto references = metadata.value("ownerReferences", nlohmann::json::array());
  for (const nlohmann::json& reference : references) {
    protozero::pbf_writer owner(fields, 13);
    owner.add_string(1, reference.value("kind", ""));
    owner.add_string(3, reference.value("name", ""));
    owner.add_string(5, reference.value("apiVersion", ""));
    owner.add_bool(6, reference.value("controller", false));
  }
  std::string message;
  protozero::pbf_writer(message).add_message(1, bytes);
  return message;
}

inline std::string protobuf_object(const nlohmann::json& object) {
  return in_envelope("PartialObjectMetadata", metadata_message(object));
}

// One event of a watch, with its length before it.
inline std::string protobuf_event(const std::string& type, const std::string& object) {
  std::string raw;
  protozero::pbf_writer(raw).add_bytes(1, object);
  std::string event;
  protozero::pbf_writer fields(event);
  fields.add_string(1, type);
  fields.add_message(2, raw);
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8) {
    frame += static_cast<char>(event.size() >> static_cast<unsigned>(shift));
  }
  return frame + event;
}

inline std::string protobuf_list(const nlohmann::json& list) {
  std::string message;
  protozero::pbf_writer fields(message);
  {
    protozero::pbf_writer metadata(fields, 1);
    metadata.add_string(2, list.at("metadata").value("resourceVersion", ""));
    metadata.add_string(3, list.at("metadata").value("continue", ""));
  }
  for (const nlohmann::json& item : list.at("items")) {
    fields.add_message(2, metadata_message(item));
  }
  return in_envelope("PartialObjectMetadataList", message);
}

}  // namespace sharder::testing
