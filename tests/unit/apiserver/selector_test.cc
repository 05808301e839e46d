#include "tests/apiserver/selector.h"

#include <doctest/doctest.h>

namespace sharder::apiserver {
namespace {

TEST_CASE("label selectors select as the API server's do") {
  const Labels labels{{"app", "web"}, {"shard.example.com/ring", "s-1"}, {"empty", ""}, {"n", "7"}};
  for (const char* text :
       {"", "app=web", "app==web", "app!=x", "none!=x", "app in (web, db)", "app notin (db)", "none notin (db)", "app",
        "!none", "app=web,!none", "empty=", "shard.example.com/ring in (s-1)", "n>6", "n<8", " app = web "}) {
    CAPTURE(text);
    const auto selector = LabelSelector::parse(text);
    REQUIRE(selector);
    CHECK(selector->matches(labels));
  }
  for (const char* text : {"app=x", "app!=web", "app in (db)", "none in (db)", "app notin (web)", "!app", "none",
                           "empty=x", "n>7", "app>1", "app=web,none"}) {
    CAPTURE(text);
    const auto selector = LabelSelector::parse(text);
    REQUIRE(selector);
    CHECK_FALSE(selector->matches(labels));
  }
}

TEST_CASE("malformed label selectors are a 400") {
  for (const char* text : {"=x", "a in b", "a in (b", "a,,b", "a=b c", "a in ()x", "-a=b", "a=b!", "a>x", "!"}) {
    CAPTURE(text);
    const auto selector = LabelSelector::parse(text);
    REQUIRE_FALSE(selector);
    CHECK(selector.error().code == 400);
  }
}

TEST_CASE("field selectors know name and namespace only") {
  const Object object({{"metadata", {{"name", "a"}, {"namespace", "ns"}}}}, 1);
  CHECK(FieldSelector::parse("metadata.name=a,metadata.namespace==ns")->matches(object));
  CHECK_FALSE(FieldSelector::parse("metadata.name!=a")->matches(object));
  CHECK(FieldSelector::parse("status.phase=x").error().code == 400);
}

}  // namespace
}  // namespace sharder::apiserver
