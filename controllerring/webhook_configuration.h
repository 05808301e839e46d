#pragma once

#include <string>
#include <string_view>

#include "controllerring/settings.h"
#include "ring/controller_ring.h"

namespace sharder::controllerring {

// Field owner of what is applied here, and source of the Events (protocol, 1 and 5).
inline constexpr std::string_view kFieldManager = "controllerring-controller";

// "controllerring-<ring>".
std::string webhook_configuration_name(std::string_view ring);

// Whether the caBundle is applied, or left to whom it belongs.
enum class CaBundle { kAsConfigured, kLeaveOut };

// The MutatingWebhookConfiguration of a ring, as the JSON body of a server-side apply (protocol, 5): exactly the fields
// that are ours and no others, so that defaults and an injected caBundle stay as they are.
std::string webhook_configuration(const ring::ControllerRing& ring, const WebhookSettings& settings,
                                  CaBundle ca_bundle = CaBundle::kAsConfigured);

}  // namespace sharder::controllerring
