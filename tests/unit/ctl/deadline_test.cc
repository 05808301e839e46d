#include <doctest/doctest.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "ctl/cluster.h"
#include "ctl/tls_probe.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/kube/loopback.h"

using namespace sharder;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

// The beginning of a TLS record of 16 KiB, then a byte of it every 50 ms.
void dribble(int descriptor, int /*number*/) {
  testing::write_all(descriptor, std::string("\x16\x03\x03\x40\x00", 5));
  for (int i = 0; i < 200 && send(descriptor, "\x02", 1, MSG_NOSIGNAL) == 1; ++i) {
    std::this_thread::sleep_for(50ms);
  }
}

}  // namespace

TEST_CASE("the deadline of a TLS handshake is not prolonged by bytes that come now and then") {
  const testing::Loopback server(dribble);
  const auto began = steady_clock::now();
  const auto chain = ctl::served_chain("127.0.0.1", std::to_string(server.port()), "x", 300ms);
  REQUIRE_FALSE(chain);
  CHECK(chain.error().code == ErrorCode::kUnavailable);
  CHECK(steady_clock::now() - began < 3s);
}

TEST_CASE("a deadline holds for each request of a command, whatever --request-timeout says") {
  const testing::Loopback server([](int descriptor, int) { testing::stay_silent(descriptor); });
  const testing::TempFolder folder;
  const auto config = folder.write("config",
                                   "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                                   "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                                   "clusters: [{name: c, cluster: {server: \"http://" +
                                       server.address() +
                                       "\"}}]\n"
                                       "users: [{name: u, user: {token: t}}]\n");
  ctl::Options options;
  options.kubeconfig = config;
  options.request_timeout = 24h;
  const auto cluster = ctl::Cluster::connect(options);
  REQUIRE(cluster);
  const auto began = steady_clock::now();
  (*cluster)->set_deadline(began + 300ms);
  const auto listed = (*cluster)->list(kube::kSecrets, "", "", [](const nlohmann::json&) {});
  REQUIRE_FALSE(listed);
  CHECK(listed.error().code == ErrorCode::kTimeout);
  CHECK_FALSE((*cluster)->resolve({.group = "apps", .resource = "deployments"}));
  CHECK(steady_clock::now() - began < 3s);
}
