#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sharder::kube {

// Makes of an object's JSON what a cache keeps: without metadata.managedFields, which nobody reads and which may be
// half of it, and without apiVersion and kind. Those two are known, and items of lists do not have them: so an object
// is the same text, whether a list or a watch has brought it. All else stays as the API server wrote it.
//
// Keeps a parser and a buffer: each thread that reads many objects has one of its own.
class ObjectStripper {
 public:
  ObjectStripper();
  ~ObjectStripper();
  ObjectStripper(const ObjectStripper&) = delete;
  ObjectStripper& operator=(const ObjectStripper&) = delete;

  // kInvalid: not JSON, not an object, or its metadata is none. What comes back is valid JSON in every part.
  Result<std::string> strip(std::string_view object);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
