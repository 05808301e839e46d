#pragma once

#include <string>
#include <string_view>

#include "controllerring/controller_options.h"
#include "sharder/config.h"
#include "sharder/yaml_reader_internal.h"

// Parts of config.cc.
namespace sharder::app {

// Adds a mistake for the field bindAddress when no listener can have this address.
void check_bind_address(ObjectReader& object, const std::string& address);

// Adds a mistake for the field `name` when is_name(value) is false.
void check_object_name(ObjectReader& object, std::string_view name, const std::string& value,
                       bool (*is_name)(std::string_view));

// The section `webhook`.
void read_webhook(ObjectReader& object, WebhookServerConfig& server, controllerring::WebhookSettings& webhook);

}  // namespace sharder::app
