#pragma once

#include <string>
#include <string_view>

#include "controllerring/controller_options.h"
#include "sharder/config.h"
#include "sharder/yaml_reader_internal.h"

// Parts of config.cc.
namespace sharder::app {

// A mistake of the field bindAddress unless a listener understands it.
void check_bind_address(ObjectReader& object, const std::string& address);

// A mistake unless `is_name` says yes to the value.
void check_object_name(ObjectReader& object, std::string_view name, const std::string& value,
                       bool (*is_name)(std::string_view));

// The section `webhook`.
void read_webhook(ObjectReader& object, WebhookServerConfig& server, controllerring::WebhookSettings& webhook);

}  // namespace sharder::app
