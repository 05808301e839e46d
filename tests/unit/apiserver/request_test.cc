#include "tests/apiserver/request.h"

#include <doctest/doctest.h>

namespace sharder::apiserver {
namespace {

TEST_CASE("a target is taken apart, and its path and parameters are percent-decoded") {
  const Request request =
      request_to("GET", "/api/v1/namespaces/a%2Fb/secrets?labelSelector=x+notin%20%281%2C2%29&watch=true&x");
  CHECK(request.method == "GET");
  CHECK(request.path == "/api/v1/namespaces/a/b/secrets");
  CHECK(request.parameter("labelSelector") == "x+notin (1,2)");
  CHECK(request.flag("watch"));
  CHECK(request.query.contains("x"));
  CHECK(request_to("GET", "/%zz%4").path == "/%zz%4");
  CHECK(request_to("GET", "/?").query.empty());
}

}  // namespace
}  // namespace sharder::apiserver
