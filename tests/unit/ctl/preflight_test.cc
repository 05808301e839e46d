#include "ctl/preflight.h"

#include <doctest/doctest.h>

#include <string>
#include <tuple>
#include <vector>

using namespace sharder;
using namespace sharder::ctl;
using nlohmann::json;

namespace {

json crd() {
  return {{"metadata", {{"name", "controllerrings.sharding.timebertt.dev"}}},
          {"spec",
           {{"scope", "Cluster"},
            {"versions", {{{"name", "v1alpha1"}, {"served", true}, {"subresources", {{"status", json::object()}}}}}}}},
          {"status", {{"conditions", {{{"type", "Established"}, {"status", "True"}}}}}}};
}

ClusterFacts ready() {
  return {.version = "v1.36.3", .minor = 36, .crd = crd(), .cert_manager = true};
}

// The only finding.
Finding only(const ClusterFacts& facts) {
  const auto found = examine_cluster(facts);
  REQUIRE(found.size() == 1);
  return found.front();
}

}  // namespace

TEST_CASE("a cluster that is ready for an installation has no finding") {
  CHECK(examine_cluster(ready()).empty());
}

TEST_CASE("each thing that is missing before an installation is named") {
  ClusterFacts facts = ready();
  facts.minor = 29;
  CHECK(only(facts).check == Check::kServerVersion);
  facts = ready();
  facts.missing_apis = {"leases.coordination.k8s.io"};
  CHECK(only(facts).object == "leases.coordination.k8s.io");
  facts = ready();
  facts.missing_permissions = {{.verb = "create", .resource = {.group = "apps", .resource = "deployments"}}};
  CHECK(only(facts).message == "you may not create deployments.apps");
  facts = ready();
  facts.crd = json();
  CHECK(only(facts).check == Check::kCrdMissing);
  facts = ready();
  facts.cert_manager = false;
  CHECK(only(facts).severity() == Severity::kInfo);
  facts.cert_manager.reset();
  CHECK(examine_cluster(facts).empty());
  facts = ready();
  facts.silent_apis = {{.name = "v1beta1.metrics.k8s.io", .message = "no endpoints"}};
  CHECK(only(facts).object == "apiservices v1beta1.metrics.k8s.io");
  facts = ready();
  facts.sharder_namespace = {
      {"metadata", {{"name", "sharding-system"}, {"deletionTimestamp", "2026-11-23T00:00:00Z"}}}};
  CHECK(only(facts).check == Check::kNamespace);
}

TEST_CASE("a CRD that is another is not taken for ours") {
  for (const auto& [pointer, value, message] : std::vector<std::tuple<const char*, json, std::string>>{
           {"/spec/versions/0/name", "v1", "it does not serve the version v1alpha1"},
           {"/spec/versions/0/served", false, "it does not serve the version v1alpha1"},
           {"/spec/scope", "Namespaced", "its scope is not Cluster"},
           {"/spec/versions/0/subresources", nullptr, "it has no subresource status"},
           {"/status/conditions/0/status", "False", "it is not established: "}}) {
    ClusterFacts facts = ready();
    facts.crd[json::json_pointer(pointer)] = value;
    CHECK(only(facts).check == Check::kCrd);
    CHECK(only(facts).message == message);
  }
}

TEST_CASE("the minor version of an API server, with the marks of its vendor") {
  CHECK(minor_version({{"major", "1"}, {"minor", "36"}}) == 36);
  CHECK(minor_version({{"major", "1"}, {"minor", "30+"}}) == 30);
  CHECK_FALSE(minor_version({{"major", "2"}, {"minor", "0"}}));
  CHECK_FALSE(minor_version(json::object()));
}
