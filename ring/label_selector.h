#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sharder::ring {

enum class SelectorOperator { kIn, kNotIn, kExists, kDoesNotExist };
// "In", "NotIn", "Exists", "DoesNotExist".
std::string_view to_string(SelectorOperator op);
std::optional<SelectorOperator> parse_selector_operator(std::string_view word);

struct SelectorRequirement {
  std::string key;
  SelectorOperator op = SelectorOperator::kIn;
  std::vector<std::string> values;
  bool operator==(const SelectorRequirement&) const = default;
};

// metav1.LabelSelector: a plain value. Empty selects everything.
struct LabelSelector {
  std::map<std::string, std::string> match_labels;
  std::vector<SelectorRequirement> match_expressions;
  bool operator==(const LabelSelector&) const = default;

  // As in the API server, NotIn and DoesNotExist match an object without the label too.
  bool matches(const std::map<std::string, std::string>& labels) const;
};

}  // namespace sharder::ring
