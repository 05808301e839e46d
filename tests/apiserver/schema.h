#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sharder::apiserver {

// How the fields below one place of an object are merged and owned, as far as apply and strategic merge patches need
// it. Objects are granular and arrays are atomic unless said otherwise.
class Schema {
 public:
  enum class Kind {
    kDefault,  // an object is granular, an array and a scalar are one leaf
    kAtomic,   // one leaf, objects too
    kMap,      // an array of objects that are told apart by `keys`
    kSet,      // an array of scalars, each of which is owned by itself
  };

  // Of the built-in kinds: one schema for all, by the names of fields (metadata, webhooks, rules, selectors).
  static const Schema& built_in();
  // Of a custom resource: x-kubernetes-list-type, -list-map-keys and -map-type.
  static Schema from_open_api(const nlohmann::json& schema);

  Kind kind() const { return kind_; }
  const std::vector<std::string>& keys() const { return keys_; }
  // Of an object's field.
  const Schema& field(std::string_view name) const;
  // Of an array's items.
  const Schema& items() const;

 private:
  static Schema metadata();

  Kind kind_ = Kind::kDefault;
  std::vector<std::string> keys_;
  std::map<std::string, Schema, std::less<>> fields_;
  std::shared_ptr<const Schema> items_;
};

}  // namespace sharder::apiserver
