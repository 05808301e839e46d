#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controllerring/controller_options.h"
#include "ring/controller_ring.h"

namespace sharder::controllerring {

// Field owner of what is applied here, and source of the Events (protocol, 1 and 5).
inline constexpr std::string_view kFieldManager = "controllerring-controller";

// The one webhook of each configuration.
inline constexpr std::string_view kWebhookName = "sharder.sharding.timebertt.dev";

// "controllerring-<ring>".
std::string webhook_configuration_name(std::string_view ring);

// Whether the caBundle is applied, or left to its owner.
enum class CaBundle { kAsConfigured, kLeaveOut };

// The MutatingWebhookConfiguration of a ring, as the JSON body of a server-side apply (protocol, 5): exactly the fields
// that are ours and no others, so that defaults and an injected caBundle stay as they are.
std::string webhook_configuration(const ring::ControllerRing& ring, const WebhookSettings& settings,
                                  CaBundle ca_bundle = CaBundle::kAsConfigured);

// Whether a configuration as it stands in the cluster has every field of `wanted` (as above) with the same value. Other
// fields, such as an injected caBundle, make no difference. False if `live` is not JSON.
bool is_in_place(const std::string& wanted, std::string_view live);

// `wanted` with the namespaceSelector that stands in the cluster, if that demands all that ours demands, and more: then
// the webhook is called for a part of the ring's namespaces (decision 6). Else nullopt.
std::optional<std::string> with_narrowed_selector(const std::string& wanted, std::string_view live);

// `wanted`, which has no caBundle, with the one that stands in the cluster, if we own that by its managedFields: an
// apply without a field takes it away from the object when nobody else owns it. It carries the resourceVersion that was
// read, so that it cannot undo what somebody changed since: that is a conflict. The bundle gets an empty line at its
// end: an injector that writes the same roots changes the value, and only so becomes its owner. nullopt: there is none,
// or it is not ours.
std::optional<std::string> with_own_ca_bundle(const std::string& wanted, std::string_view live);

}  // namespace sharder::controllerring
