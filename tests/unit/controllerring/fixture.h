#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace sharder::testing {

// A YAML file of tests/testdata/fixtures as JSON.
nlohmann::json read_fixture(const std::string& name);

}  // namespace sharder::testing
