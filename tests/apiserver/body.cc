#include "tests/apiserver/body.h"

#include <string>
#include <utility>

#include "base/base64.h"
#include "base/rfc3339.h"
#include "kube/codec/yaml.h"
#include "tests/apiserver/protobuf_body.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

Status wrong_shape(const std::string& field, const char* expected) {
  return failure(400, "the object provided cannot be decoded: " + field + ": " + expected + " is expected");
}

bool all_strings(const json& object) {
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) {
      return false;
    }
  }
  return true;
}

Outcome<void> check_metadata(const json& metadata) {
  for (const char* field : {"name", "namespace", "generateName", "resourceVersion", "uid"}) {
    if (metadata.contains(field) && !metadata[field].is_string()) {
      return refuse(wrong_shape(std::string("metadata.") + field, "a string"));
    }
  }
  for (const char* field : {"labels", "annotations"}) {
    if (metadata.contains(field) && (!metadata[field].is_object() || !all_strings(metadata[field]))) {
      return refuse(wrong_shape(std::string("metadata.") + field, "a map of strings"));
    }
  }
  for (const char* field : {"ownerReferences", "finalizers", "managedFields"}) {
    if (metadata.contains(field) && !metadata[field].is_array()) {
      return refuse(wrong_shape(std::string("metadata.") + field, "a list"));
    }
  }
  for (const json& owner : metadata.value("ownerReferences", json::array())) {
    if (!owner.is_object()) {
      return refuse(wrong_shape("metadata.ownerReferences", "a list of objects"));
    }
  }
  for (const json& finalizer : metadata.value("finalizers", json::array())) {
    if (!finalizer.is_string()) {
      return refuse(wrong_shape("metadata.finalizers", "a list of strings"));
    }
  }
  return {};
}

bool is_micro_time(const std::string& text) {
  const std::size_t dot = text.find('.');
  constexpr std::string_view kDigits = "0123456789";
  const std::size_t end = text.find_first_not_of(kDigits, dot == std::string::npos ? 0 : dot + 1);
  return parse_rfc3339(text) && dot != std::string::npos && end == dot + 7;
}

Outcome<void> check_base64(const json& object, const char* field) {
  const json data = object.value(field, json::object());
  for (const auto& [key, value] : data.items()) {
    if (!value.is_null() && !(value.is_string() && decode_base64(value.get_ref<const std::string&>()))) {
      return refuse(wrong_shape(std::string(field) + "." + key, "base64"));
    }
  }
  return {};
}

Outcome<void> check_bundles(const json& object) {
  for (const json& webhook : object.value("webhooks", json::array())) {
    const json config = webhook.is_object() ? webhook.value("clientConfig", json::object()) : json::object();
    const json bundle = config.is_object() ? config.value("caBundle", json()) : json();
    if (bundle.is_string() && !decode_base64(bundle.get_ref<const std::string&>())) {
      return refuse(wrong_shape("webhooks.clientConfig.caBundle", "base64"));
    }
  }
  return {};
}

Outcome<void> check_lease(const json& object) {
  const json spec = object.value("spec", json::object());
  if (!spec.is_object()) {
    return refuse(wrong_shape("spec", "an object"));
  }
  for (const char* field : {"acquireTime", "renewTime"}) {
    if (spec.contains(field) && !spec[field].is_null() && !(spec[field].is_string() && is_micro_time(spec[field]))) {
      return refuse(wrong_shape(std::string("spec.") + field, "an RFC 3339 time with six decimals"));
    }
  }
  for (const char* field : {"leaseDurationSeconds", "leaseTransitions"}) {
    if (spec.contains(field) && !spec[field].is_null() && !spec[field].is_number_integer()) {
      return refuse(wrong_shape(std::string("spec.") + field, "an integer"));
    }
  }
  if (spec.contains("holderIdentity") && !spec["holderIdentity"].is_null() && !spec["holderIdentity"].is_string()) {
    return refuse(wrong_shape("spec.holderIdentity", "a string"));
  }
  return {};
}

