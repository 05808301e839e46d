#include <doctest/doctest.h>
#include <sys/resource.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http/roster.h"
#include "tests/unit/http/client.h"
#include "tests/unit/http/fixture.h"

using namespace std::chrono_literals;
using sharder::SteadyTime;
using sharder::http::Limits;
using sharder::http::Member;
using sharder::http::Roster;
using sharder::http::ServerOptions;
using sharder::http::Stage;
using sharder::http::Standing;
using sharder::testing::Client;
using sharder::testing::eventually;
using sharder::testing::kGet;
using sharder::testing::post;
using sharder::testing::TestServer;

namespace {

const SteadyTime kStart{1h};

std::shared_ptr<Member> add(Roster& roster, Stage stage, std::chrono::milliseconds at, bool fresh = true,
                            Standing standing = Standing::kFresh) {
  const auto member = std::make_shared<Member>(standing);
  roster.add(member, Stage::kIdle, kStart + at);
  if (!fresh) {
    roster.move(*member, Stage::kHandling, kStart + at);
  }
  roster.move(*member, stage, kStart + at);
  return member;
}

// A server with two places and one loop.
ServerOptions two_places() {
  ServerOptions options;
  options.limits.max_connections = 2;
  return options;
}

}  // namespace

TEST_CASE("each stage has its own deadline, from its begin") {
  Limits limits;
  limits.header_timeout = 10s;
  limits.idle_timeout = 120s;
  Roster roster(limits);
  CHECK(roster.next_deadline() == SteadyTime::max());
  const auto idle = add(roster, Stage::kIdle, 0ms);
  CHECK(roster.next_deadline() == kStart + 120s);
  const auto head = add(roster, Stage::kHead, 1s);
  CHECK(roster.next_deadline() == kStart + 11s);
  CHECK(roster.expired(kStart + 10s).empty());
  CHECK(roster.expired(kStart + 11s) == std::vector{head});
  CHECK(roster.expired(kStart + 120s).size() == 2);
  roster.move(*head, Stage::kHandling, kStart + 2s);
  CHECK(roster.next_deadline() == kStart + 120s);
  CHECK(roster.deadline(*head) == SteadyTime::max());
  roster.move(*head, Stage::kIdle, kStart + 5s);
  CHECK(roster.expired(kStart + 122s) == std::vector{idle});
  CHECK(roster.remove(*idle) == idle);
  CHECK(idle->stage() == Stage::kClosed);
  CHECK(roster.all() == std::vector{head});
}

TEST_CASE("who lingers goes first, then who never completed a request, then the longest idle, never a request") {
  Roster roster((Limits()));
  CHECK(roster.victim() == nullptr);
  const auto handling = add(roster, Stage::kHandling, 0ms, false);
  const auto writing = add(roster, Stage::kWriting, 0ms, false);
  const auto second_body = add(roster, Stage::kBody, 0ms, false);
  for (const Stage stage : {Stage::kHandshake, Stage::kHead, Stage::kLingering}) {
    add(roster, stage, 0ms, true, Standing::kShed);
  }
  CHECK(roster.victim() == nullptr);
  const auto idle_longer = add(roster, Stage::kIdle, 1ms, false);
  const auto idle = add(roster, Stage::kIdle, 2ms, false);
  const auto fresh_head = add(roster, Stage::kHead, 5ms);
  const auto handshake = add(roster, Stage::kHandshake, 4ms);
  const auto fresh_idle = add(roster, Stage::kIdle, 6ms);
  const auto fresh_body = add(roster, Stage::kBody, 7ms);
  const auto lingering = add(roster, Stage::kLingering, 8ms, false);
  CHECK(roster.fresh_victims() == 5);
  CHECK(roster.idle_victims() == 2);
  for (const auto& expected : {lingering, handshake, fresh_head, fresh_idle, fresh_body, idle_longer, idle}) {
    const auto victim = roster.victim();
    CHECK(victim == expected);
    roster.remove(*victim);
  }
  CHECK(roster.victim() == nullptr);
  CHECK(roster.all().size() == 6);
}

