#include "tests/apiserver/store.h"

#include <doctest/doctest.h>

#include "tests/apiserver/database.h"

namespace sharder::apiserver {
namespace {

using nlohmann::json;

const std::string kBucket = "/secrets";

json secret(const std::string& name, const Labels& labels = {}) {
  json object = {{"metadata", {{"name", name}, {"namespace", "ns"}, {"uid", name + "-uid"}}}};
  if (!labels.empty()) {
    object["metadata"]["labels"] = labels;
  }
  return object;
}

ObjectPtr write(Store& store, const std::string& name, const Labels& labels = {}) {
  const std::string key = "ns/" + name;
  return store.swap(kBucket, key, store.bucket(kBucket).get(key), secret(name, labels));
}

std::string names_at(Store& store, std::uint64_t version) {
  std::string names;
  store.bucket(kBucket).scan(version, "ns/", "", [&](const std::string&, const ObjectPtr& object) {
    names += object->name() + ";";
    return true;
  });
  return names;
}

TEST_CASE("a swap succeeds only on the version it was decided on") {
  Store store(100);
  const ObjectPtr first = write(store, "a");
  REQUIRE(first);
  CHECK_FALSE(store.swap(kBucket, "ns/a", nullptr, secret("a")));
  const ObjectPtr second = store.swap(kBucket, "ns/a", first, secret("a", {{"x", "1"}}));
  REQUIRE(second);
  CHECK(second->version() == first->version() + 1);
  CHECK_FALSE(store.swap(kBucket, "ns/a", first, secret("a")));
}

TEST_CASE("an older version shows what was there then, deletions included") {
  Store store(100);
  write(store, "a");
  const std::uint64_t before = write(store, "b")->version();
  store.swap(kBucket, "ns/a", store.bucket(kBucket).get("ns/a"), json());
  write(store, "c");
  CHECK(names_at(store, before) == "a;b;");
  CHECK(names_at(store, store.version()) == "b;c;");
  CHECK(store.bucket(kBucket).size() == 2);
}

TEST_CASE("what leaves the history takes old versions with it, and readers from before are refused") {
  Store store(2);
  const std::uint64_t first = write(store, "a")->version();
  for (const char* value : {"1", "2", "3"}) {
    write(store, "a", {{"x", value}});
  }
  int seen = 0;
  const auto count = [&](const Change&) { ++seen; };
  CHECK_FALSE(store.bucket(kBucket).changes_after(first, count));
  CHECK(store.bucket(kBucket).changes_after(store.version() - 1, count));
  CHECK(seen == 1);
  CHECK(names_at(store, store.version()) == "a;");
}

TEST_CASE("a deletion has a version of its own and is forgotten in the end") {
  Store store(1);
  const ObjectPtr made = write(store, "a");
  const ObjectPtr gone = store.swap(kBucket, "ns/a", made, json());
  CHECK(gone->version() > made->version());
  CHECK(gone->uid() == made->uid());
  write(store, "b");
  CHECK(names_at(store, store.version()) == "b;");
}

TEST_CASE("what an object owns is found by its uid until it changes its owner") {
  Store store(10);
  json owned = secret("a");
  owned["metadata"]["ownerReferences"] = {{{"uid", "u1"}}};
  const ObjectPtr made = store.swap(kBucket, "ns/a", nullptr, owned);
  CHECK(store.dependents("u1") == std::vector<std::pair<std::string, std::string>>{{kBucket, "ns/a"}});
  owned["metadata"]["ownerReferences"] = {{{"uid", "u2"}}};
  store.swap(kBucket, "ns/a", made, owned);
  CHECK(store.dependents("u1").empty());
  CHECK(store.dependents("u2").size() == 1);
}

TEST_CASE("an open reader misses nothing when the history is expired") {
  Database database(100);
  const auto cursor = database.follow(kBucket, database.version());
  REQUIRE(database.swap(kBucket, "ns/a", nullptr, secret("a")));
  const std::uint64_t old = database.version();
  database.expire();
  REQUIRE(database.swap(kBucket, "ns/b", nullptr, secret("b")));
  const auto batch = cursor->next(std::chrono::steady_clock::now());
  CHECK_FALSE(batch.too_old);
  REQUIRE(batch.changes.size() == 2);
  CHECK(batch.changes[0].object->name() == "a");
  CHECK(batch.changes[1].object->name() == "b");
  const auto late = database.follow(kBucket, old);
  CHECK(late->next(std::chrono::steady_clock::now()).too_old);
  CHECK_FALSE(database.page(kBucket, {.version = old}));
}

}  // namespace
}  // namespace sharder::apiserver
