#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/apiserver/object.h"

namespace sharder::apiserver {

// What happened to an object. `object` is null when it was deleted, `previous` when it was created.
struct Change {
  std::uint64_t version = 0;
  std::string key = {};
  ObjectPtr object = {};
  ObjectPtr previous = {};
};

// The objects of one resource with their recent versions, and the history of changes. A change that leaves the history
// takes with it the versions that only readers from before it could ask for.
//
//   changes_:  [v7 a created] [v9 b changed] [v12 a deleted]     readable: every version from floor() on
//   objects_:  a -> (v7, v12: none)   b -> (v3, v9)
class Bucket {
 public:
  // Key of an object: "namespace/name", or the name.
  static std::string key(std::string_view object_namespace, std::string_view name);

  ObjectPtr get(std::string_view key) const;
  // The object as it was at `version`, which must be readable. Calls `visit` in the order of keys, from the first key
  // that is `from` or after it while it starts with `prefix`, until `visit` returns false.
  void scan(std::uint64_t version, std::string_view prefix, std::string_view from,
            const std::function<bool(const std::string& key, const ObjectPtr&)>& visit) const;
  // How many objects there are now.
  std::size_t size() const { return live_; }

  // `object` null: deletes.
  void set(const std::string& key, std::uint64_t version, ObjectPtr object);

  // Changes after `version`, in order, to `visit`; false when some are forgotten already.
  bool changes_after(std::uint64_t version, const std::function<void(const Change&)>& visit) const;
  // Readable are this version and all later ones.
  std::uint64_t floor() const { return floor_; }
  // Forgets until at most `keep` changes are left.
  void trim(std::size_t keep);
  // Forgets everything before `version`.
  void compact(std::uint64_t version);

 private:
  using Versions = std::vector<std::pair<std::uint64_t, ObjectPtr>>;  // ascending; null: deleted
  void forget_first();

  std::map<std::string, Versions, std::less<>> objects_;
  std::deque<Change> changes_;
  std::uint64_t floor_ = 0;
  std::size_t live_ = 0;
};

// All objects: one version number that grows with every change. Not safe for two threads: Database has the lock.
class Store {
 public:
  explicit Store(std::size_t history) : history_(history) {}

  std::uint64_t version() const { return version_; }
  const std::map<std::string, Bucket>& buckets() const { return buckets_; }
  // The bucket of a resource; made when it is asked for first.
  Bucket& bucket(const std::string& name);

  // Compare and swap: writes `body` (null JSON: deletes) if the object still is `expected` (null: there is none).
  // Returns the version written; for a deletion the object with the version at which it went. nullptr: somebody else
  // was faster.
  ObjectPtr swap(const std::string& bucket, const std::string& key, const ObjectPtr& expected, nlohmann::json body);

  // The version grows by one, and everything before it is forgotten.
  void expire();

  // (bucket, key) of every object that names this uid in its ownerReferences.
  std::vector<std::pair<std::string, std::string>> dependents(const std::string& uid) const;

 private:
  void index(const std::string& bucket, const std::string& key, const std::vector<std::string>& owners);

  std::size_t history_;
  std::uint64_t version_ = 1;
  std::map<std::string, Bucket> buckets_;
  using Place = std::pair<std::string, std::string>;
  std::map<std::string, std::set<Place>> dependents_;  // by the owner's uid
  std::map<Place, std::vector<std::string>> owners_;   // of an object that has some
};

}  // namespace sharder::apiserver
