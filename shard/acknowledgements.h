#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "kube/codec/precondition.h"
#include "shard/object.h"
#include "shard/work_queue.h"

namespace sharder::shard {

// The patch that acknowledges a drain (protocol, 6; decision 9): removes the drain label and, in the same patch, sets
// the shard label to `drain`, the drain label's value, or removes it too where that is "true" or "". Pure.
std::string acknowledgement_body(const std::string& ring, const std::string& drain,
                                 const kube::Precondition& precondition);

// Sends the acknowledgements of one main resource. Each carries the resourceVersion at which the watch has shown the
// drain, never one that was read in between: nobody knows what this shard does with the object at that one. Where lists
// and watches show no resourceVersion, as those of foreign API servers, the object is read, and has to drain as it was
// shown.
//
//   acknowledge ──► patch ──► done: the watch shows what has become of the object
//       │             │ conflict ──► patch with the version that the watch has shown meanwhile, or wait for that
//       │             └ another failure: a pause that grows, then patch again
//       └ without a version ──► get ──► patch with its version, or wait for the watch if it does not drain so
//
// At most kAtOnce patches at a time. Owned by the API loop: calls and callbacks happen there.
class Acknowledgements final : public std::enable_shared_from_this<Acknowledgements> {
 public:
  struct Callbacks {
    std::function<void()> on_acknowledged;  // one drain
    std::function<bool()> may_write;        // whether this shard still may. Any thread
  };
  static constexpr std::size_t kAtOnce = 64;

  Acknowledgements(kube::Api& api, kube::Resource resource, std::string ring, std::string shard,
                   std::string field_manager, Callbacks callbacks, Logger log);

  // The object drains, as the watch shows it at this version ("": it shows none), and nothing of this shard works on
  // it.
  void acknowledge(const ObjectName& name, std::string resource_version, std::string drain);
  // The object does not drain any more, or is not this shard's: what waits is not sent.
  void forget(const ObjectName& name) { pending_.erase(name); }
  // Nothing is sent any more, and no callback runs.
  void stop();

 private:
  struct Flight {
    ObjectName name;
    std::string resource_version;
    std::string drain;
    bool is_newer = false;  // than the patch that is under way
    int failures = 0;
  };
  using FlightPointer = std::shared_ptr<Flight>;

  bool is_wanted(const FlightPointer& flight) const;
  void pump();
  void send(const FlightPointer& flight);
  void get(const FlightPointer& flight);
  void got(const FlightPointer& flight, const Result<kube::ObjectMeta>& object);
  void patch(const FlightPointer& flight, const kube::Precondition& precondition);
  void patched(const FlightPointer& flight, const Result<kube::Response>& answer);
  void failed(const FlightPointer& flight, const Error& error);
  void try_again(const FlightPointer& flight, const Error& error);
  void finish(const FlightPointer& flight);

  kube::Api& api_;
  const kube::Resource resource_;
  const std::string ring_;
  const std::string shard_;
  const std::string field_manager_;
  const Callbacks callbacks_;
  const Logger log_;
  bool stopped_ = false;
  std::size_t under_way_ = 0;  // pauses included
  std::unordered_map<ObjectName, FlightPointer, ObjectNameHash> pending_;
  std::deque<FlightPointer> waiting_;
  kube::ObjectMetaDecoder decoder_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace sharder::shard
