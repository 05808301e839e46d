#include "shard/main_objects.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "tests/support/packed_text.h"

using sharder::shard::MainObject;
using sharder::shard::MainObjects;
using sharder::shard::ObjectName;
using sharder::shard::PackedText;
using sharder::testing::packed;
using sharder::testing::unpacked;
using Change = MainObjects::Change;

namespace {

ObjectName named(const std::string& name) {
  return {.object_namespace = "ns", .name = name};
}

MainObject version(const std::string& resource_version, std::optional<std::string> drain = {}) {
  return {
      .resource_version = resource_version, .drain = std::move(drain), .text = packed("text of " + resource_version)};
}

}  // namespace

TEST_CASE("an object that is shown may be reconciled, until it drains or is gone") {
  MainObjects objects;
  CHECK(objects.show(named("a"), version("1")) == Change::kOurs);
  CHECK(objects.show(named("a"), version("2")) == Change::kOurs);
  CHECK(unpacked(objects.find(named("a"))->text) == "text of 2");
  CHECK(objects.show(named("a"), version("3", "other")) == Change::kDraining);
  CHECK(objects.find(named("a"))->drain == "other");
  CHECK(objects.draining() == 1);
  CHECK(objects.show(named("a"), version("4")) == Change::kOurs);  // the drain was taken back
  CHECK(objects.draining() == 0);
  objects.show(named("a"), version("5", ""));
  CHECK(objects.draining() == 1);  // an empty value is a drain
  CHECK(objects.gone(named("a")));
  CHECK_FALSE(objects.gone(named("a")));
  CHECK(objects.find(named("a")) == nullptr);
  CHECK(objects.draining() == 0);
}

TEST_CASE("the same version changes nothing, however often lists show it") {
  MainObjects objects;
  CHECK(objects.show(named("a"), version("1", "b")) == Change::kDraining);
  CHECK(objects.show(named("a"), version("1", "b")) == Change::kNone);
  CHECK(objects.draining() == 1);
}

TEST_CASE("objects without a resourceVersion always count as changed") {
  MainObjects objects;
  CHECK(objects.show(named("a"), version("")) == Change::kOurs);
  CHECK(objects.show(named("a"), version("")) == Change::kOurs);
}

TEST_CASE("what was known before comes back with a change") {
  MainObjects objects;
  PackedText before;
  objects.show(named("a"), version("1"), &before);
  CHECK_FALSE(before);
  objects.show(named("a"), version("2"), &before);
  REQUIRE(before);
  CHECK(unpacked(before) == "text of 1");
}

TEST_CASE("at the end of a list everything that it did not show is gone") {
  MainObjects objects;
  objects.begin_list();
  objects.show(named("a"), version("1"));
  objects.show(named("b"), version("2", "x"));
  CHECK(objects.end_list().empty());
  objects.show(named("c"), version("3"));  // by the watch
  objects.begin_list();
  objects.show(named("a"), version("1"));
  objects.begin_list();  // it failed and begins anew
  objects.show(named("c"), version("4"));
  auto gone = objects.end_list();
  std::ranges::sort(gone);
  CHECK(gone == std::vector{named("a"), named("b")});
  CHECK(objects.names() == std::vector{named("c")});
  CHECK(objects.draining() == 0);
}
