#pragma once

#include <string_view>

namespace sharder::kube {

// Whether resourceVersion `a` is newer than `b`. Both come from one resource of one API server, where they are growing
// decimal numbers (etcd's revisions always were, the API conventions say so since 1.35); false for anything that is
// not, as foreign servers may have it.
bool newer_version(std::string_view a, std::string_view b);

}  // namespace sharder::kube
