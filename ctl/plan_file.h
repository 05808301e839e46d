#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "ctl/gap.h"
#include "ctl/rings.h"
#include "ctl/selection.h"

namespace sharder::ctl {

// A ring and its objects from files, as `kubectl get -o json` or `-o yaml` prints them: a List, or one object; or as
// `kubectl get --raw` prints the list of one resource. They have the ControllerRing, the shards' Leases and the
// objects; where the namespaceSelector needs them, Namespaces and the ring's MutatingWebhookConfiguration; and for a
// kind with an irregular plural its CustomResourceDefinition. An object that is there twice counts once.
struct PlanFile {
  RingFacts ring;
  Selection selection;
  std::vector<std::pair<RingResource, kube::ObjectMeta>> objects;
  std::vector<Gap> gaps;  // what the plan needs and the files lack
};

// `texts`: the contents of the files. `object_namespace`: only objects in it, and cluster-scoped ones; "": all.
// kInvalid: no YAML, no ring of this name, no Lease of it.
Result<PlanFile> read_plan_file(const std::vector<std::string>& texts, const std::string& ring,
                                const std::string& object_namespace, WallTime now);

}  // namespace sharder::ctl
