#include "kube/access/credentials.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/rfc3339.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_executor.h"
#include "tests/support/temp_folder.h"

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::FakeClock;
using testing::FakeExecutor;
using testing::TempFolder;

constexpr char kV1[] = "client.authentication.k8s.io/v1";

// A source on an API loop that the test drives.
struct Harness {
  ClusterConfig config;
  FakeClock clock;
  FakeExecutor loop{clock};
  std::unique_ptr<CredentialSource> source;
  TempFolder folder;
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();

  void start() { source = std::make_unique<CredentialSource>(config, clock, loop, Logger::to_string(lines)); }

  // Waits for the answer, running what the plugin's thread posts.
  Result<CredentialSource::Current> wait(const std::function<void(CredentialSource::Callback)>& ask) {
    std::optional<Result<CredentialSource::Current>> answer;
    ask([&](Result<CredentialSource::Current> result) { answer = std::move(result); });
    REQUIRE(eventually([&] {
      loop.run();
      return answer.has_value();
    }));
    return *answer;
  }
  Result<CredentialSource::Current> get() {
    return wait([&](auto callback) { source->get(std::move(callback)); });
  }
  Result<CredentialSource::Current> renew(const CredentialSource::Current& used) {
    return wait([&](auto callback) { source->renew(used, std::move(callback)); });
  }

  // A plugin that counts its runs and returns the token "<run>".
  void use_plugin(const std::string& status_rest = {}, const std::string& last = "exit 0") {
    config.exec =
        ExecPlugin{.command = "sh",
                   .args = {"-c",
                            "n=$(cat runs 2>/dev/null || echo 0); n=$((n+1)); echo $n > runs; "
                            "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\","
                            "\"status\":{\"token\":\"'$n'\"" +
                                status_rest + "}}'; " + last},
                   .env = {},
                   .api_version = kV1,
                   .install_hint = {},
                   .provide_cluster_info = false,
                   .cluster_extension = {}};
    config.exec->args[1].insert(0, "cd " + folder.path().string() + "; ");
    start();
  }
  std::string runs() const {
    std::string text;
    std::ifstream(folder / "runs") >> text;
    return text;
  }
};

TEST_CASE("fixed credentials become a header") {
  const auto header = [](const ClusterConfig& config) {
    Harness harness;
    harness.config = config;
    harness.start();
    return (*harness.get())->authorization;
  };
  ClusterConfig token;
  token.token = "t";
  CHECK(header(token) == "Bearer t");
  ClusterConfig basic;
  basic.username = "Aladdin";
  basic.password = "open sesame";
  CHECK(header(basic) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");  // RFC 7617, section 2
  CHECK(header({}).empty());
}

TEST_CASE("a token file is read again every minute, not more often") {
  Harness harness;
  harness.config.token_file = harness.folder.write("token", "one\n");
  harness.config.token = "fallback";
  harness.start();
  CHECK((*harness.get())->authorization == "Bearer one");
  harness.folder.write("token", "two");
  harness.clock.advance(59s);
  CHECK((*harness.get())->authorization == "Bearer one");
  harness.clock.advance(1s);
  CHECK((*harness.get())->authorization == "Bearer two");
}

TEST_CASE("a token file is read at once after a 401") {
  Harness harness;
  harness.config.token_file = harness.folder.write("token", "one");
  harness.start();
  const auto used = *harness.get();
  CHECK(*harness.renew(used) == used);  // nothing newer
  harness.folder.write("token", "two");
  const auto newer = *harness.renew(used);
  CHECK(newer->authorization == "Bearer two");
  CHECK(*harness.renew(used) == newer);  // others were refused as well: they get the new ones
}

TEST_CASE("a token file that is gone or empty leaves the token as it was") {
  Harness harness;
  harness.config.token_file = harness.folder.write("token", "one");
  harness.start();
  const auto used = *harness.get();
  std::filesystem::remove(harness.folder / "token");
  CHECK(*harness.renew(used) == used);
  CHECK(*harness.renew(used) == used);
  CHECK(std::ranges::count(*harness.lines, '\n') == 1);  // said once
  harness.folder.write("token", "");
  CHECK(*harness.renew(used) == used);
  CHECK(harness.lines->find("token file not read, the old token stays") != std::string::npos);
}

TEST_CASE("a plugin runs once for all that wait, and its credentials last until they expire") {
  Harness harness;
  harness.use_plugin(",\"expirationTimestamp\":\"" + format_time(harness.clock.wall() + 1h) + "\"");
  int answers = 0;
  for (int i = 0; i < 3; ++i) {
    harness.source->get([&](const Result<CredentialSource::Current>& current) {
      REQUIRE(current);
      CHECK((*current)->authorization == "Bearer 1");
      ++answers;
    });
  }
  REQUIRE(eventually([&] {
    harness.loop.run();
    return answers == 3;
  }));
  harness.clock.advance(59min);
  CHECK((*harness.get())->authorization == "Bearer 1");
  harness.clock.advance(1min);
  CHECK((*harness.get())->authorization == "Bearer 2");
  CHECK(harness.runs() == "2");
}

TEST_CASE("a 401 runs the plugin again, but not again and again") {
  Harness harness;
  harness.use_plugin();
  const auto first = *harness.get();
  CHECK(*harness.renew(first) == first);  // it has just run
  harness.clock.advance(10s);
  const auto second = *harness.renew(first);
  CHECK(second->authorization == "Bearer 2");
  CHECK(*harness.renew(first) == second);
  CHECK(harness.runs() == "2");
}

TEST_CASE("a plugin that fails is not run for a while, and is logged once, with its last words") {
  Harness harness;
  harness.use_plugin({}, "echo no >&2; exit 1");
  for (int i = 0; i < 3; ++i) {
    const auto failed = harness.get();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().message == "credentials: exec plugin sh: exit code 1");
  }
  CHECK(harness.runs() == "1");
  harness.clock.advance(2s);
  CHECK_FALSE(harness.get());
  CHECK(harness.runs() == "2");
  const std::string line = R"(credentials not renewed error="credentials: exec plugin sh: exit code 1" stderr=no)";
  CHECK(harness.lines->contains(line));
  CHECK(harness.lines->find("credentials not renewed") == harness.lines->rfind("credentials not renewed"));
}

TEST_CASE("a plugin that runs at the end is killed, and nobody is called back") {
  Harness harness;
  harness.use_plugin({}, "sleep 600");
  bool called = false;
  harness.source->get([&](const Result<CredentialSource::Current>&) { called = true; });
  harness.source.reset();
  harness.loop.run();
  CHECK_FALSE(called);
}

}  // namespace
}  // namespace sharder::kube
