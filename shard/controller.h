#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "shard/client.h"
#include "shard/object.h"

// What a controller watches, and what it does with it.
namespace sharder::shard {

// What becomes of an object whose reconciliation has succeeded.
struct Requeue {
  std::chrono::nanoseconds after{0};  // 0: it is reconciled when something changes; else also after this time
};

enum class EventType { kNormal, kWarning };

// One run of the reconcile function, for one main object. Lives as long as the run; one thread uses it.
class Reconciliation {
 public:
  virtual ~Reconciliation() = default;

  virtual const ObjectName& name() const = 0;
  // The main object as the cache had it when the run began: with this shard's label and without a drain label. Of a
  // resource that is watched with metadata_only it has apiVersion, kind and metadata alone. managedFields is left out.
  virtual const nlohmann::json& object() const = 0;
  // Objects of a controlled resource whose controller is the main object, from the cache.
  virtual std::vector<nlohmann::json> owned(const ResourceName& resource) const = 0;
  // An object of a controlled or other resource of this controller, from the cache; nullopt: it is not there.
  virtual std::optional<nlohmann::json> cached(const ResourceName& resource, const ObjectName& object) const = 0;

  virtual Client& client() const = 0;
  virtual const Logger& log() const = 0;
  // Stop is requested when the shard has to end. Return soon then, with an error or without.
  virtual std::stop_token stop() const = 0;
  // Records an Event of the main object.
  virtual void event(EventType type, std::string_view reason, std::string_view message) const = 0;
};

// Brings what belongs to one main object to the state that it asks for. Runs on a worker thread and may block; never
// for one object at the same time. An error, or an exception, is logged and counted, and the object is reconciled again
// after a pause that doubles with each failure in a row. `return {};` is a success; an error of the Client can be
// returned as it is, or with what was tried before it: `return fail("apply the ConfigMap", applied.error());`.
using Reconcile = std::function<Result<Requeue>(Reconciliation&)>;

// metadata.ownerReferences of an object of a controlled resource: `main` is its controller. The sharder then assigns it
// to the shard of `main`, Reconciliation::owned() has it, and it is deleted with `main`.
nlohmann::json owner_references(const nlohmann::json& main);

// Whether a change of an object is reason to reconcile. `before` is null for one that is new to this shard.
using Predicate = std::function<bool(const nlohmann::json* before, const nlohmann::json& now)>;

// A resource that the ring lists as controlled: its objects lead to their controller, by ownerReference.
struct Controlled {
  ResourceName resource;
  bool metadata_only = false;
  Predicate predicate = {};  // none: each change counts. Deletions always count
};

// Another resource whose changes matter.
struct Other {
  ResourceName resource;
  // The main objects that have to be reconciled after a change of `object`. Called on the control loop: be short.
  std::function<std::vector<ObjectName>(const nlohmann::json& object)> map;
  bool by_shard_label = false;      // watch only objects with this shard's label
  std::string label_selector = {};  // and only these
  std::string object_namespace = {};
  bool metadata_only = false;
  Predicate predicate = {};
};

struct ControllerOptions {
  std::string name = {};   // value of the label `controller` in metrics; "": the main resource's plural
  ResourceName main = {};  // the ring's main resource; needed
  bool metadata_only = false;
  Predicate predicate = {};
  std::string object_namespace = {};  // only objects of this namespace; "": all
  std::vector<Controlled> controlled = {};
  std::vector<Other> others = {};

  Reconcile reconcile = {};  // needed
  unsigned workers = 1;      // reconciliations at the same time
  // Each object is reconciled again so long after all were, even if nothing changes; 0: never.
  std::chrono::milliseconds resync = std::chrono::hours(10);
  // Pauses of one object after failures in a row: base, twice base, ... up to max.
  std::chrono::milliseconds backoff_base{5};
  std::chrono::milliseconds backoff_max = std::chrono::seconds(1000);
};

}  // namespace sharder::shard
