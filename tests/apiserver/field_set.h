#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/apiserver/schema.h"

namespace sharder::apiserver {

// A place in an object, in the words of FieldsV1: "f:webhooks", `k:{"name":"a"}`, "f:timeoutSeconds", `v:"x"`. One that
// ends with a key or a value is the item itself.
using FieldPath = std::vector<std::string>;
using FieldSet = std::set<FieldPath>;
// The owned leaves of an object and what stands there; null for items of lists with keys, which are owned beside their
// fields.
using FieldValues = std::map<FieldPath, nlohmann::json>;

// All leaves of an object but those that belong to the server: apiVersion, kind, name, uid and their like.
FieldValues field_values(const nlohmann::json& object, const Schema& schema);
FieldSet keys_of(const FieldValues& values);

// metadata.managedFields[].fieldsV1.
nlohmann::json to_fields_v1(const FieldSet& set);
FieldSet from_fields_v1(const nlohmann::json& fields);

// For messages: .webhooks[name="a"].timeoutSeconds
std::string to_string(const FieldPath& path);

bool starts_with(const FieldPath& path, const FieldPath& prefix);

// The key of an item of a list with keys: `k:{"name":"a"}`.
std::string item_key(const nlohmann::json& item, const std::vector<std::string>& keys);

}  // namespace sharder::apiserver
