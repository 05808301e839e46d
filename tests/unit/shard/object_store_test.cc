#include "shard/object_store.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/support/packed_text.h"

using sharder::shard::ObjectName;
using sharder::shard::ObjectStore;
using sharder::testing::packed;
using sharder::testing::unpacked;

namespace {

ObjectName named(const std::string& name) {
  return {.object_namespace = "ns", .name = name};
}

ObjectStore::Object object(const std::string& text, std::optional<ObjectName> owner = {}) {
  return {.text = packed(text), .owner = std::move(owner)};
}

std::multiset<std::string> owned(const ObjectStore& store, const std::string& owner) {
  std::multiset<std::string> texts;
  for (const auto& text : store.owned(named(owner))) {
    texts.insert(unpacked(text));
  }
  return texts;
}

}  // namespace

TEST_CASE("objects are found by their name and by their owner") {
  ObjectStore store;
  CHECK_FALSE(store.show(named("a"), object("a1", named("one"))).text);
  store.show(named("b"), object("b1", named("one")));
  store.show(named("c"), object("c1"));
  CHECK(unpacked(store.find(named("a"))) == "a1");
  CHECK_FALSE(store.find(named("x")));
  CHECK(owned(store, "one") == std::multiset<std::string>{"a1", "b1"});
  CHECK(owned(store, "two").empty());
}

TEST_CASE("an object that changes its owner leaves the old one") {
  ObjectStore store;
  store.show(named("a"), object("a1", named("one")));
  const auto before = store.show(named("a"), object("a2", named("two")));
  CHECK(unpacked(before.text) == "a1");
  CHECK(before.owner == named("one"));
  CHECK(owned(store, "one").empty());
  CHECK(owned(store, "two") == std::multiset<std::string>{"a2"});
  store.show(named("a"), object("a3"));
  CHECK(owned(store, "two").empty());
}

TEST_CASE("an object that is gone is nobody's") {
  ObjectStore store;
  store.show(named("a"), object("a1", named("one")));
  CHECK(store.gone(named("a")).owner == named("one"));
  CHECK_FALSE(store.gone(named("a")).text);
  CHECK(owned(store, "one").empty());
  CHECK(store.size() == 0);
}

TEST_CASE("at the end of a list everything that it did not show is gone, with its owner") {
  ObjectStore store;
  store.begin_list();
  store.show(named("a"), object("a1", named("one")));
  store.show(named("b"), object("b1", named("two")));
  CHECK(store.end_list().empty());
  store.begin_list();
  store.show(named("b"), object("b1", named("two")));
  const auto gone = store.end_list();
  REQUIRE(gone.size() == 1);
  CHECK(gone[0].owner == named("one"));
  CHECK(owned(store, "one").empty());
  CHECK(owned(store, "two") == std::multiset<std::string>{"b1"});
}

TEST_CASE("of two objects with one owner, the one that is gone leaves the other") {
  ObjectStore store;
  store.show(named("a"), object("a1", named("one")));
  store.show(named("b"), object("b1", named("one")));
  store.gone(named("a"));
  CHECK(owned(store, "one") == std::multiset<std::string>{"b1"});
}
