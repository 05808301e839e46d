// Uses what the installed headers declare: what does not link is not exported. With an argument it holds a Lease.
#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "shard/lease.h"
#include "shard/observer.h"
#include "shard/shard.h"

namespace shard = sharder::shard;

namespace {

void need(bool condition, const char* what) {
  if (!condition) {
    std::cerr << "not so: " << what << '\n';
    std::exit(1);
  }
}

// Holds a Lease of the API server that $KUBECONFIG names, and releases it.
int hold_a_lease() {
  std::promise<void> acquired;
  const auto lease = shard::Lease::create(
      {.ring = "lone-ring", .name = "lone"}, {.on_acquired = [&] { acquired.set_value(); }, .on_lost = [] {}},
      sharder::Logger::to_stderr(sharder::LogLevel::kInfo, sharder::LogFormat::kConsole));
  need(lease.has_value(), "there is an API server");
  (*lease)->start();
  need(acquired.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready, "the Lease is acquired");
  const auto left = (*lease)->valid_until() - sharder::BootClock::now();
  need((*lease)->valid() && left.count() > 0 && left <= std::chrono::seconds(10), "the Lease is valid for a while");
  (*lease)->stop([&] { need(!(*lease)->valid(), "it is not valid any more while the work ends"); });
  return 0;
}

// Not called: these need an API server.
[[maybe_unused]] void with_an_api_server(shard::Shard& one, shard::Lease& lease) {
  lease.abandon();
  need(lease.is_seen() && !lease.begins_anew(), "the name has held the Lease all the time");
  need(one.valid() && one.valid_until() > sharder::BootClock::now() && one.name().empty(),
       "the shard's Lease is valid");
  need(one.add({}).has_value() && one.run().has_value() && one.metrics_port() + one.health_port() > 0, "it runs");
  one.stop();
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    return hold_a_lease();
  }
  const auto lines = std::make_shared<std::string>();
  const auto log = sharder::Logger::to_string(lines).named("test").with({{"shard", "a"}});
  log.debug("a line", {{"count", 3}});
  log.info("a line");
  log.warn("a line");
  log.error("a line");
  need(lines->contains("shard=a") && log.enabled(sharder::LogLevel::kDebug), "the log has the field");
  need(!sharder::Logger::none().enabled(sharder::LogLevel::kError), "nobody logs");

  ::setenv("KUBECONFIG", "/no/such/kubeconfig", 1);
  const auto one = shard::Shard::create({.ring = "r", .name = "a"}, log);
  need(!one && one.error().code == sharder::ErrorCode::kInvalid, "there is no kubeconfig");
  const auto lease = shard::Lease::create({.ring = "r", .name = "a"}, {.on_acquired = [] {}, .on_lost = [] {}}, log);
  need(!lease && lease.error().message == one.error().message, "a Lease finds its API server as a Shard does");
  const auto nameless = shard::Lease::create({.ring = ""}, {.on_acquired = [] {}, .on_lost = [] {}}, log);
  need(!nameless && nameless.error().message.starts_with("ring:"), "a Lease needs a ring");
  need(!shard::journal_to("/no/such/folder/journal", "a"), "the journal cannot be opened");

  const sharder::SystemClock clock;
  const sharder::Clock& any = clock;
  need(any.boot() > sharder::BootTime() && any.wall() > sharder::WallTime() && any.steady() > sharder::SteadyTime(),
       "clocks go");
  need(to_string(shard::ResourceName{.plural = "secrets"}) == "secrets", "a core resource");
  need(to_string(shard::ObjectName{.name = "x"}) == "x", "a cluster-scoped object");
  need(to_string(sharder::ErrorCode::kConflict) == "conflict", "a code");
  need(sharder::exception_text(std::runtime_error("x")) == "x", "an exception");
  const auto owners =
      shard::owner_references({{"apiVersion", "v1"}, {"kind", "Secret"}, {"metadata", {{"name", "x"}, {"uid", "1"}}}});
  need(owners.size() == 1 && owners[0]["controller"] == true && owners[0]["uid"] == "1", "an owner");
}
