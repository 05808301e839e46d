#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/apiserver/store.h"

namespace sharder::apiserver {

// The store behind its lock. Safe from any thread; what runs under the lock is short: matching labels and copying
// pointers, never JSON but for the one object that is written.
class Database {
 public:
  explicit Database(std::size_t history) : store_(history) {}

  std::uint64_t version() const;
  ObjectPtr get(const std::string& bucket, std::string_view key) const;
  // Store::swap(); wakes those who wait for the bucket.
  ObjectPtr swap(const std::string& bucket, const std::string& key, const ObjectPtr& expected, nlohmann::json body);
  std::vector<std::pair<std::string, std::string>> dependents(const std::string& uid) const;
  // (bucket, key) of all objects in a namespace.
  std::vector<std::pair<std::string, std::string>> contents(const std::string& object_namespace) const;
  void expire();

  struct PageQuery {
    std::string prefix = {};                    // of the keys: "namespace/", or ""
    std::string from = {};                      // the first key that may come
    std::optional<std::uint64_t> version = {};  // nullopt: now
    std::size_t limit = 0;                      // 0: none
    std::function<bool(const Object&)> matches = {};
    bool count_rest = false;
  };
  struct Page {
    std::vector<ObjectPtr> items = {};
    std::uint64_t version = 0;
    std::string next = {};      // the first key that did not fit, "" when all did
    std::size_t remaining = 0;  // if count_rest: how many did not fit
  };
  // nullopt: that version is forgotten.
  std::optional<Page> page(const std::string& bucket, const PageQuery& query) const;

  // One reader of a bucket's changes, in order and without a gap. Of one thread.
  class Cursor {
   public:
    ~Cursor();
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;

    struct Batch {
      std::vector<Change> changes;
      std::uint64_t version = 0;  // nothing up to this version is missing
      bool too_old = false;       // changes are forgotten: the reader cannot go on
    };
    // Waits until there is something to read, `until` has come, or interrupt() was called.
    Batch next(std::chrono::steady_clock::time_point until);
    // Makes next() return at once, now or when it is called. Safe from any thread.
    void interrupt();

   private:
    friend class Database;
    Cursor(Database& database, std::string bucket) : database_(database), bucket_(std::move(bucket)) {}

    Database& database_;
    const std::string bucket_;
    std::uint64_t after_ = 0;
    std::vector<Change> kept_;  // changes that were forgotten while this reader had not read them
    bool too_old_ = false;
    bool interrupted_ = false;
  };
  // Reads what comes after `version`.
  std::unique_ptr<Cursor> follow(const std::string& bucket, std::uint64_t version);
  // The objects now, and a cursor that goes on from there.
  std::pair<Page, std::unique_ptr<Cursor>> list_and_follow(const std::string& bucket, const PageQuery& query);

 private:
  struct Readers {
    std::condition_variable changed;
    std::list<Cursor*> cursors;
  };
  Page page_locked(const Bucket& bucket, const PageQuery& query) const;
  std::unique_ptr<Cursor> follow_locked(const std::string& bucket, std::uint64_t version);

  mutable std::mutex mutex_;
  mutable Store store_;
  std::map<std::string, Readers> readers_;
};

}  // namespace sharder::apiserver
