#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <mutex>

#include "base/json_string.h"

namespace sharder {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

class StringSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit StringSink(std::shared_ptr<std::string> lines) : lines_(std::move(lines)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    lines_->append(line.data(), line.size());
  }
  void flush_() override {}

  std::shared_ptr<std::string> lines_;
};

void append_value(std::string& out, const LogField::Value& value, LogFormat format) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    const bool plain =
        format == LogFormat::kConsole && !text->empty() && text->find_first_of(" \"=\n\t\\") == std::string::npos;
    if (plain) {
      out += *text;
    } else {
      append_json_string(out, *text);
    }
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    out += std::to_string(*integer);
  } else if (const auto* number = std::get_if<double>(&value)) {
    fmt::format_to(std::back_inserter(out), "{}", *number);
  } else {
    out += std::get<bool>(value) ? "true" : "false";
  }
}

void append_fields(std::string& out, std::initializer_list<LogField> fields, LogFormat format) {
  for (const LogField& field : fields) {
    if (format == LogFormat::kJson) {
      out += ',';
      append_json_string(out, field.key);
      out += ':';
    } else {
      out += ' ';
      out += field.key;
      out += '=';
    }
    append_value(out, field.value, format);
  }
}

spdlog::logger make_logger(spdlog::sink_ptr sink, LogLevel level, LogFormat format) {
  spdlog::logger logger("sharder", std::move(sink));
  logger.set_level(to_spdlog(level));
  logger.flush_on(spdlog::level::debug);
  logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
      format == LogFormat::kJson ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l"%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %L %v",
      spdlog::pattern_time_type::utc));
  return logger;
}

}  // namespace

struct Logger::Sink {
  spdlog::logger logger;
};

Logger::Logger(std::shared_ptr<Sink> sink, LogFormat format) : sink_(std::move(sink)), format_(format) {}

Logger Logger::to_stderr(LogLevel level, LogFormat format) {
  return {std::make_shared<Sink>(make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), level, format)),
          format};
}

Logger Logger::none() {
  Logger logger{std::make_shared<Sink>(spdlog::logger("none", std::make_shared<spdlog::sinks::null_sink_mt>())),
                LogFormat::kJson};
  logger.sink_->logger.set_level(spdlog::level::off);
  return logger;
}

Logger Logger::to_string(std::shared_ptr<std::string> lines, LogFormat format) {
  return {std::make_shared<Sink>(make_logger(std::make_shared<StringSink>(std::move(lines)), LogLevel::kDebug, format)),
          format};
}

Logger Logger::named(std::string_view name) const {
  Logger logger = *this;
  logger.name_ = name;
  return logger;
}

Logger Logger::with(std::initializer_list<LogField> fields) const {
  Logger logger = *this;
  append_fields(logger.bound_, fields, format_);
  return logger;
}

bool Logger::enabled(LogLevel level) const {
  return sink_->logger.should_log(to_spdlog(level));
}

void Logger::debug(std::string_view message, std::initializer_list<LogField> fields) const {
  write(LogLevel::kDebug, message, fields);
}
void Logger::info(std::string_view message, std::initializer_list<LogField> fields) const {
  write(LogLevel::kInfo, message, fields);
}
void Logger::warn(std::string_view message, std::initializer_list<LogField> fields) const {
  write(LogLevel::kWarn, message, fields);
}
void Logger::error(std::string_view message, std::initializer_list<LogField> fields) const {
  write(LogLevel::kError, message, fields);
}

void Logger::write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) const {
  if (!enabled(level)) {
    return;
  }
  std::string line;
  if (format_ == LogFormat::kJson) {
    if (!name_.empty()) {
      line += ",\"logger\":";
      append_json_string(line, name_);
    }
    line += ",\"msg\":";
    append_json_string(line, message);
  } else {
    if (!name_.empty()) {
      line += name_;
      line += ": ";
    }
    line += message;
  }
  line += bound_;
  append_fields(line, fields, format_);
  sink_->logger.log(to_spdlog(level), line);
}

}  // namespace sharder
