#include "ops/status.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace sharder;
using namespace sharder::ops;
using nlohmann::json;

TEST_CASE("the status as JSON, field by field") {
  Status status{.replica = "host_1", .version = "1.2.3", .leads = true};
  status.certificate_expires = WallTime(std::chrono::seconds(1'790'000'000));
  status.rings.push_back({.name = "r",
                          .webhook_reachable = false,
                          .members = {"a", "b"},
                          .shares = {0.25, 0.75},
                          .arcs = {0, 1, 1, 0},
                          .shards = {{.name = "a",
                                      .lease_namespace = "ns",
                                      .state = "ready",
                                      .available = true,
                                      .in_grace = true,
                                      .cordoned = true,
                                      .objects = 7}},
                          .resources = {{.name = "secrets",
                                         .main = true,
                                         .pending = 1,
                                         .draining = 2,
                                         .oldest_drain_seconds = 1.5,
                                         .moves = 3,
                                         .objects = 9,
                                         .counted_seconds_ago = 4.0,
                                         .unassigned = 2,
                                         .oldest_unassigned_seconds = 8.5}},
                          .moves = {{.from = "a", .to = "b", .pending = 5, .draining = 6}}});
  CHECK(json::parse(to_json(status)) == json::parse(R"({
    "replica": "host_1", "version": "1.2.3", "leads": true, "notReady": "", "certificateExpires": 1790000000,
    "rings": [{
      "name": "r", "error": "", "deleting": false, "webhookReachable": false,
      "members": ["a", "b"], "shares": [0.25, 0.75], "arcs": [[0, 1], [1, 2], [0, 1]],
      "shards": [{"name": "a", "namespace": "ns", "state": "ready", "available": true, "inGrace": true, "cordoned": true, "objects": 7}],
      "resources": [{"name": "secrets", "main": true, "pending": 1, "draining": 2, "oldestDrainSeconds": 1.5,
                     "moves": 3, "objects": 9, "countedSecondsAgo": 4.0, "unassigned": 2, "oldestUnassignedSeconds": 8.5}],
      "moves": [{"from": "a", "to": "b", "pending": 5, "draining": 6}]}]})"));
}

TEST_CASE("what is not known is null") {
  Status status;
  status.rings.push_back({.name = "r", .shards = {{.name = "a"}}, .resources = {{.name = "secrets"}}});
  const json parsed = json::parse(to_json(status));
  CHECK(parsed["certificateExpires"].is_null());
  const json& ring = parsed["rings"][0];
  CHECK(ring["webhookReachable"].is_null());
  CHECK(ring["shards"][0]["objects"].is_null());
  CHECK(ring["resources"][0]["objects"].is_null());
  CHECK(ring["resources"][0]["countedSecondsAgo"].is_null());
  CHECK(ring["resources"][0]["unassigned"].is_null());
}

TEST_CASE("names are data: quotes, tags and bytes that are no UTF-8 stay within their string") {
  Status status;
  status.rings.push_back({.name = "\"</script>\n\x01\xff"});
  CHECK(json::parse(to_json(status))["rings"][0]["name"] == "\"</script>\n\x01\xEF\xBF\xBD");
}
