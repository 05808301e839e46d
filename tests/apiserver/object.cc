#include "tests/apiserver/object.h"

#include <utility>

namespace sharder::apiserver {

Labels labels_of(const nlohmann::json& object) {
  Labels labels;
  if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object()) {
    if (const auto found = metadata->find("labels"); found != metadata->end() && found->is_object()) {
      for (const auto& [key, value] : found->items()) {
        if (value.is_string()) {
          labels.emplace(key, value.get<std::string>());
        }
      }
    }
  }
  return labels;
}

std::string metadata_string(const nlohmann::json& object, const char* field) {
  if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object()) {
    if (const auto found = metadata->find(field); found != metadata->end() && found->is_string()) {
      return found->get<std::string>();
    }
  }
  return {};
}

Object::Object(nlohmann::json body, std::uint64_t version)
    : version_(version),
      namespace_(metadata_string(body, "namespace")),
      name_(metadata_string(body, "name")),
      uid_(metadata_string(body, "uid")),
      labels_(labels_of(body)) {
  nlohmann::json metadata = std::move(body["metadata"]);
  metadata.erase("resourceVersion");
  metadata_ = metadata.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(1);
  body.erase("metadata");
  body.erase("apiVersion");
  body.erase("kind");
  rest_ = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(1);
}

Object Object::at_version(std::uint64_t version) const {
  Object result = *this;
  result.version_ = version;
  return result;
}

std::string Object::text(const Resource& resource, Form form, std::uint64_t version) const {
  std::string result;
  result.reserve(metadata_.size() + (form == Form::kMetadata ? 0 : rest_.size()) + 160);
  result = "{";
  if (form == Form::kMetadata) {
    result += R"("kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",)";
  } else if (form == Form::kFull || resource.custom) {
    result += R"("apiVersion":")" + resource.api_version() + R"(","kind":")" + resource.kind + "\",";
  }
  result += R"("metadata":{"resourceVersion":")" + std::to_string(version) + '"';
  if (metadata_ != "}") {
    result += ',';
  }
  result += metadata_;
  if (form == Form::kMetadata || rest_ == "}") {
    return result += '}';
  }
  return (result += ',') += rest_;
}

nlohmann::json Object::json(const Resource& resource) const {
  return nlohmann::json::parse(text(resource, Form::kFull));
}

}  // namespace sharder::apiserver
