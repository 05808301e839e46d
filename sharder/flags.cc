#include "sharder/flags.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "base/ascii.h"
#include "sharder/values.h"
#include "sharder/version.h"

namespace sharder::app {
namespace {

// As given; nullopt for a flag that is absent.
struct Texts {
  std::optional<std::string> config, kubeconfig, log_level, log_format;
  std::optional<std::string> zap_devel, zap_encoder, zap_log_level, zap_stacktrace_level, zap_time_encoding;
  std::optional<std::string> version;
};

enum class Takes { kValue, kBoolean };

struct FlagRow {
  std::string_view name;
  Takes takes;
  std::optional<std::string> Texts::* text;
  const char* help;
};

constexpr std::array<FlagRow, 10> kFlags{{
    {"config", Takes::kValue, &Texts::config, "SharderConfig file; without it all defaults"},
    {"kubeconfig", Takes::kValue, &Texts::kubeconfig,
     "kubeconfig file; without it $KUBECONFIG, in-cluster, ~/.kube/config"},
    {"log-level", Takes::kValue, &Texts::log_level, "debug, info (default), warn or error"},
    {"log-format", Takes::kValue, &Texts::log_format, "json (default) or console"},
    {"zap-devel", Takes::kBoolean, &Texts::zap_devel, "log for people: --log-level=debug --log-format=console"},
    {"zap-encoder", Takes::kValue, &Texts::zap_encoder, "alias of --log-format"},
    {"zap-log-level", Takes::kValue, &Texts::zap_log_level,
     "alias of --log-level: debug, info, error, panic or a number > 0"},
    {"zap-stacktrace-level", Takes::kValue, &Texts::zap_stacktrace_level, "no effect"},
    {"zap-time-encoding", Takes::kValue, &Texts::zap_time_encoding, "no effect: times are RFC 3339"},
    {"version", Takes::kBoolean, &Texts::version, "print version, commit and compiler, and exit"},
}};

// A value that a flag may have, in lower case, and what it means.
template <class T>
struct Choice {
  std::string_view text;
  T value;
};

std::unexpected<Error> wrong_value(std::string_view flag, std::string_view wanted, std::string_view given) {
  return fail(ErrorCode::kInvalid,
              "--" + std::string(flag) + ": want " + std::string(wanted) + ", got \"" + std::string(given) + "\"");
}

// Texts are compared without regard to letter case, as controller-runtime does.
template <class T, std::size_t N>
Result<T> choose(std::string_view flag, const std::string& given, const std::array<Choice<T>, N>& choices) {
  std::string wanted;
  for (std::size_t i = 0; i < N; ++i) {
    if (equals_ignoring_case(given, choices[i].text)) {
      return choices[i].value;
    }
    wanted += i == 0 ? "" : i + 1 == N ? " or " : ", ";
    wanted += choices[i].text;
  }
  return wrong_value(flag, wanted, given);
}

constexpr std::array<Choice<LogLevel>, 4> kLogLevels{
    {{"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo}, {"warn", LogLevel::kWarn}, {"error", LogLevel::kError}}};
constexpr std::array<Choice<LogFormat>, 2> kLogFormats{{{"json", LogFormat::kJson}, {"console", LogFormat::kConsole}}};
// zap's flag has no warn, and its panic is above everything that we log.
constexpr std::array<Choice<LogLevel>, 4> kZapLevels{
    {{"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo}, {"error", LogLevel::kError}, {"panic", LogLevel::kError}}};
constexpr std::array<Choice<bool>, 6> kZapTimes{
    {{"epoch", true}, {"millis", true}, {"nano", true}, {"iso8601", true}, {"rfc3339", true}, {"rfc3339nano", true}}};

Result<LogLevel> zap_level(const std::string& given) {
  int verbosity = 0;
  const char* const end = given.data() + given.size();
  if (const auto [rest, error] = std::from_chars(given.data(), end, verbosity);
      error == std::errc() && rest == end && verbosity > 0) {
    return LogLevel::kDebug;
  }
  if (auto level = choose("zap-log-level", given, kZapLevels)) {
    return level;
  }
  return wrong_value("zap-log-level", "debug, info, error, panic or a number > 0", given);
}

std::unexpected<Error> unknown_flag(std::string_view name) {
  std::array<std::string_view, kFlags.size()> names;
  std::ranges::transform(kFlags, names.begin(), &FlagRow::name);
  std::string message = "unknown flag --" + std::string(name);
  if (const auto meant = closest(name, names)) {
    message += ", did you mean --" + std::string(*meant) + "?";
  }
  return fail(ErrorCode::kInvalid, std::move(message));
}

std::string help_text() {
  constexpr std::size_t kColumn = 34;  // of the descriptions
  std::string text =
      "Assigns the objects of sharded Kubernetes controllers to their shards.\nUsage: sharder [FLAGS]\n\n";
  const auto add = [&text](std::string flag, std::string_view meaning) {
    flag.resize(kColumn, ' ');
    text.append("  ").append(flag).append(meaning).append("\n");
  };
  add("-h, --help", "print this text and exit");
  for (const FlagRow& flag : kFlags) {
    add("--" + std::string(flag.name) + (flag.takes == Takes::kValue ? " TEXT" : ""), flag.help);
  }
  return text;
}

// Reads arguments as Go's package flag does: "-name value", "--name=value", "-flag". The argument after a flag that
// needs a value is always its value, and the last one counts. Fills `texts`. Returns the help text when it was asked
// for.
Result<std::optional<std::string>> read_texts(const std::vector<std::string>& arguments, Texts& texts) {
  for (auto argument = arguments.begin(); argument != arguments.end(); ++argument) {
    if (!argument->starts_with('-') || *argument == "-" || *argument == "--") {
      return fail(ErrorCode::kInvalid, "unexpected argument \"" + *argument + "\": there are only flags");
    }
    const std::string text = argument->substr(argument->starts_with("--") ? 2 : 1);
    const auto equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (name == "h" || name == "help") {
      return help_text();
    }
    const auto* const flag = std::ranges::find(kFlags, name, &FlagRow::name);
    if (flag == kFlags.end()) {
      return unknown_flag(name);
    }
    std::string value = equals == std::string::npos ? "true" : text.substr(equals + 1);
    if (flag->takes == Takes::kValue && equals == std::string::npos) {
      value = ++argument == arguments.end() ? "" : *argument;
    }
    if (value.empty()) {
      return fail(ErrorCode::kInvalid, "--" + name + ": needs a value");
    }
    texts.*flag->text = std::move(value);
  }
  return std::nullopt;
}

Result<bool> is_set(std::string_view flag, const std::optional<std::string>& text) {
  if (!text) {
    return false;
  }
  if (const auto value = parse_go_bool(*text)) {
    return *value;
  }
  return wrong_value(flag, "true or false", *text);
}

// A flag and its alias, as one value; `fallback` when neither is given.
template <class T>
Result<T> one_of(std::string_view flag, const std::optional<Result<T>>& value, std::string_view alias,
                 const std::optional<Result<T>>& alias_value, T fallback) {
  if (value && alias_value) {
    return fail(ErrorCode::kInvalid,
                "--" + std::string(flag) + " and --" + std::string(alias) + " mean the same, give one of them");
  }
  return value ? *value : alias_value ? *alias_value : Result<T>(fallback);
}

template <class T, class Parse>
std::optional<Result<T>> parse_if_given(const std::optional<std::string>& text, Parse parse) {
  return text ? std::optional<Result<T>>(parse(*text)) : std::nullopt;
}

Result<LogLevel> log_level(const Texts& texts, LogLevel fallback) {
  return one_of(
      "log-level",
      parse_if_given<LogLevel>(texts.log_level, [](const auto& text) { return choose("log-level", text, kLogLevels); }),
      "zap-log-level", parse_if_given<LogLevel>(texts.zap_log_level, zap_level), fallback);
}

Result<LogFormat> log_format(const Texts& texts, LogFormat fallback) {
  const auto parse = [](std::string_view flag) {
    return [flag](const auto& text) { return choose(flag, text, kLogFormats); };
  };
  return one_of("log-format", parse_if_given<LogFormat>(texts.log_format, parse("log-format")), "zap-encoder",
                parse_if_given<LogFormat>(texts.zap_encoder, parse("zap-encoder")), fallback);
}

// Flags without effect must still have valid values: a typing mistake is an error.
Result<void> check_without_effect(const Texts& texts) {
  if (texts.zap_stacktrace_level) {
    if (auto level = choose("zap-stacktrace-level", *texts.zap_stacktrace_level, kZapLevels); !level) {
      return std::unexpected(std::move(level.error()));
    }
  }
  if (texts.zap_time_encoding) {
    if (auto encoding = choose("zap-time-encoding", *texts.zap_time_encoding, kZapTimes); !encoding) {
      return std::unexpected(std::move(encoding.error()));
    }
  }
  return {};
}

Result<Flags> evaluate(const Texts& texts) {
  const auto devel = is_set("zap-devel", texts.zap_devel);
  if (!devel) {
    return std::unexpected(devel.error());
  }
  const auto level = log_level(texts, *devel ? LogLevel::kDebug : LogLevel::kInfo);
  if (!level) {
    return std::unexpected(level.error());
  }
  const auto format = log_format(texts, *devel ? LogFormat::kConsole : LogFormat::kJson);
  if (!format) {
    return std::unexpected(format.error());
  }
  if (auto checked = check_without_effect(texts); !checked) {
    return std::unexpected(std::move(checked.error()));
  }
  return Flags{.config_file = texts.config.value_or(""),
               .kubeconfig = texts.kubeconfig.value_or(""),
               .log_level = *level,
               .log_format = *format};
}

}  // namespace

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  Texts texts;
  auto help = read_texts(arguments, texts);
  if (!help) {
    return std::unexpected(std::move(help.error()));
  }
  if (*help) {
    return CommandLine{.flags = {}, .answer = std::move(*help)};
  }
  const auto version = is_set("version", texts.version);
  if (!version) {
    return std::unexpected(version.error());
  }
  if (*version) {
    return CommandLine{.flags = {}, .answer = version_text()};
  }
  auto flags = evaluate(texts);
  if (!flags) {
    return std::unexpected(std::move(flags.error()));
  }
  return CommandLine{.flags = std::move(*flags), .answer = std::nullopt};
}

}  // namespace sharder::app
