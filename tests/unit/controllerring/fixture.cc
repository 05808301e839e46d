#include "tests/unit/controllerring/fixture.h"

#include <yaml-cpp/yaml.h>

namespace sharder::testing {

namespace {

nlohmann::json to_json(const YAML::Node& node) {
  nlohmann::json result;
  switch (node.Type()) {
    case YAML::NodeType::Map:
      result = nlohmann::json::object();
      for (const auto& entry : node) {
        result[entry.first.Scalar()] = to_json(entry.second);
      }
      break;
    case YAML::NodeType::Sequence:
      result = nlohmann::json::array();
      for (const auto& element : node) {
        result.push_back(to_json(element));
      }
      break;
    case YAML::NodeType::Scalar:
      // A plain scalar is what JSON says it is, or a text; a quoted one is tagged "!".
      if (node.Tag() != "!" && nlohmann::json::accept(node.Scalar())) {
        result = nlohmann::json::parse(node.Scalar());
      } else {
        result = node.Scalar();
      }
      break;
    default:
      break;
  }
  return result;
}

}  // namespace

nlohmann::json read_fixture(const std::string& name) {
  return to_json(YAML::LoadFile(std::string(SHARDER_TESTDATA) + "/fixtures/" + name));
}

}  // namespace sharder::testing
