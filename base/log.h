#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace sharder {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kJson, kConsole };

// A key and its value; they follow the constant message of a log line. Keys are the same everywhere: ring, shard,
// object (ns/name), resource, uid, error.
struct LogField {
  using Value = std::variant<std::string, std::int64_t, double, bool>;
  std::string_view key;
  Value value;

  template <class T>
  LogField(std::string_view k, const T& v) : key(k), value(make(v)) {}

 private:
  template <class T>
  static Value make(const T& v) {
    if constexpr (std::same_as<T, bool>) {
      return v;
    } else if constexpr (std::integral<T>) {
      return static_cast<std::int64_t>(v);
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(v);
    } else {
      return std::string(v);
    }
  }
};

// A handle to write log lines with: cheap to copy, safe from any thread. Levels: info, a ring, shard, certificate or
// leader changed, a pass ended with its counts; debug, one object or request; warn, we go on by retrying; error, a
// person should look. An error is logged once, where it is handled. No object bodies, no Secrets.
class Logger {
 public:
  // Writes lines to standard error. JSON: {"ts":"...","level":"info","logger":"...","msg":"...","ring":"..."}.
  static Logger to_stderr(LogLevel level, LogFormat format);
  // Drops everything; for tests.
  static Logger none();
  // Calls `write` with each line, newline included, level debug; for tests.
  static Logger to_string(std::shared_ptr<std::string> lines, LogFormat format = LogFormat::kConsole);

  // The same destination, with `name` as the logger's name ("kube", "membership") and `fields` on each line.
  Logger named(std::string_view name) const;
  Logger with(std::initializer_list<LogField> fields) const;

  bool enabled(LogLevel level) const;
  void debug(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void info(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void warn(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void error(std::string_view message, std::initializer_list<LogField> fields = {}) const;

 private:
  struct Sink;
  Logger(std::shared_ptr<Sink> sink, LogFormat format);
  void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) const;

  std::shared_ptr<Sink> sink_;
  LogFormat format_;
  std::string name_;
  std::string bound_;  // fields of with(), already in the format of the line
};

}  // namespace sharder
