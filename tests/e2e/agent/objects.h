#pragma once

#include <simdjson.h>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <protozero/pbf_reader.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace agent {

// Seconds since the epoch.
double now();

// One object seen on the wire.
struct Seen {
  std::string namespace_, name, version;
  std::string shard;  // the shard label; empty without one
  bool draining = false;
  std::string target;  // of the drain; empty when it names none
};

// A drain that waits for its acknowledgement. `target`: the shard that the acknowledgement sets; empty: it removes both
// labels.
struct Drain {
  std::string key, shard, path, version, target;
};

// What the shards of one ring know of their objects: who works on which object, since when, and which drains are to be
// acknowledged. A shard works on an object from the moment it sees its own label on it until it decides to acknowledge
// the drain, stops, or sees another label there. All functions from any thread.
class Objects {
 public:
  explicit Objects(std::string ring);

  // One resource's list path; `controlled`: it moves without a drain. The number by which the rest calls it.
  std::size_t add_resource(const std::string& path, bool controlled);

  // Only what is needed of an object's metadata: a third of it is managedFields. In JSON, throws simdjson_error; in
  // protobuf, protozero::exception.
  Seen parse(simdjson::ondemand::object metadata) const;
  Seen parse(protozero::pbf_reader metadata) const;

  // The object was there, or changed.
  void saw(std::size_t resource, const Seen& seen);
  void gone(std::size_t resource, const Seen& seen);
  // A list ended: what it did not show is gone.
  void listed(std::size_t resource, const std::set<std::string>& keys);
  std::string key(std::size_t resource, const Seen& seen) const;

  void run(const std::string& shard);
  // Nobody can be blamed for its objects being without a shard that runs before `may_move`, seconds since the epoch.
  void stop(const std::string& shard, double may_move);
  // Whether this shard acknowledges drains; by default it does.
  void set_acknowledging(const std::string& shard, bool does);
  // This shard acknowledges as the Go project's do, which know of no target; the others set it.
  void make_like_go(const std::string& shard);

  // At most `most` drains to acknowledge; `wait`: waits until there is one.
  std::vector<Drain> next_drains(std::size_t most, bool wait);
  // After a conflict, with what the object is now: the drain with the new version, or nullopt when there is nothing
  // left to acknowledge.
  std::optional<Drain> again(Drain drain, const Seen& seen);
  // Whether the shard still wants to acknowledge.
  bool wanted(const Drain& drain);
  enum class Outcome { kAcknowledged, kDropped };
  void finished(const Drain& drain, Outcome outcome);
  void count_conflict();
  void count_error();

  // Figures begin anew.
  void mark();
  nlohmann::json report();
  // {key: [[shard, begin, end or null, why it ended], ...]}
  nlohmann::json history();

 private:
  struct Interval {
    std::string shard;
    double begin;
    std::optional<double> end;
    std::string why;
  };
  struct Object {
    std::size_t resource = 0;
    std::string path, version, shard, target;
    std::string last_owner;  // the last shard label that was not empty
    bool draining = false;
    bool acknowledging = false;
    bool worked_on = false;               // by intervals.back().shard
    std::optional<double> without_since;  // no running shard has it
    std::vector<std::string> without_on;  // the labels that it had meanwhile
    double label_since = 0;               // its label is this one, and its shard runs or not
    std::vector<Interval> intervals;
  };
  struct Resource {
    std::string path;
    bool controlled;
  };
  struct Longest {
    double seconds = 0;
    std::string object = {};
    std::vector<std::string> shards = {};

    void note(double duration, const std::string& name, const std::vector<std::string>& labels);
  };

  void label(Seen& seen, std::string_view key, std::string_view value) const;
  std::string target_for(const std::string& shard, const std::string& target) const;
  std::string path_of(std::size_t resource, const Seen& seen) const;
  bool running(const std::string& shard) const { return running_.contains(shard); }
  void consider(const std::string& key, Object& object, double when);
  void end_work(Object& object, double when, const char* why);
  double orphaned_for(const Object& object, double when) const;
  void count(const Object& object, int by);
  void erase(std::unordered_map<std::string, Object>::iterator found, double when);

  const std::string shard_label_, drain_label_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::vector<Resource> resources_;
  std::unordered_map<std::string, Object> objects_;
  std::unordered_map<std::string, std::vector<Interval>> deleted_;
  std::set<std::string> running_, stubborn_, like_go_;
  std::deque<Drain> drains_;

  std::map<std::string, std::int64_t> by_shard_;
  std::int64_t draining_ = 0, without_ = 0;
  std::int64_t acknowledged_ = 0, targeted_ = 0, conflicts_ = 0, errors_ = 0, moved_ = 0, events_ = 0;
  Longest without_longest_, orphaned_longest_;
  std::map<std::string, double> may_move_;  // by shards that do not run
  std::optional<double> first_move_, last_move_;
  double marked_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace agent
