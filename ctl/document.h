#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace sharder::ctl {

// The version of what -o json and -o yaml print. Fields are added; none changes its meaning within a version.
inline constexpr std::string_view kApiVersion = "sharderctl.sharding.timebertt.dev/v1alpha1";

// {"apiVersion": ..., "kind": kind}
nlohmann::ordered_json document(std::string_view kind);

// JSON in lines, as -o json prints it. Ends with a newline. What would steer a terminal is escaped, here and in YAML.
std::string to_json_text(const nlohmann::ordered_json& value);

// YAML that kube::parse_yaml(), and every other reader of YAML 1.1 and 1.2, understands as this value. Ends with a
// newline.
std::string to_yaml(const nlohmann::ordered_json& value);

}  // namespace sharder::ctl