TEST_CASE("past the limit, who never completed a request goes before the longest idle") {
  TestServer test(two_places());
  Client idle(test.port);
  CHECK(idle.ask(kGet)->status == 200);
  Client silent(test.port);
  CHECK(eventually([&] { return test.server->stats().connections == 2; }));
  Client third(test.port);
  CHECK(third.ask(kGet)->status == 200);
  CHECK(silent.is_closed());
  CHECK(idle.ask(kGet)->status == 200);  // now the one last used
  Client fourth(test.port);
  CHECK(fourth.ask(kGet)->status == 200);
  CHECK(third.is_closed());
  CHECK(idle.ask(kGet)->status == 200);
  CHECK(test.server->stats().evicted == 2);
  CHECK(test.log().find("connection limit reached") != std::string::npos);
}

// docs/design.md, section 7: kube-apiserver retries a 503 with Retry-After; it must not see a dropped connection.
TEST_CASE("with requests in flight on every connection, newcomers get 503 and Retry-After") {
  for (const bool tls : {false, true}) {
    auto options = two_places();
    options.loops = 2;
    TestServer test(options, tls);
    Client first(test.port, {.tls = tls});
    REQUIRE(first.send(post("", "", "/later")));
    auto first_reply = test.later.take();
    Client second(test.port, {.tls = tls});
    REQUIRE(second.send(post("", "", "/later")));
    auto second_reply = test.later.take();
    for (int i = 0; i < 3; ++i) {
      Client shed(test.port, {.tls = tls});
      const auto answer = shed.ask(post("hello"));
      REQUIRE(answer);
      CHECK(answer->status == 503);
      CHECK(answer->header("retry-after") == "1");
      CHECK(answer->header("connection") == "close");
    }
    CHECK(test.server->stats().shed == 3);
    first_reply({.body = "1"});
    second_reply({.body = "2"});
    CHECK(first.read_answer()->body == "1");
    CHECK(second.read_answer()->body == "2");
    Client later(test.port, {.tls = tls});
    CHECK(later.ask(kGet)->status == 200);
  }
}

TEST_CASE("past the places for 503, clients wait in the backlog until one is free") {
  ServerOptions options;
  options.limits.max_connections = 0;  // every connection is one too many
  TestServer test(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<Client>(test.port));
    REQUIRE(clients.back()->send(kGet));
  }
  for (const auto& client : clients) {
    const auto answer = client->read_answer();
    REQUIRE(answer);
    CHECK(answer->status == 503);
    client->half_close();
  }
  CHECK(eventually([&] { return test.server->stats().connections == 0; }));
  CHECK(test.server->stats().shed == 100);
}

TEST_CASE("large requests past the common budget get 503, and the budget comes back") {
  ServerOptions options;
  options.limits.max_buffered_bytes = 1024 * 1024;
  TestServer test(options);
  Client holder(test.port);
  const std::string large = post(std::string(900'000, 'x'));
  REQUIRE(holder.send(large.substr(0, large.size() - 1)));
  for (int round = 0; round < 2; ++round) {
    // Until the server has read the first one, the second may fit.
    CHECK(eventually([&] {
      Client refused(test.port);
      std::jthread sender([&] { refused.send(large); });
      const auto answer = refused.read_answer();
      return answer && answer->status == 503 && answer->header("retry-after") == "1";
    }));
  }
  CHECK(holder.ask("x")->status == 200);
  CHECK(holder.ask(large)->status == 200);
}

TEST_CASE("out of descriptors, the server waits and goes on") {
  TestServer test;
  Client before(test.port);
  CHECK(before.ask(kGet)->status == 200);
  rlimit old = {};
  getrlimit(RLIMIT_NOFILE, &old);
  // Sockets of clients and server come from one table: leave room for the clients' alone.
  const int next_fd = dup(0);
  close(next_fd);
  rlimit low = old;
  low.rlim_cur = static_cast<rlim_t>(next_fd) + 1;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  Client waiting(test.port);  // takes the last one: the server gets EMFILE
  REQUIRE(waiting.send(kGet));
  CHECK(before.ask(kGet)->status == 200);  // which came after it, so by now the server has tried
  CHECK(test.server->stats().accepted == 1);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(waiting.read_answer()->status == 200);
  CHECK(test.log().find("cannot accept") != std::string::npos);
}
