#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/object.h"
#include "tests/apiserver/status.h"

namespace sharder::apiserver {

struct Requirement {
  enum class Operator { kIn, kNotIn, kExists, kDoesNotExist, kGreater, kLess };

  std::string key = {};
  Operator op = Operator::kExists;
  std::set<std::string, std::less<>> values = {};

  bool matches(const Labels& labels) const;
};

// Which objects: all requirements must hold. Empty: every object.
class LabelSelector {
 public:
  // The query parameter: "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3". 400 when it is malformed.
  static Outcome<LabelSelector> parse(std::string_view text);
  // metav1.LabelSelector. 400 when it is malformed.
  static Outcome<LabelSelector> from_json(const nlohmann::json& selector);

  bool empty() const { return requirements_.empty(); }
  bool matches(const Labels& labels) const;

 private:
  std::vector<Requirement> requirements_;
};

// The query parameter fieldSelector: metadata.name and metadata.namespace with =, == and !=.
class FieldSelector {
 public:
  // 400 when it is malformed or names another field.
  static Outcome<FieldSelector> parse(std::string_view text);

  bool empty() const { return terms_.empty(); }
  bool matches(const Object& object) const;
  // The one object that can match, if the selector says so.
  std::optional<std::string> name() const;

 private:
  struct Term {
    bool is_name = true;  // else the namespace
    bool equal = true;
    std::string value;
  };
  std::vector<Term> terms_;
};

}  // namespace sharder::apiserver
