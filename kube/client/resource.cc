#include "kube/client/resource.h"

#include <nlohmann/json.hpp>

#include "base/ascii.h"

namespace sharder::kube {

namespace {

bool is_unreserved(char c) {
  return is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void append_encoded(std::string& out, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

void append_part(std::string& out, std::string_view part) {
  if (!part.empty()) {
    out += '/';
    append_encoded(out, part);
  }
}

}  // namespace

std::string percent_encode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  append_encoded(out, text);
  return out;
}

std::string path(const Resource& resource, std::string_view object_namespace, std::string_view name,
                 std::string_view subresource, Query query) {
  std::string out = resource.group.empty() ? "/api" : "/apis";
  append_part(out, resource.group);
  append_part(out, resource.version);
  if (!object_namespace.empty()) {
    out += "/namespaces";
    append_part(out, object_namespace);
  }
  append_part(out, resource.plural);
  append_part(out, name);
  append_part(out, subresource);
  char separator = '?';
  for (const auto& [key, value] : query) {
    if (!value.empty()) {
      out += separator;
      append_encoded(out, key);
      out += '=';
      append_encoded(out, value);
      separator = '&';
    }
  }
  return out;
}

Request get_request(const Resource& resource, std::string_view object_namespace, std::string_view name) {
  return {.method = Method::kGet, .target = path(resource, object_namespace, name)};
}

Request create_request(const Resource& resource, std::string_view object_namespace, std::string body,
                       std::string_view field_manager) {
  return {.method = Method::kPost,
          .target = path(resource, object_namespace, {}, {}, {{"fieldManager", field_manager}}),
          .body = std::move(body),
          .content_type = "application/json"};
}

Request update_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                       std::string_view subresource, const VersionedObject& object, std::string_view field_manager) {
  return {.method = Method::kPut,
          .target = path(resource, object_namespace, name, subresource, {{"fieldManager", field_manager}}),
          .body = object.text(),
          .content_type = "application/json"};
}

Request patch_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                      std::string_view content_type, std::string body, std::string_view field_manager,
                      std::string_view subresource) {
  return {.method = Method::kPatch,
          .target = path(resource, object_namespace, name, subresource, {{"fieldManager", field_manager}}),
          .body = std::move(body),
          .content_type = std::string(content_type)};
}

Request apply_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                      std::string body, std::string_view field_manager, bool force) {
  return {.method = Method::kPatch,
          .target = path(resource, object_namespace, name, {},
                         {{"fieldManager", field_manager}, {"force", force ? "true" : ""}}),
          .body = std::move(body),
          .content_type = std::string(kApplyPatch)};
}

Request delete_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                       std::string_view uid, const Precondition& precondition) {
  nlohmann::json preconditions{{"resourceVersion", precondition.resource_version()}};
  if (!uid.empty()) {
    preconditions["uid"] = uid;
  }
  const nlohmann::json options{
      {"kind", "DeleteOptions"}, {"apiVersion", "v1"}, {"preconditions", std::move(preconditions)}};
  return {.method = Method::kDelete,
          .target = path(resource, object_namespace, name),
          .body = options.dump(),
          .content_type = "application/json"};
}

}  // namespace sharder::kube
