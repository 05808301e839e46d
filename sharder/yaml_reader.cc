#include "sharder/yaml_reader_internal.h"

#include <algorithm>
#include <utility>

#include "base/go_duration.h"
#include "sharder/values.h"

namespace sharder::app {
namespace {

using nlohmann::json;

constexpr std::string_view kNeedsQuotes = " (a string that looks like something else needs quotes)";

void want(std::string_view what, const json& node, std::string_view path, Mistakes& mistakes) {
  mistakes.add(path, "want " + std::string(what) + ", got " + describe(node));
}

}  // namespace

void Mistakes::add(std::string_view path, std::string_view what) {
  lines_.push_back(path.empty() ? std::string(what) : std::string(path) + ": " + std::string(what));
}

std::string join_path(std::string_view parent, std::string_view name) {
  return parent.empty() ? std::string(name) : std::string(parent) + "." + std::string(name);
}

std::string describe(const json& node) {
  switch (node.type()) {
    case json::value_t::boolean:
      return "the truth value " + node.dump();
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
    case json::value_t::number_float:
      return "the number " + node.dump();
    case json::value_t::string:
      return "\"" + node.get<std::string>() + "\"";
    case json::value_t::array:
      return "a list";
    case json::value_t::object:
      return "a mapping";
    default:
      return "nothing";
  }
}

std::optional<std::string> read_string(const json& node, std::string_view path, Mistakes& mistakes) {
  if (node.is_string()) {
    return node.get<std::string>();
  }
  const bool plain = node.is_boolean() || node.is_number();
  mistakes.add(path, "want a string, got " + describe(node) + (plain ? std::string(kNeedsQuotes) : ""));
  return std::nullopt;
}

std::optional<bool> read_bool(const json& node, std::string_view path, Mistakes& mistakes) {
  if (node.is_boolean()) {
    return node.get<bool>();
  }
  want("true or false", node, path, mistakes);
  return std::nullopt;
}

std::optional<std::int32_t> read_int(const json& node, std::string_view path, Mistakes& mistakes) {
  if (node.is_number_integer()) {
    if (const auto value = node.get<std::int32_t>(); node == json(value)) {
      return value;
    }
  }
  want("a whole number of 32 bits", node, path, mistakes);
  return std::nullopt;
}

std::optional<double> read_number(const json& node, std::string_view path, Mistakes& mistakes) {
  if (node.is_number()) {
    return node.get<double>();
  }
  want("a number", node, path, mistakes);
  return std::nullopt;
}

std::optional<std::chrono::nanoseconds> read_duration(const json& node, std::string_view path, Mistakes& mistakes) {
  // A bare 0 needs no unit, so it need not be quoted either.
  if (node.is_string() || node == json(0)) {
    if (const auto value = parse_go_duration(node.is_string() ? node.get<std::string>() : "0")) {
      // Longer than any useful value, and so short that sums of times do not overflow.
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

namespace {

std::optional<std::string> read_item(const json& node, std::string_view path, Mistakes& mistakes) {
  return node.is_null() ? std::optional<std::string>("") : read_string(node, path, mistakes);
}

}  // namespace

std::optional<std::vector<std::string>> read_strings(const json& node, std::string_view path, Mistakes& mistakes) {
  if (!node.is_array()) {
    want("a list of strings", node, path, mistakes);
    return std::nullopt;
  }
  std::vector<std::string> values;
  bool good = true;
  for (const json& item : node) {
    const std::string where = std::string(path) + "[" + std::to_string(values.size()) + "]";
    auto value = read_item(item, where, mistakes);
    good = good && value;
    values.push_back(value.value_or(""));
  }
  return good ? std::optional(std::move(values)) : std::nullopt;
}

std::optional<std::map<std::string, std::string>> read_string_map(const json& node, std::string_view path,
                                                                  Mistakes& mistakes) {
  if (!node.is_object()) {
    want("a mapping of strings", node, path, mistakes);
    return std::nullopt;
  }
  std::map<std::string, std::string> values;
  bool good = true;
  for (const auto& entry : node.items()) {
    auto value = read_item(entry.value(), join_path(path, entry.key()), mistakes);
    good = good && value;
    values.emplace(entry.key(), value.value_or(""));
  }
  return good ? std::optional(std::move(values)) : std::nullopt;
}

ObjectReader::ObjectReader(const json& node, std::string path, Mistakes& mistakes)
    : path_(std::move(path)), mistakes_(mistakes), node_(node) {
  if (!node_.is_object()) {
    want("a mapping", node_, path_, mistakes_);
  }
}

void ObjectReader::text(std::string_view name, std::string& value) {
  std::string given;
  if (field(name, given) && !given.empty()) {
    value = std::move(given);
  }
}

void ObjectReader::object(std::string_view name, const std::function<void(ObjectReader&)>& read) {
  if (const json* const node = ask(name)) {
    ObjectReader reader(*node, path(name), mistakes_);
    read(reader);
    reader.finish();
  }
}

void ObjectReader::objects(std::string_view name, const std::function<void(ObjectReader&)>& read) {
  const json* const node = ask(name);
  if (node == nullptr) {
    return;
  }
  if (!node->is_array()) {
    return want("a list", *node, path(name), mistakes_);
  }
  std::size_t index = 0;
  for (const json& item : *node) {
    ObjectReader reader(item, path(name) + "[" + std::to_string(index++) + "]", mistakes_);
    read(reader);
    reader.finish();
  }
}

const json* ObjectReader::find(std::string_view name) const {
  const auto found = node_.find(name);
  return found == node_.end() || found->is_null() ? nullptr : &*found;
}

const json* ObjectReader::ask(std::string_view name) {
  known_.push_back(name);
  return find(name);
}

void ObjectReader::finish() {
  if (!node_.is_object()) {
    return;
  }
  for (const auto& entry : node_.items()) {
    if (std::ranges::find(known_, entry.key()) == known_.end()) {
      const auto meant = closest(entry.key(), known_);
      mistake(entry.key(), meant ? "unknown field, did you mean " + std::string(*meant) + "?" : "unknown field");
    }
  }
}

}  // namespace sharder::app
