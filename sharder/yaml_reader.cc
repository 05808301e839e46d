#include "sharder/yaml_reader_internal.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "sharder/values.h"

namespace sharder::app {
namespace {

enum class Kind { kNull, kBool, kInteger, kNumber, kString, kList, kMapping };

constexpr std::string_view kNeedsQuotes = " (a string that looks like something else needs quotes)";

std::optional<bool> to_bool(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (lower == "true" || lower == "yes" || lower == "on") {
    return true;
  }
  if (lower == "false" || lower == "no" || lower == "off") {
    return false;
  }
  return std::nullopt;
}

// The whole text as a number; from_chars knows neither a leading plus nor digit separators, and nor do we.
template <class T>
std::optional<T> to_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<double> to_finite(std::string_view text) {
  const auto value = to_number<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

Kind kind_of(const YAML::Node& node) {
  if (node.IsMap()) {
    return Kind::kMapping;
  }
  if (node.IsSequence()) {
    return Kind::kList;
  }
  if (!node.IsScalar()) {
    return Kind::kNull;
  }
  if (node.Tag() != "?") {  // quoted, or tagged as a string
    return Kind::kString;
  }
  const std::string& text = node.Scalar();
  if (to_bool(text)) {
    return Kind::kBool;
  }
  if (to_number<std::int64_t>(text)) {
    return Kind::kInteger;
  }
  return to_finite(text) ? Kind::kNumber : Kind::kString;
}

void want(std::string_view what, const YAML::Node& node, std::string_view path, Mistakes& mistakes) {
  mistakes.add(path, "want " + std::string(what) + ", got " + describe(node));
}

}  // namespace

void Mistakes::add(std::string_view path, std::string_view what) {
  lines_.push_back(path.empty() ? std::string(what) : std::string(path) + ": " + std::string(what));
}

std::string join_path(std::string_view parent, std::string_view name) {
  return parent.empty() ? std::string(name) : std::string(parent) + "." + std::string(name);
}

std::string describe(const YAML::Node& node) {
  switch (kind_of(node)) {
    case Kind::kNull:
      return "nothing";
    case Kind::kBool:
      return "the truth value " + node.Scalar();
    case Kind::kInteger:
    case Kind::kNumber:
      return "the number " + node.Scalar();
    case Kind::kString:
      return "\"" + node.Scalar() + "\"";
    case Kind::kList:
      return "a list";
    case Kind::kMapping:
      return "a mapping";
  }
  return "something else";
}

std::optional<std::string> read_string(const YAML::Node& node, std::string_view path, Mistakes& mistakes) {
  const Kind kind = kind_of(node);
  if (kind == Kind::kString) {
    return node.Scalar();
  }
  const bool plain = kind == Kind::kBool || kind == Kind::kInteger || kind == Kind::kNumber;
  mistakes.add(path, "want a string, got " + describe(node) + (plain ? std::string(kNeedsQuotes) : ""));
  return std::nullopt;
}

std::optional<bool> read_bool(const YAML::Node& node, std::string_view path, Mistakes& mistakes) {
  if (kind_of(node) == Kind::kBool) {
    return to_bool(node.Scalar());
  }
  want("true or false", node, path, mistakes);
  return std::nullopt;
}

std::optional<std::int32_t> read_int(const YAML::Node& node, std::string_view path, Mistakes& mistakes) {
  if (kind_of(node) == Kind::kInteger) {
    if (const auto value = to_number<std::int32_t>(node.Scalar())) {
      return value;
    }
  }
  want("a whole number of 32 bits", node, path, mistakes);
  return std::nullopt;
}

std::optional<double> read_number(const YAML::Node& node, std::string_view path, Mistakes& mistakes) {
  const Kind kind = kind_of(node);
  if (kind == Kind::kInteger || kind == Kind::kNumber) {
    return to_finite(node.Scalar());
  }
  want("a number", node, path, mistakes);
  return std::nullopt;
}

std::optional<std::chrono::nanoseconds> read_duration(const YAML::Node& node, std::string_view path,
                                                      Mistakes& mistakes) {
  // A bare 0 needs no unit, so it need not be quoted either.
  if (node.IsScalar() && (kind_of(node) == Kind::kString || node.Scalar() == "0")) {
    if (const auto value = parse_go_duration(node.Scalar())) {
      // Far beyond what is of use, and far from where sums of times overflow.
      if (*value > std::chrono::years(10) || *value < -std::chrono::years(10)) {
        mistakes.add(path, "is longer than 10 years");
        return std::nullopt;
      }
      return value;
    }
  }
  want("a duration like 5m", node, path, mistakes);
  return std::nullopt;
}

std::optional<std::vector<std::string>> read_strings(const YAML::Node& node, std::string_view path,
                                                     Mistakes& mistakes) {
  if (!node.IsSequence()) {
    want("a list of strings", node, path, mistakes);
    return std::nullopt;
  }
  std::vector<std::string> values;
  bool good = true;
  for (std::size_t i = 0; i < node.size(); ++i) {
    auto value = read_string(node[i], std::string(path) + "[" + std::to_string(i) + "]", mistakes);
    good = good && value;
    values.push_back(value.value_or(""));
  }
  return good ? std::optional(std::move(values)) : std::nullopt;
}

std::optional<std::map<std::string, std::string>> read_string_map(const YAML::Node& node, std::string_view path,
                                                                  Mistakes& mistakes) {
  if (!node.IsMap()) {
    want("a mapping of strings", node, path, mistakes);
    return std::nullopt;
  }
  std::map<std::string, std::string> values;
  bool good = true;
  for (const auto& entry : node) {
    const auto key = read_string(entry.first, std::string(path) + ": key", mistakes);
    const auto value = key ? read_string(entry.second, join_path(path, *key), mistakes) : std::nullopt;
    if (key && value && !values.emplace(*key, *value).second) {
      mistakes.add(join_path(path, *key), "given twice");
    }
    good = good && value;
  }
  return good ? std::optional(std::move(values)) : std::nullopt;
}

ObjectReader::ObjectReader(const YAML::Node& node, std::string path, Mistakes& mistakes)
    : path_(std::move(path)), mistakes_(mistakes) {
  if (!node.IsMap()) {
    want("a mapping", node, path_, mistakes_);
    return;
  }
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) {
      mistakes_.add(path_, "a field's name is " + describe(entry.first));
      continue;
    }
    const std::string& name = entry.first.Scalar();
    if (!given_.insert(name).second) {
      mistake(name, "given twice");
    } else if (!entry.second.IsNull()) {
      fields_.emplace(name, entry.second);
    }
  }
}

