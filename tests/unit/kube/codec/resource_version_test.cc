#include "kube/codec/resource_version.h"

#include <doctest/doctest.h>

using namespace sharder::kube;

TEST_CASE("resource versions are compared as numbers") {
  CHECK(newer_version("10", "9"));
  CHECK(newer_version("101", "100"));
  CHECK(newer_version("18446744073709551616", "18446744073709551615"));
  CHECK_FALSE(newer_version("9", "10"));
  CHECK_FALSE(newer_version("9", "9"));
  CHECK_FALSE(newer_version("", "9"));
  CHECK_FALSE(newer_version("9", ""));
  CHECK_FALSE(newer_version("b", "a"));
  CHECK_FALSE(newer_version("011", "10"));
}
