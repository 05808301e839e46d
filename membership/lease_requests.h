#pragma once

#include <string_view>

#include "base/error.h"
#include "kube/client/api.h"
#include "membership/lease_keeper.h"

// Actions on Leases as requests to the API server. Not for kRejectName, which is an Event.
namespace sharder::membership {

// The request that carries the action out (protocol, 3): field manager `sharder`; what belongs to a take-over goes over
// the urgent lane.
kube::Request request_for(const Action& action);

// What LeaseKeeper::finished() wants to know of the answer.
Result<ActionAnswer> read_answer(const Action& action, Result<kube::Response> response);

// What the action does, behind "cannot": "take over a shard lease".
std::string_view describe(ActionKind kind);

}  // namespace sharder::membership