void drop_nulls(json& object) {
  for (auto member = object.begin(); member != object.end();) {
    member = member->is_null() ? object.erase(member) : std::next(member);
  }
}

}  // namespace

Outcome<json> parse_yaml(std::string_view text) {
  auto document = kube::parse_yaml(text);
  if (!document) {
    return refuse(failure(400, "error decoding YAML: " + document.error().message));
  }
  return std::move(document->value);
}

Outcome<json> parse_body(const Request& request) {
  const std::string type = request.content_type.substr(0, request.content_type.find(';'));
  if (type == kProtobuf) {
    return parse_protobuf(request.body);
  }
  const bool yaml = type.ends_with("yaml");
  if (!yaml && !type.empty() && !type.ends_with("json")) {
    Status status = failure(415,
                            "the body of the request was in an unknown format - accepted media types include: "
                            "application/json, application/yaml, application/vnd.kubernetes.protobuf");
    return refuse(std::move(status));
  }
  json body = json::parse(request.body, nullptr, false);
  if (!body.is_discarded()) {
    return body;
  }
  return yaml ? parse_yaml(request.body)
              : Outcome<json>(refuse(failure(400, "the object provided is unrecognized: it is no valid JSON")));
}

Outcome<json> checked_object(json object, const Resource& resource) {
  if (!object.is_object()) {
    return refuse(failure(400, "the object provided is unrecognized: an object is expected"));
  }
  for (const char* field : {"apiVersion", "kind"}) {
    if (object.contains(field) && !object[field].is_string()) {
      return refuse(wrong_shape(field, "a string"));
    }
  }
  if (resource.custom && (!object.contains("apiVersion") || !object.contains("kind"))) {
    return refuse(failure(400, "Object 'Kind' or 'apiVersion' is missing"));
  }
  if (const std::string version = object.value("apiVersion", resource.api_version());
      version != resource.api_version()) {
    return refuse(failure(400, "the API version in the data (" + version +
                                   ") does not match the expected API version (" + resource.api_version() + ")"));
  }
  if (const std::string kind = object.value("kind", resource.kind); kind != resource.kind) {
    return refuse(
        failure(400, "the kind in the data (" + kind + ") does not match the expected kind (" + resource.kind + ")"));
  }
  object["apiVersion"] = resource.api_version();
  object["kind"] = resource.kind;
  json& metadata = object["metadata"];
  if (metadata.is_null()) {
    metadata = json::object();
  }
  if (!metadata.is_object()) {
    return refuse(wrong_shape("metadata", "an object"));
  }
  drop_nulls(metadata);
  if (auto wrong = check_metadata(metadata); !wrong) {
    return refuse(wrong.error());
  }
  const bool secret = resource.plural == "secrets" && resource.group.empty();
  if (auto wrong = secret ? check_base64(object, "data") : Outcome<void>(); !wrong) {
    return refuse(wrong.error());
  }
  const bool webhooks = resource.group == "admissionregistration.k8s.io";
  if (auto wrong = webhooks ? check_bundles(object) : Outcome<void>(); !wrong) {
    return refuse(wrong.error());
  }
  if (resource.plural == "leases" && resource.group == "coordination.k8s.io") {
    if (auto wrong = check_lease(object); !wrong) {
      return refuse(wrong.error());
    }
    if (object.contains("spec")) {
      drop_nulls(object["spec"]);
      for (const char* field : {"acquireTime", "renewTime"}) {
        if (object["spec"].contains(field)) {
          object["spec"][field] = format_micro_time(*parse_rfc3339(object["spec"][field].get<std::string>()));
        }
      }
    }
  }
  for (const char* field : {"labels", "annotations", "ownerReferences", "finalizers"}) {
    if (metadata.contains(field) && metadata[field].empty()) {
      metadata.erase(field);
    }
  }
  return object;
}

}  // namespace sharder::apiserver
