#pragma once

#include <string_view>

#include "base/error.h"
#include "kube/client/api.h"
#include "membership/lease_keeper.h"

// Actions on Leases as requests to the API server. Not for kRecordInvalidName, which is an Event.
namespace sharder::membership {

// The request that carries the action out (protocol, 3): field manager `sharder`; the requests of a take-over use the
// urgent lane.
kube::Request request_for(const Action& action);

// The answer as LeaseKeeper::finished() takes it.
Result<ActionAnswer> read_answer(const Action& action, Result<kube::Response> response);

// The action in messages, behind "cannot": "take over a shard lease".
std::string_view describe(ActionKind kind);

}  // namespace sharder::membership
