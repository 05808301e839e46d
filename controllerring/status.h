#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "kube/codec/precondition.h"

namespace sharder::controllerring {

// A metav1.Condition: a plain value.
struct Condition {
  std::string status;  // "True", "False" or "Unknown"
  std::string reason;
  std::string message;
  bool operator==(const Condition&) const = default;
};

// A condition about a mark (protocol, 12).
struct MarkCondition {
  std::string_view type;
  Condition condition;
  bool is_news = false;  // else it is written only where the status has an older one: most rings have no marks
};

// How the reconciliation of a ring ended: a plain value.
struct Outcome {
  std::int64_t generation = 0;            // of the spec that was reconciled
  std::optional<std::string> error = {};  // what went wrong, as a sentence; nullopt: nothing
  std::int64_t shards = 0;                // of a success: all shard Leases of the ring
  std::int64_t available_shards = 0;
  // What other conditions say, by their types, as far as is known. If one does, this holds for the generation too; if
  // somebody has written another one meanwhile, that is left as it is.
  std::map<std::string_view, Condition> others = {};
  std::vector<MarkCondition> marks = {};
};

// Body of the PUT on /status that reports the outcome, or nullopt when the status has it already (protocol, 2).
// `document`: the ControllerRing as it stands in the cluster, JSON; everything in it but our part of the status stays,
// the resourceVersion included. lastTransitionTime moves only with the condition's status. After a failure the old
// counts stay. kInvalid when the document is no object, or has no resourceVersion.
Result<std::optional<kube::VersionedObject>> status_body(std::string_view document, const Outcome& outcome,
                                                         WallTime now);

// The same for one condition alone, which has the type `type`.
Result<std::optional<kube::VersionedObject>> condition_body(std::string_view document, std::string_view type,
                                                            const Condition& condition, std::int64_t generation,
                                                            WallTime now);

// The error with a capital letter at its beginning.
std::string capitalised(std::string_view error);

// What `text_of` makes of each element, with the separator between them.
template <class Range, class TextOf>
std::string joined(const Range& elements, std::string_view separator, TextOf text_of) {
  std::string all;
  for (const auto& element : elements) {
    all += all.empty() ? "" : separator;
    all += text_of(element);
  }
  return all;
}

}  // namespace sharder::controllerring