void ObjectReader::text(std::string_view name, std::string& value) {
  std::string given;
  if (field(name, given) && !given.empty()) {
    value = std::move(given);
  }
}

void ObjectReader::object(std::string_view name, const std::function<void(ObjectReader&)>& read) {
  if (const YAML::Node* const node = find(name)) {
    ObjectReader reader(*node, path(name), mistakes_);
    read(reader);
    reader.finish();
  }
}

void ObjectReader::objects(std::string_view name, const std::function<void(ObjectReader&)>& read) {
  const YAML::Node* const node = find(name);
  if (node == nullptr) {
    return;
  }
  if (!node->IsSequence()) {
    return want("a list", *node, path(name), mistakes_);
  }
  for (std::size_t i = 0; i < node->size(); ++i) {
    ObjectReader reader((*node)[i], path(name) + "[" + std::to_string(i) + "]", mistakes_);
    read(reader);
    reader.finish();
  }
}

const YAML::Node* ObjectReader::find(std::string_view name) {
  known_.push_back(name);
  const auto found = fields_.find(name);
  return found == fields_.end() ? nullptr : &found->second;
}

void ObjectReader::finish() {
  for (const std::string& name : given_) {
    if (std::ranges::find(known_, name) == known_.end()) {
      const auto meant = closest(name, known_);
      mistake(name, meant ? "unknown field, did you mean " + std::string(*meant) + "?" : "unknown field");
    }
  }
}

}  // namespace sharder::app
