#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Strict reading of the JSON that kube/codec/yaml.h made of a text, for config.cc. Collects every mistake, each with
// the path of the field.
namespace sharder::app {

// The mistakes found so far: "controller.sharder.syncPeriod: want a duration like 5m, got \"abc\"".
class Mistakes {
 public:
  void add(std::string_view path, std::string_view what);
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

// "parent.name", or "name" at the top.
std::string join_path(std::string_view parent, std::string_view name);

// Describes a value in a message: `the number 0`, `"abc"`, `a list`.
std::string describe(const nlohmann::json& node);

// Each reads one value. A value of another type is a mistake, and the result is nullopt. A text that looks like a
// number or a truth value must be quoted to be a string. As in Go, null in a list or mapping of strings is an empty
// string.
std::optional<std::string> read_string(const nlohmann::json& node, std::string_view path, Mistakes& mistakes);
std::optional<bool> read_bool(const nlohmann::json& node, std::string_view path, Mistakes& mistakes);
std::optional<std::int32_t> read_int(const nlohmann::json& node, std::string_view path, Mistakes& mistakes);
std::optional<double> read_number(const nlohmann::json& node, std::string_view path, Mistakes& mistakes);
std::optional<std::chrono::nanoseconds> read_duration(const nlohmann::json& node, std::string_view path,
                                                      Mistakes& mistakes);
std::optional<std::vector<std::string>> read_strings(const nlohmann::json& node, std::string_view path,
                                                     Mistakes& mistakes);
std::optional<std::map<std::string, std::string>> read_string_map(const nlohmann::json& node, std::string_view path,
                                                                  Mistakes& mistakes);

// Reads a mapping with known fields. Ask for each field, then call finish(): a field that was not asked for is a
// mistake.
class ObjectReader {
 public:
  // A node that is no mapping is a mistake, and reads like an empty mapping. `node` outlives the reader.
  ObjectReader(const nlohmann::json& node, std::string path, Mistakes& mistakes);

  // Each sets `value` and returns true when the field is there, valid and not null.
  bool field(std::string_view name, std::string& value) { return read_into(name, value, read_string); }
  bool field(std::string_view name, bool& value) { return read_into(name, value, read_bool); }
  bool field(std::string_view name, std::int32_t& value) { return read_into(name, value, read_int); }
  bool field(std::string_view name, double& value) { return read_into(name, value, read_number); }
  bool field(std::string_view name, std::chrono::nanoseconds& value) { return read_into(name, value, read_duration); }
  bool field(std::string_view name, std::vector<std::string>& value) { return read_into(name, value, read_strings); }
  bool field(std::string_view name, std::map<std::string, std::string>& value) {
    return read_into(name, value, read_string_map);
  }
  // Like field(), but "" leaves the default too, as everywhere in the Go program.
  void text(std::string_view name, std::string& value);
  // Reads a mapping in the field; `read` is not called when the field is absent or null.
  void object(std::string_view name, const std::function<void(ObjectReader&)>& read);
  // The same for a list of mappings.
  void objects(std::string_view name, const std::function<void(ObjectReader&)>& read);

  // Whether the field is there and not null.
  bool has(std::string_view name) const { return find(name) != nullptr; }
  std::string path(std::string_view name) const { return join_path(path_, name); }
  void mistake(std::string_view name, std::string_view what) { mistakes_.add(path(name), what); }
  void finish();

 private:
  template <class T>
  bool read_into(std::string_view name, T& value,
                 std::optional<T> (*read)(const nlohmann::json&, std::string_view, Mistakes&)) {
    if (const nlohmann::json* const node = ask(name)) {
      if (auto found = read(*node, path(name), mistakes_)) {
        value = std::move(*found);
        return true;
      }
    }
    return false;
  }
  const nlohmann::json* find(std::string_view name) const;
  // Like find(); the field is known from now on.
  const nlohmann::json* ask(std::string_view name);

  const std::string path_;
  Mistakes& mistakes_;
  const nlohmann::json& node_;
  std::vector<std::string_view> known_;  // names are literals of the caller
};

}  // namespace sharder::app
