#pragma once

#include <string>

namespace sharder::app {

// Who this replica is in the leader election: "<hostname>_<random UUID>" (protocol, 7), so that no two processes are
// ever taken for each other, not even two of one pod.
std::string make_identity();

}  // namespace sharder::app
