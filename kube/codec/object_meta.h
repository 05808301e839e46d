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

// The fields of an object's metadata (metav1.ObjectMeta) that we use. Absent fields are "".
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

// Reads the metadata of objects, whole ones or PartialObjectMetadata. Keeps a parser and a buffer: each thread that
// reads many objects has one of its own.
class ObjectMetaDecoder {
 public:
  ObjectMetaDecoder();
  ~ObjectMetaDecoder();
  ObjectMetaDecoder(const ObjectMetaDecoder&) = delete;
  ObjectMetaDecoder& operator=(const ObjectMetaDecoder&) = delete;

  // `object` is JSON, or the answer to a request with kCompactMetadata or kCompactMetadataWatch
  // (kube/client/resource.h). kInvalid: not an object, a field of another type than in the API, or no name. Unknown
  // fields are skipped.
  Result<ObjectMeta> decode(std::string_view object);

  // `page` is one page of a list, in JSON or as the answer to kCompactMetadataList (kube/client/resource.h). Calls
  // `consumer` with each object, or with the reason why it is not one. Returns the continue token, "" on the last page.
  // kInvalid: `page` is not a list, and `consumer` was not called. `page` may be moved, as by decode_list_page()
  // (kube/codec/list_page.h).
  Result<std::string> decode_list(std::string& page, const std::function<void(const Result<ObjectMeta>&)>& consumer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
