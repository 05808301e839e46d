#pragma once

#include <yaml-cpp/yaml.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// Strict reading of YAML for config.cc: collects every mistake, each with the path of the field.
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

// What stands there, for a message: `the number 0`, `"abc"`, `a list`.
std::string describe(const YAML::Node& node);

// One value each; nullopt, and a mistake, when it is none. Types are those of YAML 1.1's core, as the Go program's
// parser has them: a text that looks like a number, a truth value or null must be quoted to be a string.
std::optional<std::string> read_string(const YAML::Node& node, std::string_view path, Mistakes& mistakes);
std::optional<bool> read_bool(const YAML::Node& node, std::string_view path, Mistakes& mistakes);
std::optional<std::int32_t> read_int(const YAML::Node& node, std::string_view path, Mistakes& mistakes);
std::optional<double> read_number(const YAML::Node& node, std::string_view path, Mistakes& mistakes);
std::optional<std::chrono::nanoseconds> read_duration(const YAML::Node& node, std::string_view path,
                                                      Mistakes& mistakes);
std::optional<std::vector<std::string>> read_strings(const YAML::Node& node, std::string_view path, Mistakes& mistakes);
std::optional<std::map<std::string, std::string>> read_string_map(const YAML::Node& node, std::string_view path,
                                                                  Mistakes& mistakes);

// A mapping whose fields are known. Ask for each of them, then finish(): what nobody asked for is a mistake.
class ObjectReader {
 public:
  // A node that is no mapping is a mistake, and reads like an empty one.
  ObjectReader(const YAML::Node& node, std::string path, Mistakes& mistakes);

  // Set `value` when the field is there, right, and not null; true when they did.
  bool field(std::string_view name, std::string& value) { return read_into(name, value, read_string); }
  bool field(std::string_view name, bool& value) { return read_into(name, value, read_bool); }
  bool field(std::string_view name, std::int32_t& value) { return read_into(name, value, read_int); }
  bool field(std::string_view name, double& value) { return read_into(name, value, read_number); }
  bool field(std::string_view name, std::chrono::nanoseconds& value) { return read_into(name, value, read_duration); }
  bool field(std::string_view name, std::vector<std::string>& value) { return read_into(name, value, read_strings); }
  bool field(std::string_view name, std::map<std::string, std::string>& value) {
    return read_into(name, value, read_string_map);
  }
  // As field(), but "" leaves the default too, as everywhere in the Go program.
  void text(std::string_view name, std::string& value);
  // A mapping below; not called when it is absent or null.
  void object(std::string_view name, const std::function<void(ObjectReader&)>& read);
  // A list of mappings; likewise.
  void objects(std::string_view name, const std::function<void(ObjectReader&)>& read);

  // Whether the field is there and not null.
  bool has(std::string_view name) const { return fields_.contains(name); }
  std::string path(std::string_view name) const { return join_path(path_, name); }
  void mistake(std::string_view name, std::string_view what) { mistakes_.add(path(name), what); }
  void finish();

 private:
  template <class T>
  bool read_into(std::string_view name, T& value,
                 std::optional<T> (*read)(const YAML::Node&, std::string_view, Mistakes&)) {
    if (const YAML::Node* const node = find(name)) {
      if (auto found = read(*node, path(name), mistakes_)) {
        value = std::move(*found);
        return true;
      }
    }
    return false;
  }
  const YAML::Node* find(std::string_view name);

  const std::string path_;
  Mistakes& mistakes_;
  std::map<std::string, YAML::Node, std::less<>> fields_;  // without those that are null
  std::set<std::string, std::less<>> given_;
  std::vector<std::string_view> known_;  // names are literals of the caller
};

}  // namespace sharder::app
