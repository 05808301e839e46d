#include "ring/label_selector.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

namespace sharder::ring {
namespace {

constexpr std::array<std::pair<SelectorOperator, std::string_view>, 4> kOperators{
    {{SelectorOperator::kIn, "In"},
     {SelectorOperator::kNotIn, "NotIn"},
     {SelectorOperator::kExists, "Exists"},
     {SelectorOperator::kDoesNotExist, "DoesNotExist"}}};

bool lists(const SelectorRequirement& requirement, const std::string& value) {
  return std::ranges::find(requirement.values, value) != requirement.values.end();
}

bool matches_requirement(const SelectorRequirement& requirement, const std::map<std::string, std::string>& labels) {
  const auto label = labels.find(requirement.key);
  const bool exists = label != labels.end();
  switch (requirement.op) {
    case SelectorOperator::kIn:
      return exists && lists(requirement, label->second);
    case SelectorOperator::kNotIn:
      return !exists || !lists(requirement, label->second);
    case SelectorOperator::kExists:
      return exists;
    case SelectorOperator::kDoesNotExist:
      return !exists;
  }
  return false;
}

}  // namespace

std::string_view to_string(SelectorOperator op) {
  return std::ranges::find(kOperators, op, &std::pair<SelectorOperator, std::string_view>::first)->second;
}

std::optional<SelectorOperator> parse_selector_operator(std::string_view word) {
  const auto* const found = std::ranges::find(kOperators, word, &std::pair<SelectorOperator, std::string_view>::second);
  return found == kOperators.end() ? std::nullopt : std::optional(found->first);
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  return std::ranges::all_of(match_labels,
                             [&](const auto& wanted) {
                               const auto label = labels.find(wanted.first);
                               return label != labels.end() && label->second == wanted.second;
                             }) &&
         std::ranges::all_of(match_expressions, [&](const auto& r) { return matches_requirement(r, labels); });
}

}  // namespace sharder::ring
