#pragma once

#include <string>

namespace sharder::app {

// The identity of this replica in the leader election: "<hostname>_<random UUID>" (protocol, 7). No two processes have
// the same, not even two of one pod.
std::string make_identity();

}  // namespace sharder::app
