#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/common_failure.h"
#include "kube/client/resource.h"
#include "kube/client/retries.h"
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
//        ▲            │ conflict ──► patch with the version that the watch has shown meanwhile, or wait for that
//        │            └ another failure: a pause that grows, then patch again
//        ├── without a version: get ──► patch with its version, or wait for the watch if it does not drain so
//        └── the object drains again at once, or still: something undoes the patch. Pauses that grow to kLongestPause
//
// At most kAtOnce patches at a time; those that pause hold up no others. A lasting failure is logged once for all
// objects: the reason usually holds for all. Owned by the API loop: calls and callbacks happen there.
class Acknowledgements final : public std::enable_shared_from_this<Acknowledgements> {
 public:
  struct Callbacks {
    std::function<void()> on_acknowledged;  // one drain
    std::function<bool()> may_write;        // whether this shard still may. Any thread
    // The acknowledgements of an object do not last. Once, until it has drained no more for kForget.
    std::function<void(const ObjectName& name)> on_undone;
  };
  static constexpr std::size_t kAtOnce = 64;
  static constexpr int kUndone = 3;  // after so many acknowledgements of an object, something undoes them
  static constexpr std::chrono::minutes kLongestPause{5};
  static constexpr std::chrono::minutes kForget{10};

  // `api` and `clock` outlive it.
  Acknowledgements(kube::Api& api, const Clock& clock, kube::Resource resource, std::string ring, std::string shard,
                   std::string field_manager, Callbacks callbacks, Logger log);

  // The object drains, as the watch shows it at this version ("": it shows none), and nothing of this shard works on
  // it.
  void acknowledge(const ObjectName& name, std::string resource_version, std::string drain);
  // The object does not drain any more, or is not this shard's: what waits is not sent.
  void forget(const ObjectName& name);
  // Nothing is sent any more, and no callback runs.
  void stop();

 private:
  struct Flight {
    ObjectName name;
    std::string resource_version;
    std::string drain;
    bool is_newer = false;  // than the patch that is under way
    bool pauses = false;
    bool fails_for_long = false;
    std::unique_ptr<kube::Retries> retries = {};  // once it has failed: most never do
  };
  using FlightPointer = std::shared_ptr<Flight>;
  using Then = void (Acknowledgements::*)(const FlightPointer& flight, const Result<kube::Response>& answer);
  struct Recent {
    int times = 0;  // that it was acknowledged
    SteadyTime last = {};
  };
  static constexpr std::size_t kRemembered = 2048;

  bool is_wanted(const FlightPointer& flight) const;
  void begin(const FlightPointer& flight);
  void pump();
  void send(const FlightPointer& flight);
  void get(const FlightPointer& flight);
  void got(const FlightPointer& flight, const Result<kube::Response>& answer);
  void patch(const FlightPointer& flight, const kube::Precondition& precondition);
  void ask(const FlightPointer& flight, kube::Request request, Then then);
  void patched(const FlightPointer& flight, const Result<kube::Response>& answer);
  void succeeded(const FlightPointer& flight, const kube::Response& answer);
  void failed(const FlightPointer& flight, const Error& error);
  void try_again(const FlightPointer& flight, const Error& error);
  void pause(const FlightPointer& flight, std::chrono::nanoseconds time);
  void works(const FlightPointer& flight);
  void hasten();
  void drop(const FlightPointer& flight);
  void end_failure(const FlightPointer& flight);
  // The value of its drain label, if it drains from this shard.
  std::optional<std::string_view> drain_of(const kube::ObjectMeta& object) const;
  // Acknowledgements of the object in a row, none of which is long ago; null: there was none.
  const Recent* recent(const ObjectName& name) const;
  void remember(const ObjectName& name);

  kube::Api& api_;
  const Clock& clock_;
  const kube::Resource resource_;
  const std::string ring_;
  const std::string shard_label_, drain_label_;
  const std::string shard_;
  const std::string field_manager_;
  const Callbacks callbacks_;
  const Logger log_;
  bool stopped_ = false;
  std::size_t under_way_ = 0;
  std::unordered_map<ObjectName, FlightPointer, ObjectNameHash> pending_;
  std::deque<FlightPointer> waiting_;
  kube::CommonFailure<const Flight*> failing_;  // for long
  std::unordered_map<ObjectName, Recent, ObjectNameHash> recent_;
  kube::ObjectMetaDecoder decoder_;
  std::minstd_rand seeds_{std::random_device{}()};
};

}  // namespace sharder::shard
