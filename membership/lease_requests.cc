#include "membership/lease_requests.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "kube/client/resource.h"
#include "ring/names.h"

namespace sharder::membership {

namespace {

constexpr std::string_view kFieldManager = "sharder";  // protocol, 3
constexpr std::chrono::seconds kActionTimeout{5};

}  // namespace

kube::Request request_for(const Action& action) {
  const auto& [lease_namespace, name] = action.lease;
  kube::Request request;
  switch (action.kind) {
    case ActionKind::kSetLabel: {
      const nlohmann::json patch = {{"metadata",
                                     {{"uid", action.uid},
                                      {"resourceVersion", action.precondition.value().resource_version()},
                                      {"labels", {{ring::kStateLabel, to_string(action.state)}}}}}};
      request =
          kube::patch_request(kube::kLeases, lease_namespace, name, kube::kMergePatch, patch.dump(), kFieldManager);
      break;
    }
    case ActionKind::kRead:
      request = kube::get_request(kube::kLeases, lease_namespace, name);
      break;
    case ActionKind::kTakeOver:
      request = kube::update_request(kube::kLeases, lease_namespace, name, "", action.body.value(), kFieldManager);
      break;
    case ActionKind::kDelete:
      request = kube::delete_request(kube::kLeases, lease_namespace, name, action.uid, action.precondition.value());
      break;
    case ActionKind::kRecordInvalidName:
      std::unreachable();  // an Event, not a request
  }
  // Labels of other states can wait; a take-over, and the requests before it, cannot.
  const bool urgent = action.state == LeaseState::kUncertain || action.kind == ActionKind::kTakeOver;
  request.lane = urgent ? kube::Lane::kUrgent : kube::Lane::kGeneral;
  request.timeout = kActionTimeout;
  return request;
}

std::string_view describe(ActionKind kind) {
  switch (kind) {
    case ActionKind::kSetLabel:
      return "set a shard lease's state label";
    case ActionKind::kRead:
      return "read a shard lease";
    case ActionKind::kTakeOver:
      return "take over a shard lease";
    case ActionKind::kDelete:
      return "delete an orphaned shard lease";
    case ActionKind::kRecordInvalidName:
      break;
  }
  return "";
}

Result<ActionAnswer> read_answer(const Action& action, Result<kube::Response> response) {
  if (!response) {
    return std::unexpected(std::move(response.error()));
  }
  ActionAnswer answer;
  if (action.kind != ActionKind::kDelete) {
    if (auto lease = decode_shard_lease(response->body)) {
      answer.lease = std::move(*lease);
    }
  }
  if (action.kind == ActionKind::kRead && answer.lease && answer.lease->resource_version.empty()) {
    return fail(ErrorCode::kInvalid, "the Lease has no resourceVersion");
  }
  if (action.kind == ActionKind::kRead) {
    answer.document = std::move(response->body);
  }
  return answer;
}

}  // namespace sharder::membership
