#include "sharder/values.h"

#include <doctest/doctest.h>

#include <array>

namespace {

using namespace sharder::app;

TEST_CASE("truth values are those of Go's ParseBool") {
  for (const char* text : {"1", "t", "T", "TRUE", "true", "True"}) {
    CHECK(parse_go_bool(text) == true);
  }
  for (const char* text : {"0", "f", "F", "FALSE", "false", "False"}) {
    CHECK(parse_go_bool(text) == false);
  }
  for (const char* text : {"", "yes", "no", "on", "tRUE", "2", " true", "true "}) {
    CAPTURE(text);
    CHECK(parse_go_bool(text) == std::nullopt);
  }
}

TEST_CASE("the closest name is the one that was meant, if any was") {
  const std::array<std::string_view, 4> names{"syncPeriod", "concurrentMoves", "url", "service"};
  CHECK(closest("syncPeriodd", names) == "syncPeriod");
  CHECK(closest("SYNCPERIOD", names) == "syncPeriod");
  CHECK(closest("concurentMove", names) == "concurrentMoves");
  CHECK(closest("ulr", names) == "url");
  CHECK(closest("services", names) == "service");
  CHECK(closest("annotations", names) == std::nullopt);
  CHECK(closest("x", {}) == std::nullopt);
}

TEST_CASE("names are those that Kubernetes allows") {
  CHECK(is_dns_label("sharding-system"));
  CHECK(is_dns_label(std::string(63, 'a')));
  for (const std::string& name : {std::string(), std::string(64, 'a'), std::string("-a"), std::string("a-"),
                                  std::string("a.b"), std::string("A"), std::string("a_b")}) {
    CAPTURE(name);
    CHECK_FALSE(is_dns_label(name));
  }
  CHECK(is_dns_subdomain("a.b-c.d0"));
  CHECK(is_dns_subdomain(std::string(253, 'a')));
  for (const std::string& name :
       {std::string(), std::string("a..b"), std::string(".a"), std::string("a."), std::string(254, 'a')}) {
    CAPTURE(name);
    CHECK_FALSE(is_dns_subdomain(name));
  }
  CHECK(is_qualified_name("cert-manager.io/inject-ca-from"));
  CHECK(is_qualified_name("Simple_name.x"));
  for (const char* name : {"", "/", "a/", "/a", "a/b/c", "A.b/c", "a/-b", "a b"}) {
    CAPTURE(name);
    CHECK_FALSE(is_qualified_name(name));
  }
}

}  // namespace
