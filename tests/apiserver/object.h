#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tests/apiserver/resource.h"

namespace sharder::apiserver {

using Labels = std::map<std::string, std::string>;

// How an object is shown.
enum class Form {
  kFull,      // with apiVersion and kind
  kListItem,  // in a list: built-in kinds go without apiVersion and kind there
  kMetadata,  // metav1.PartialObjectMetadata
};

// One version of one object: immutable, kept as JSON text, with what selectors need beside it. The resourceVersion is
// not part of the text, so that a version can be shown with another one: the event of a deletion carries the version
// at which the object went.
class Object {
 public:
  // `body` is the object, metadata.resourceVersion is ignored.
  Object(nlohmann::json body, std::uint64_t version);

  // The same object with another resourceVersion.
  Object at_version(std::uint64_t version) const;

  std::uint64_t version() const { return version_; }
  const std::string& object_namespace() const { return namespace_; }
  const std::string& name() const { return name_; }
  const std::string& uid() const { return uid_; }
  const Labels& labels() const { return labels_; }

  // JSON text. `resource` gives apiVersion and kind.
  std::string text(const Resource& resource, Form form) const { return text(resource, form, version_); }
  std::string text(const Resource& resource, Form form, std::uint64_t version) const;
  nlohmann::json json(const Resource& resource) const;

 private:
  std::uint64_t version_;
  std::string namespace_;
  std::string name_;
  std::string uid_;
  Labels labels_;
  std::string metadata_;  // the members of metadata without resourceVersion: `"name":"a"}`
  std::string rest_;      // the members beside apiVersion, kind and metadata: `"data":{}}`, or `}`
};

using ObjectPtr = std::shared_ptr<const Object>;

// The labels of metadata.labels that are strings.
Labels labels_of(const nlohmann::json& object);

// The string at metadata.<field>, or "".
std::string metadata_string(const nlohmann::json& object, const char* field);

}  // namespace sharder::apiserver
