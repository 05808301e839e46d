#include "ctl/labels_command.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ctl/commands.h"
#include "ctl/context.h"
#include "tests/apiserver/server.h"
#include "tests/support/temp_folder.h"

using namespace sharder;
using namespace sharder::ctl;
using nlohmann::json;

namespace {

const std::string kLabel = "shard.alpha.sharding.timebertt.dev/ring";

json rings_definition() {
  const json version{
      {"name", "v1alpha1"},
      {"served", true},
      {"storage", true},
      {"schema", {{"openAPIV3Schema", {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}}}}}};
  return {{"apiVersion", "apiextensions.k8s.io/v1"},
          {"kind", "CustomResourceDefinition"},
          {"metadata", {{"name", "controllerrings.sharding.timebertt.dev"}}},
          {"spec",
           {{"group", "sharding.timebertt.dev"},
            {"scope", "Cluster"},
            {"names",
             {{"kind", "ControllerRing"},
              {"listKind", "ControllerRingList"},
              {"plural", "controllerrings"},
              {"singular", "controllerring"}}},
            {"versions", {version}}}}};
}

// The embedded API server with a Secret and a ConfigMap that have the ring's label.
struct World {
  apiserver::ApiServer server{{.definitions = {rings_definition()}}};
  testing::TempFolder folder;

  World() {
    folder.write("kubeconfig", server.kubeconfig());
    for (const char* const kind : {"Secret", "ConfigMap"}) {
      add({{"apiVersion", "v1"},
           {"kind", kind},
           {"metadata", {{"name", "a"}, {"namespace", "default"}, {"labels", {{kLabel, "s"}}}}}});
    }
  }

  void add(json object) { REQUIRE(server.api().add(std::move(object))); }
  // The ring, with these main resources.
  void add_ring(const std::vector<std::pair<const char*, const char*>>& resources) {
    json all = json::array();
    for (const auto& [group, resource] : resources) {
      all.push_back({{"group", group}, {"resource", resource}});
    }
    add({{"apiVersion", "sharding.timebertt.dev/v1alpha1"},
         {"kind", "ControllerRing"},
         {"metadata", {{"name", "ring"}}},
         {"spec", {{"resources", std::move(all)}}}});
  }
  void fail_below(const char* path) {
    const auto fault = apiserver::Fault::from_json({{"fault", "error"}, {"status", 503}, {"path", path}});
    REQUIRE(fault);
    server.faults().add(*fault);
  }

  ExitCode remove(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"labels", "remove", "ring", "--yes", "--kubeconfig", folder / "kubeconfig"};
    words.insert(words.end(), more.begin(), more.end());
    const auto invocation = parse_command_line(commands(), global_flags(), words);
    REQUIRE(invocation);
    const auto options = read_options(*invocation);
    REQUIRE(options);
    Console console(true);
    Context context{.invocation = *invocation, .options = *options, .console = console};
    const auto code = run_labels_remove(context);
    return code ? *code : exit_code_of(code.error());
  }
  bool is_labelled(const std::string& resource) {
    const auto answer =
        server.api().handle(apiserver::request_to("GET", "/api/v1/namespaces/default/" + resource + "/a"));
    return json::parse(answer.body).at("metadata").value("labels", json::object()).contains(kLabel);
  }
};

}  // namespace

TEST_CASE("the labels of good resources are removed, whatever the others of the ring are") {
  World world;
  ExitCode expected = ExitCode::kOk;
  SUBCASE("one is not served: it has no objects") {
    world.add_ring({{"example.com", "widgets"}, {"", "secrets"}});
  }
  SUBCASE("the API server of one does not answer") {
    world.add_ring({{"metrics.k8s.io", "pods"}, {"", "secrets"}});
    world.fail_below("/apis/metrics.k8s.io");
    expected = ExitCode::kTimeout;
  }
  SUBCASE("one cannot be listed") {
    world.add_ring({{"", "configmaps"}, {"", "secrets"}});
    world.fail_below("/api/v1/configmaps");
    expected = ExitCode::kTimeout;
  }
  CHECK(world.remove() == expected);
  CHECK_FALSE(world.is_labelled("secrets"));
  CHECK(world.is_labelled("configmaps"));
}

TEST_CASE("nothing is removed when --resource names what there is not") {
  World world;
  CHECK(world.remove({"--resource", "secrets", "--resource", "secretz"}) == ExitCode::kUsage);
  CHECK(world.is_labelled("secrets"));
}
