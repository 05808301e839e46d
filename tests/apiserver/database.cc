#include "tests/apiserver/database.h"

#include <algorithm>

namespace sharder::apiserver {

std::uint64_t Database::version() const {
  const std::lock_guard lock(mutex_);
  return store_.version();
}

ObjectPtr Database::get(const std::string& bucket, std::string_view key) const {
  const std::lock_guard lock(mutex_);
  return store_.bucket(bucket).get(key);
}

ObjectPtr Database::swap(const std::string& bucket, const std::string& key, const ObjectPtr& expected,
                         nlohmann::json body) {
  const std::lock_guard lock(mutex_);
  ObjectPtr result = store_.swap(bucket, key, expected, std::move(body));
  if (result) {
    readers_[bucket].changed.notify_all();
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> Database::dependents(const std::string& uid) const {
  const std::lock_guard lock(mutex_);
  return store_.dependents(uid);
}

std::vector<std::pair<std::string, std::string>> Database::contents(const std::string& object_namespace) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, std::string>> result;
  const std::string prefix = object_namespace + "/";
  for (const auto& [name, bucket] : store_.buckets()) {
    bucket.scan(store_.version(), prefix, "", [&, &bucket_name = name](const std::string& key, const ObjectPtr&) {
      result.emplace_back(bucket_name, key);
      return true;
    });
  }
  return result;
}

void Database::expire() {
  const std::lock_guard lock(mutex_);
  // Open watches go on: what they have not read yet is kept for them.
  for (auto& [name, readers] : readers_) {
    const Bucket& bucket = store_.bucket(name);
    for (Cursor* cursor : readers.cursors) {
      if (!bucket.changes_after(cursor->after_, [&](const Change& change) { cursor->kept_.push_back(change); })) {
        cursor->too_old_ = true;
      }
      cursor->after_ = store_.version() + 1;
    }
  }
  store_.expire();
}

Database::Page Database::page_locked(const Bucket& bucket, const PageQuery& query) const {
  Page page{.version = query.version.value_or(store_.version())};
  bucket.scan(page.version, query.prefix, query.from, [&](const std::string& key, const ObjectPtr& object) {
    if (query.matches && !query.matches(*object)) {
      return true;
    }
    if (query.limit != 0 && page.items.size() == query.limit) {
      if (page.next.empty()) {
        page.next = key;
      }
      ++page.remaining;
      return query.count_rest;
    }
    page.items.push_back(object);
    return true;
  });
  return page;
}

std::optional<Database::Page> Database::page(const std::string& bucket, const PageQuery& query) const {
  const std::lock_guard lock(mutex_);
  const Bucket& objects = store_.bucket(bucket);
  if (query.version && *query.version < objects.floor()) {
    return std::nullopt;
  }
  return page_locked(objects, query);
}

std::unique_ptr<Database::Cursor> Database::follow_locked(const std::string& bucket, std::uint64_t version) {
  std::unique_ptr<Cursor> cursor(new Cursor(*this, bucket));
  cursor->after_ = version;
  readers_[bucket].cursors.push_back(cursor.get());
  return cursor;
}

std::unique_ptr<Database::Cursor> Database::follow(const std::string& bucket, std::uint64_t version) {
  const std::lock_guard lock(mutex_);
  return follow_locked(bucket, version);
}

std::pair<Database::Page, std::unique_ptr<Database::Cursor>> Database::list_and_follow(const std::string& bucket,
                                                                                       const PageQuery& query) {
  const std::lock_guard lock(mutex_);
  Page page = page_locked(store_.bucket(bucket), query);
  auto cursor = follow_locked(bucket, page.version);
  return {std::move(page), std::move(cursor)};
}

Database::Cursor::~Cursor() {
  const std::lock_guard lock(database_.mutex_);
  database_.readers_[bucket_].cursors.remove(this);
}

Database::Cursor::Batch Database::Cursor::next(std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(database_.mutex_);
  Readers& readers = database_.readers_[bucket_];
  Batch batch;
  const auto read = [&] {
    batch.changes.swap(kept_);
    const auto keep = [&](const Change& change) { batch.changes.push_back(change); };
    // Above the newest version nothing can be missing yet: a client may ask for a version that is still to come.
    batch.too_old = too_old_ || !database_.store_.bucket(bucket_).changes_after(after_, keep);
    return interrupted_ || batch.too_old || !batch.changes.empty();
  };
  readers.changed.wait_until(lock, until, read);
  interrupted_ = false;
  after_ = std::max(after_, database_.store_.version());
  batch.version = after_;
  return batch;
}

void Database::Cursor::interrupt() {
  const std::lock_guard lock(database_.mutex_);
  interrupted_ = true;
  database_.readers_[bucket_].changed.notify_all();
}

}  // namespace sharder::apiserver
