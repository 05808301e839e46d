#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/apiserver/resource.h"
#include "tests/apiserver/status.h"

namespace sharder::apiserver {

// A write on its way to the store.
struct AdmissionInput {
  const Resource* resource = nullptr;
  std::string operation = {};  // CREATE, UPDATE, DELETE
  std::string object_namespace = {};
  std::string name = {};  // "" when the server is to make it
  std::string subresource = {};
  nlohmann::json object = {};      // null: DELETE
  nlohmann::json old_object = {};  // null: CREATE
  bool dry_run = false;
  std::string manager = {};  // the parameter fieldManager
  std::string user = {};
};

// What may change or refuse a write before it is stored. Safe from any thread.
class Admission {
 public:
  virtual ~Admission() = default;
  // The object as it is to be.
  virtual Outcome<nlohmann::json> admit(AdmissionInput input) = 0;
};

}  // namespace sharder::apiserver
