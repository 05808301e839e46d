#include "ring/label_selector.h"

#include <algorithm>
#include <map>
#include <string>

namespace sharder::ring {
namespace {

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

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  return std::ranges::all_of(match_labels,
                             [&](const auto& wanted) {
                               const auto label = labels.find(wanted.first);
                               return label != labels.end() && label->second == wanted.second;
                             }) &&
         std::ranges::all_of(match_expressions, [&](const auto& r) { return matches_requirement(r, labels); });
}

}  // namespace sharder::ring
