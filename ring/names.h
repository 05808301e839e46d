#pragma once

#include <string>
#include <string_view>

// Names on the wire (protocol, 1).
namespace sharder::ring {

inline constexpr std::string_view kSystemNamespace = "sharding-system";
inline constexpr std::string_view kRingLabel = "alpha.sharding.timebertt.dev/controllerring";
inline constexpr std::string_view kStateLabel = "alpha.sharding.timebertt.dev/state";
inline constexpr std::string_view kShardLabelPrefix = "shard.alpha.sharding.timebertt.dev/";
inline constexpr std::string_view kDrainLabelPrefix = "drain.alpha.sharding.timebertt.dev/";
inline constexpr std::string_view kDrainLabelValue = "true";  // by the Go sharder; ours is the target's name
inline constexpr std::string_view kWebhookPathPrefix = "/webhooks/sharder/controllerring/";
// Conditions of a ring.
inline constexpr std::string_view kWebhookReachable = "WebhookReachable";
inline constexpr std::string_view kAllAssigned = "AllAssigned";
inline constexpr std::string_view kShardsCordoned = "ShardsCordoned";
inline constexpr std::string_view kGracePeriodValid = "GracePeriodValid";
// Annotations of ours (protocol, 12).
inline constexpr std::string_view kCordonedAnnotation = "sharder.alpha.sharding.timebertt.dev/cordoned";
inline constexpr std::string_view kGracePeriodAnnotation = "sharder.alpha.sharding.timebertt.dev/grace-period";
inline constexpr std::string_view kRebalanceAnnotation = "sharder.alpha.sharding.timebertt.dev/rebalance-requested-at";
inline constexpr std::string_view kAppName = "controller-sharding";  // value of app.kubernetes.io/name

inline std::string shard_label(std::string_view ring) {
  return std::string(kShardLabelPrefix) += ring;
}
inline std::string drain_label(std::string_view ring) {
  return std::string(kDrainLabelPrefix) += ring;
}

// Whether `value` may be a label's value: at most 63 characters, alphanumeric at both ends, "-_." between; "" may.
bool is_label_value(std::string_view value);

}  // namespace sharder::ring
