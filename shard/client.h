#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "shard/object.h"

namespace sharder::shard {

// What an API server is asked for by a reconcile function. Calls block until the answer has come, `timeout` (10 s)
// at most. Objects are whole JSON objects; names, namespaces and kinds are read from them. Safe from any thread.
//
// Every write is refused locally, with kCancelled, once the shard's Lease is not valid any more: nothing is sent then
// (decision 9 says what this guarantees and what it does not). Reads are never refused.
// Errors carry the code for the caller, and name method, path and reason.
class Client {
 public:
  virtual ~Client() = default;

  virtual Result<nlohmann::json> get(const ResourceName& resource, const ObjectName& object) = 0;
  // All objects, read in pages. `object_namespace` "": of all namespaces. `label_selector` as kubectl takes it.
  virtual Result<std::vector<nlohmann::json>> list(const ResourceName& resource, std::string_view object_namespace,
                                                   std::string_view label_selector = {}) = 0;

  // kExists when there is one of this name. Needs metadata.name or metadata.generateName.
  virtual Result<nlohmann::json> create(const ResourceName& resource, const nlohmann::json& object) = 0;
  // Replaces the object. It carries its resourceVersion: kConflict when somebody has changed it since; kInvalid, and
  // nothing is sent, when it has none.
  virtual Result<nlohmann::json> update(const ResourceName& resource, const nlohmann::json& object) = 0;
  virtual Result<nlohmann::json> update_status(const ResourceName& resource, const nlohmann::json& object) = 0;
  // A merge patch (RFC 7396) of `object`, with its resourceVersion as precondition, as in update().
  virtual Result<nlohmann::json> patch(const ResourceName& resource, const nlohmann::json& object,
                                       const nlohmann::json& changes) = 0;
  virtual Result<nlohmann::json> patch_status(const ResourceName& resource, const nlohmann::json& object,
                                              const nlohmann::json& changes) = 0;
  // Server-side apply as the field manager that the shard was made with (its user agent up to "/"). Creates the object
  // if there is none; a resourceVersion in it is a precondition. Without `force`, a field that another manager has
  // changed is a kConflict each time; with it, the field is taken over: right for objects that the controller owns.
  virtual Result<nlohmann::json> apply(const ResourceName& resource, const nlohmann::json& object,
                                       bool force = false) = 0;
  // Deletes this object and no later one of its name: uid and resourceVersion are preconditions. kNotFound when it is
  // gone.
  virtual Result<void> remove(const ResourceName& resource, const nlohmann::json& object) = 0;
};

}  // namespace sharder::shard
