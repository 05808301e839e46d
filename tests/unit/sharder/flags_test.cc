#include "sharder/flags.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sharder/version.h"

// protocol, 7 and 10: the Go program's flags, and ours.
namespace {

using namespace sharder;
using namespace sharder::app;

using Arguments = std::vector<std::string>;

std::string joined(const Arguments& arguments) {
  std::string text;
  for (const auto& argument : arguments) {
    text += argument + ' ';
  }
  return text;
}

TEST_CASE("without arguments there is no file and the log is JSON at level info") {
  const auto parsed = parse_command_line({});
  REQUIRE(parsed);
  CHECK_FALSE(parsed->answer);
  CHECK(parsed->flags.config_file.empty());
  CHECK(parsed->flags.kubeconfig.empty());
  CHECK(parsed->flags.log_level == LogLevel::kInfo);
  CHECK(parsed->flags.log_format == LogFormat::kJson);
}

TEST_CASE("files are given in each of Go's ways, and the last one counts") {
  const Arguments cases[] = {
      {"--config", "a.yaml", "--kubeconfig", "k"},
      {"--config=a.yaml", "--kubeconfig=k"},
      {"-config", "a.yaml", "-kubeconfig=k"},
      {"-config=a.yaml", "-kubeconfig", "k"},
      {"--config=b", "--config=a.yaml", "-kubeconfig=x", "-kubeconfig", "k"},
  };
  for (const auto& arguments : cases) {
    CAPTURE(joined(arguments));
    const auto parsed = parse_command_line(arguments);
    REQUIRE(parsed);
    CHECK(parsed->flags.config_file == "a.yaml");
    CHECK(parsed->flags.kubeconfig == "k");
  }
}

TEST_CASE("a flag that needs a value takes whatever follows") {
  auto parsed = parse_command_line({"--config", "-odd", "--kubeconfig", "--version"});
  REQUIRE(parsed);
  CHECK(parsed->flags.config_file == "-odd");
  CHECK(parsed->flags.kubeconfig == "--version");
  parsed = parse_command_line({"--config", "a=b c", "--kubeconfig=x=[y]"});
  REQUIRE(parsed);
  CHECK(parsed->flags.config_file == "a=b c");
  CHECK(parsed->flags.kubeconfig == "x=[y]");
}

TEST_CASE("level and format are understood under our names and under zap's") {
  struct Case {
    Arguments arguments;
    LogLevel level;
    LogFormat format;
  };
  const Case cases[] = {
      {{"--log-level=debug"}, LogLevel::kDebug, LogFormat::kJson},
      {{"--log-level", "warn", "--log-format", "console"}, LogLevel::kWarn, LogFormat::kConsole},
      {{"--log-level=ERROR", "--log-format=JSON"}, LogLevel::kError, LogFormat::kJson},
      {{"--zap-log-level=info"}, LogLevel::kInfo, LogFormat::kJson},
      {{"--zap-log-level=Debug"}, LogLevel::kDebug, LogFormat::kJson},
      {{"--zap-log-level=error"}, LogLevel::kError, LogFormat::kJson},
      {{"--zap-log-level=panic"}, LogLevel::kError, LogFormat::kJson},
      {{"--zap-log-level=1"}, LogLevel::kDebug, LogFormat::kJson},
      {{"-zap-log-level", "10"}, LogLevel::kDebug, LogFormat::kJson},
      {{"--zap-encoder=console"}, LogLevel::kInfo, LogFormat::kConsole},
      {{"--zap-devel"}, LogLevel::kDebug, LogFormat::kConsole},
      {{"-zap-devel"}, LogLevel::kDebug, LogFormat::kConsole},
      {{"--zap-devel=true"}, LogLevel::kDebug, LogFormat::kConsole},
      {{"--zap-devel=false"}, LogLevel::kInfo, LogFormat::kJson},
      {{"--zap-devel", "--zap-devel=0"}, LogLevel::kInfo, LogFormat::kJson},
      {{"--zap-devel", "--zap-encoder=json", "--zap-log-level=info"}, LogLevel::kInfo, LogFormat::kJson},
      {{"--zap-devel", "--log-level=error"}, LogLevel::kError, LogFormat::kConsole},
      {{"--zap-stacktrace-level=error", "--zap-time-encoding=rfc3339nano"}, LogLevel::kInfo, LogFormat::kJson},
  };
  for (const Case& c : cases) {
    CAPTURE(joined(c.arguments));
    const auto parsed = parse_command_line(c.arguments);
    REQUIRE(parsed);
    CHECK(parsed->flags.log_level == c.level);
    CHECK(parsed->flags.log_format == c.format);
  }
}

TEST_CASE("version and help are printed instead of running") {
  for (const char* flag : {"--version", "-version", "--version=true"}) {
    const auto parsed = parse_command_line({flag});
    REQUIRE(parsed);
    REQUIRE(parsed->answer);
    CHECK(*parsed->answer == version_text());
  }
  CHECK_FALSE(parse_command_line({"--version=false"})->answer);
  for (const char* flag : {"--help", "-help", "-h"}) {
    const auto parsed = parse_command_line({"--config=x", flag});
    REQUIRE(parsed);
    REQUIRE(parsed->answer);
    for (const char* name : {"--config", "--kubeconfig", "--log-level", "--log-format", "--zap-devel", "--zap-encoder",
                             "--zap-log-level", "--zap-stacktrace-level", "--zap-time-encoding", "--version"}) {
      CAPTURE(name);
      CHECK(parsed->answer->find(name) != std::string::npos);
    }
  }
}

TEST_CASE("what makes no sense is refused in one line") {
  struct Case {
    Arguments arguments;
    const char* message;
  };
  const Case cases[] = {
      {{"--confg=x"}, "unknown flag --confg, did you mean --config?"},
      {{"-zap-level=1"}, "unknown flag --zap-level, did you mean --zap-devel?"},
      {{"--leader-election"}, "unknown flag --leader-election"},
      {{"serve"}, "unexpected argument \"serve\": there are only flags"},
      {{"--version", "x"}, "unexpected argument \"x\": there are only flags"},
      {{"--"}, "unexpected argument \"--\": there are only flags"},
      {{"--config"}, "--config: needs a value"},
      {{"--config="}, "--config: needs a value"},
      {{"--zap-devel="}, "--zap-devel: needs a value"},
      {{"--zap-devel=maybe"}, "--zap-devel: want true or false, got \"maybe\""},
      {{"--version=maybe"}, "--version: want true or false, got \"maybe\""},
      {{"--log-level=verbose"}, "--log-level: want debug, info, warn or error, got \"verbose\""},
      {{"--log-format=xml"}, "--log-format: want json or console, got \"xml\""},
      {{"--zap-encoder=xml"}, "--zap-encoder: want json or console, got \"xml\""},
      {{"--zap-log-level=warn"}, "--zap-log-level: want debug, info, error, panic or a number > 0, got \"warn\""},
      {{"--zap-log-level=0"}, "--zap-log-level: want debug, info, error, panic or a number > 0, got \"0\""},
      {{"--zap-log-level=-1"}, "--zap-log-level: want debug, info, error, panic or a number > 0, got \"-1\""},
      {{"--zap-stacktrace-level=x"}, "--zap-stacktrace-level: want debug, info, error or panic, got \"x\""},
      {{"--zap-time-encoding=x"},
       "--zap-time-encoding: want epoch, millis, nano, iso8601, rfc3339 or rfc3339nano, got \"x\""},
      {{"--log-level=info", "--zap-log-level=info"}, "--log-level and --zap-log-level mean the same, give one of them"},
      {{"--zap-encoder=json", "--log-format=json"}, "--log-format and --zap-encoder mean the same, give one of them"},
  };
  for (const Case& c : cases) {
    CAPTURE(joined(c.arguments));
    const auto parsed = parse_command_line(c.arguments);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == ErrorCode::kInvalid);
    CHECK(parsed.error().message == c.message);
  }
}

}  // namespace
