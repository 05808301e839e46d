#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/resource.h"
#include "tests/apiserver/status.h"

// What the API server refuses. Pure functions; "" means that nothing is wrong.
namespace sharder::apiserver {

std::string wrong_dns_label(std::string_view name);
std::string wrong_dns_subdomain(std::string_view name);
// With or without a prefix: "app", "example.com/app".
std::string wrong_label_key(std::string_view key);
std::string wrong_label_value(std::string_view value);
// For an object of this resource.
std::string wrong_name(const Resource& resource, std::string_view name);

// What is wrong with an object that is to be stored: its name, labels, annotations, owners, and for the kinds that the
// sharder writes (Leases, webhook configurations) their spec.
std::vector<Cause> wrong_fields(const Resource& resource, const nlohmann::json& object);

// What an update may not change: metadata.name, namespace, and the immutable data of some kinds.
std::vector<Cause> wrong_changes(const Resource& resource, const nlohmann::json& before, const nlohmann::json& after);

}  // namespace sharder::apiserver
