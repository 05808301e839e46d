#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sharder::kube {

// The ownerReference with controller=true, as it stands in the object.
struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  bool operator==(const OwnerReference&) const = default;
};

// What is used of an object's metadata (metav1.ObjectMeta). Absent fields are "".
struct ObjectMeta {
  std::string name;
  std::string object_namespace;  // "" for cluster-scoped objects
  std::string uid;
  std::string resource_version;
  std::vector<std::pair<std::string, std::string>> labels;  // in the order of the document
  std::optional<OwnerReference> controller;
  bool operator==(const ObjectMeta&) const = default;

  // The label's value; nullopt when the object has no such label.
  std::optional<std::string_view> label(std::string_view key) const;
};

// Reads the metadata of objects, whole ones or PartialObjectMetadata. Keeps its parser and a buffer: one for each
// thread that reads many.
class ObjectMetaDecoder {
 public:
  ObjectMetaDecoder();
  ~ObjectMetaDecoder();
  ObjectMetaDecoder(const ObjectMetaDecoder&) = delete;
  ObjectMetaDecoder& operator=(const ObjectMetaDecoder&) = delete;

  // JSON, or what a request with kCompactMetadata or kCompactMetadataWatch (kube/client/resource.h) shows. kInvalid: no
  // object, a field of another type than the API's, or no name. Unknown fields are skipped.
  Result<ObjectMeta> decode(std::string_view object);

  // One page of a list, in JSON or as kCompactMetadataList (kube/client/resource.h) was answered: shows `consumer` each
  // object, or why it is none. Gives the continue token, "" on the last page. kInvalid: no list; nothing was shown.
  // `page` is as that of decode_list_page() (kube/watch/watch_decoder.h).
  Result<std::string> decode_list(std::string& page, const std::function<void(const Result<ObjectMeta>&)>& consumer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
