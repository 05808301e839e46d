#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "ctl/rings.h"
#include "ctl/selection.h"

namespace sharder::ctl {

// A ring and its objects from files, as `kubectl get -o json` or `-o yaml` prints them: a List, or one object. They
// have the ControllerRing, the shards' Leases and the objects; and, where the namespaceSelector needs them, Namespaces
// and the ring's MutatingWebhookConfiguration.
struct PlanFile {
  RingFacts ring;
  Selection selection;
  std::vector<std::pair<RingResource, kube::ObjectMeta>> objects;
};

// `texts`: the contents of the files. kInvalid: no YAML, no ring of this name, no Lease of it.
Result<PlanFile> read_plan_file(const std::vector<std::string>& texts, const std::string& ring, WallTime now);

}  // namespace sharder::ctl
