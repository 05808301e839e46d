#include "base/log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace sharder;
using nlohmann::json;

std::shared_ptr<std::string> new_lines() {
  return std::make_shared<std::string>();
}

// What to_stderr() writes while `write` runs.
template <class Write>
std::string captured(LogLevel level, LogFormat format, Write write) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const int before = dup(STDERR_FILENO);
  REQUIRE(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
  write(Logger::to_stderr(level, format));
  dup2(before, STDERR_FILENO);
  close(before);
  close(ends[1]);
  std::string text;
  std::array<char, 4096> chunk;
  for (ssize_t count; (count = read(ends[0], chunk.data(), chunk.size())) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
  close(ends[0]);
  return text;
}

TEST_CASE("a JSON line is one JSON object with time, level, name, message and fields") {
  const auto lines = new_lines();
  const Logger log = Logger::to_string(lines, LogFormat::kJson).named("kube").with({{"ring", "a"}});
  log.info("watch ended", {{"error", "say \"hi\"\n\\ \x01"}, {"count", 3}, {"ratio", 0.5}, {"last", true}});
  CHECK(lines->ends_with("\n"));
  const json line = json::parse(*lines);
  CHECK(line["level"] == "info");
  CHECK(line["logger"] == "kube");
  CHECK(line["msg"] == "watch ended");
  CHECK(line["ring"] == "a");
  CHECK(line["error"] == "say \"hi\"\n\\ \x01");
  CHECK(line["count"] == 3);
  CHECK(line["ratio"] == 0.5);
  CHECK(line["last"] == true);
  const std::string time = line["ts"];
  CHECK(time.size() == std::string("2026-11-23T07:46:01.418239Z").size());
  CHECK(time.ends_with("Z"));
}

TEST_CASE("what looks like a format of the logging library is only text") {
  const auto lines = new_lines();
  Logger::to_string(lines, LogFormat::kJson).info("{} %v {0}", {{"error", "%l {}"}});
  const json line = json::parse(*lines);
  CHECK(line["msg"] == "{} %v {0}");
  CHECK(line["error"] == "%l {}");
}

TEST_CASE("a console line quotes only what needs it") {
  const auto lines = new_lines();
  Logger::to_string(lines).named("certs").warn(
      "not reloaded", {{"folder", "/certs"}, {"error", "no such file"}, {"empty", ""}, {"eq", "a=b"}, {"n", -1}});
  CHECK(lines->ends_with(" W certs: not reloaded folder=/certs error=\"no such file\" empty=\"\" eq=\"a=b\" n=-1\n"));
}

TEST_CASE("each level is written under its name, and from the chosen one up") {
  const auto lines = new_lines();
  const Logger all = Logger::to_string(lines);
  all.debug("a");
  all.info("b");
  all.warn("c");
  all.error("d");
  for (const char* part : {" D a\n", " I b\n", " W c\n", " E d\n"}) {
    CAPTURE(std::string(part));
    CHECK(lines->find(part) != std::string::npos);
  }
  const std::string text = captured(LogLevel::kWarn, LogFormat::kConsole, [](const Logger& log) {
    CHECK_FALSE(log.enabled(LogLevel::kDebug));
    CHECK_FALSE(log.enabled(LogLevel::kInfo));
    CHECK(log.enabled(LogLevel::kWarn));
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
  });
  CHECK(text.find(" I b") == std::string::npos);
  CHECK(text.find(" W c\n") != std::string::npos);
  CHECK(text.find(" E d\n") != std::string::npos);
}

TEST_CASE("standard error gets JSON lines at each level from debug on") {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kError}) {
    const std::string text = captured(level, LogFormat::kJson, [](const Logger& log) { log.error("x"); });
    CHECK(json::parse(text)["level"] == "error");
  }
}

TEST_CASE("a logger without a destination drops everything") {
  const Logger log = Logger::none();
  CHECK_FALSE(log.enabled(LogLevel::kError));
  log.error("nobody hears this");
}

TEST_CASE("a handle with fields does not change the one it came from") {
  const auto lines = new_lines();
  const Logger log = Logger::to_string(lines);
  const Logger other = log.with({{"ring", "a"}}).with({{"shard", "b"}});
  other.info("x");
  log.info("y");
  CHECK(lines->find("x ring=a shard=b\n") != std::string::npos);
  CHECK(lines->ends_with(" I y\n"));
}

TEST_CASE("lines of many threads do not mix") {
  const auto lines = new_lines();
  const Logger log = Logger::to_string(lines, LogFormat::kJson);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([log, i] {
        for (int j = 0; j < 200; ++j) {
          log.info("x", {{"thread", i}, {"line", j}});
        }
      });
    }
  }
  int count = 0;
  for (std::size_t at = 0; at < lines->size(); ++count) {
    const auto end = lines->find('\n', at);
    CHECK(json::accept(lines->substr(at, end - at)));
    at = end + 1;
  }
  CHECK(count == 800);
}

}  // namespace
