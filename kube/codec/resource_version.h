#pragma once

#include <string_view>

namespace sharder::kube {

// Whether resourceVersion `a` is newer than `b`. Both come from one resource of one API server. There they are decimal
// numbers that grow (etcd's revisions always did; the API conventions say so since 1.35). False when one of them is not
// such a number, as from foreign servers.
bool newer_version(std::string_view a, std::string_view b);

}  // namespace sharder::kube
