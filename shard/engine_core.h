#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "kube/client/resource.h"
#include "kube/client/retries.h"
#include "kube/watch/list_watch.h"
#include "shard/acknowledgements.h"
#include "shard/engine.h"
#include "shard/main_objects.h"
#include "shard/metrics.h"
#include "shard/object_store.h"
#include "shard/text_packer.h"
#include "shard/watched_object.h"
#include "shard/work_queue.h"

namespace sharder::shard {

// The inside of an Engine, shared with what the API loop still runs for it. Watches and answers come on the API loop,
// reconciliations run on the workers, and what both use is behind one lock; nothing blocks and nobody is called under
// it.
class Engine::Core final : public std::enable_shared_from_this<Core> {
 public:
  Core(std::shared_ptr<const EngineTools> tools, ControllerOptions options, const Logger& log);

  void start(std::chrono::nanoseconds pause);
  void stop();
  bool wait_until_idle(std::chrono::nanoseconds timeout);
  void join();

  const std::string& name() const { return options_.name; }
  EngineStatus status() const;

  // For reconciliations; any thread.
  std::vector<nlohmann::json> owned(const ResourceName& resource, const ObjectName& owner) const;
  std::optional<nlohmann::json> cached(const ResourceName& resource, const ObjectName& object) const;
  Client& client() const { return tools_->client; }
  void record_event(const nlohmann::json& object, EventType type, std::string_view reason, std::string_view message);

 private:
  class Sink;
  class Run;

  // A resource that is watched. sources_[0] is the main one.
  struct Source {
    ResourceName name;
    std::string object_namespace = {};
    std::string label_selector = {};
    bool metadata_only = false;
    Predicate predicate = {};
    std::function<std::vector<ObjectName>(const nlohmann::json& object)> map = {};  // null: by ownerReference
    kube::Resource resource = {};  // set by the API loop before the first object is stored
    std::shared_ptr<kube::ListWatch> watch = {};
    std::unique_ptr<TextPacker> packer = std::make_unique<TextPacker>();  // the API loop packs, workers unpack
    ObjectStore store = {};                                               // locked
    bool synced = false;                                                  // locked
  };

  struct State {
    explicit State(const ControllerOptions& options) : queue(options.backoff_base, options.backoff_max) {}

    bool stopping = false;
    std::size_t unsynced = 0;  // sources
    MainObjects mains;
    WorkQueue queue;
    std::unordered_map<ObjectName, SteadyTime, ObjectNameHash> running;  // and since when
    std::optional<SteadyTime> resync;
  };

  // --- the API loop
  void resolve(std::size_t index);
  void begin_watch(std::size_t index);
  void on_event(std::size_t index, const kube::WatchEvent& event);
  void on_main(const kube::WatchEvent& event);
  void show_main(std::string_view text);
  void main_gone(const ObjectName& name);
  void main_list_done();
  void on_secondary(std::size_t index, const kube::WatchEvent& event);
  void show_secondary(Source& source, std::string_view text);
  void secondary_gone(Source& source, const ObjectStore::Object& object);
  void source_synced(Source& source);
  std::optional<WatchedObject> read_shown(const Source& source, std::string_view text);
  static bool matters(const Source& source, const PackedText& before, std::string_view now);

  // --- any thread
  bool may_work() const { return !stop_.stop_requested() && tools_->valid(); }
  void enqueue(const ObjectName& name);
  void enqueue(const std::vector<ObjectName>& names);
  std::vector<ObjectName> affected(const Source& source, const ObjectStore::Object& object) const;
  void acknowledge(const ObjectName& name, const MainObject& object);
  void acknowledgement_undone(const ObjectName& name);
  static nlohmann::json object_in(const Source& source, const PackedText& text);

  // --- a worker
  struct Work {
    ObjectName name;
    MainObject object;
    std::chrono::nanoseconds waited;
  };
  void work();
  std::optional<Work> next();
  void resync(SteadyTime now);
  void reconcile(const Work& work);
  Result<Requeue> call(Run& run);
  void finish(const Work& work, const Result<Requeue>& result);

  const std::shared_ptr<const EngineTools> tools_;
  const std::string shard_label_, drain_label_;
  const ControllerOptions options_;
  const Logger log_;
  ControllerMetrics metrics_;
  std::shared_ptr<Acknowledgements> acknowledgements_;  // the API loop's; set before the first watch begins
  WatchedObjectReader reader_;                          // the API loop's
  std::vector<Source> sources_;                         // as many as ever from the start
  std::stop_source stop_;
  // Of the resource that is being looked up, which may be about to be installed; the API loop's.
  kube::Retries lookups_{{.lasting = {.initial = std::chrono::milliseconds(500), .max = std::chrono::seconds(30)}}};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  State state_;  // locked
  std::atomic<std::uint64_t> last_run_ = 0;
  std::vector<std::jthread> workers_;
};

}  // namespace sharder::shard
