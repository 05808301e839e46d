#include "membership/label_selector.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kube/codec/json.h"

namespace sharder::membership {

namespace {

using nlohmann::json;

std::vector<std::string> strings(const json& value) {
  std::vector<std::string> found;
  for (const json& element : kube::elements_of(value)) {
    if (element.is_string()) {
      found.push_back(element.get<std::string>());
    }
  }
  return found;
}

}  // namespace

Result<ring::LabelSelector> decode_label_selector(const json& value) {
  ring::LabelSelector selector;
  if (const json& labels = kube::value_at(value, "/matchLabels"); labels.is_object()) {
    for (const auto& [key, label] : labels.items()) {
      selector.match_labels.emplace(key, kube::string_of(label));
    }
  }
  for (const json& expression : kube::elements_of(kube::value_at(value, "/matchExpressions"))) {
    const std::string name = kube::string_at(expression, "/operator");
    const auto op = ring::parse_selector_operator(name);
    if (!op) {
      return fail(ErrorCode::kInvalid, "\"" + name + "\" is not a valid label selector operator");
    }
    selector.match_expressions.push_back({.key = kube::string_at(expression, "/key"),
                                          .op = *op,
                                          .values = strings(kube::value_at(expression, "/values"))});
  }
  return selector;
}

}  // namespace sharder::membership
