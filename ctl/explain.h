#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ctl/census.h"
#include "ctl/exit_code.h"
#include "ctl/rings.h"
#include "ctl/selection.h"
#include "ctl/table.h"

namespace sharder::ctl {

// Who set a field last, by the object's managedFields.
struct Setter {
  std::string manager, operation;
  std::optional<WallTime> time;
};
// nullopt: nobody owns the label.
std::optional<Setter> setter_of_label(const nlohmann::json& object, const std::string& label);

// Objects of one controlled resource that a main object owns.
struct ControlledObjects {
  std::string resource;
  std::map<std::string, std::int64_t> by_shard;  // by their label, "" for none
  std::int64_t elsewhere = 0;                    // not on the shard of their owner
  std::string example;                           // of those
};

// Why one object is where it is: a plain value.
struct Explanation {
  std::string ring;
  RingResource resource;
  kube::ObjectMeta object;
  WallTime now;

  std::optional<bool> selected = {};  // by the ring's namespaceSelector; nullopt: not known
  Selection::Source selector_from = Selection::Source::kProtocol;
  std::string key = {};      // "": it has none, as a controlled object without a controller
  std::string shard = {};    // its label; "": none
  std::string desired = {};  // "": the ring has no members
  std::string next = {};     // who would have it without `desired`; "": nobody
  std::optional<Setter> shard_set = {}, drain_set = {};
  std::optional<std::string> drain = {};  // the drain label's value
  std::string shard_state = {};  // of the shard that has it: "ready", "ready,cordoned", "no Lease"; "" without one
  bool shard_available = false;

  std::optional<bool> webhook_calls = {};  // its configuration has a rule for the resource; nullopt: it may not be read
  std::string webhook_reachable = {};      // status of the ring's condition; "" without one
  std::map<std::string, std::optional<bool>> sharder_may = {};  // verb → answer; nullopt: it may not be asked
  std::vector<ControlledObjects> controlled = {};

  // What there is to say about it, the most important first: "it is where it belongs", ...
  std::vector<std::string> verdict() const;
  // kFindings when it is without a live shard, or misplaced and not draining, though the ring selects it; or when an
  // object that it controls is on another shard, unless it moves itself.
  ExitCode exit_code() const;
};

// All that follows from the ring and the object's metadata alone.
Explanation explain(const RingFacts& ring, const RingResource& resource, const Selection& selection,
                    const kube::ObjectMeta& object, WallTime now);

std::string render(const Explanation& explanation, const Style& style);
nlohmann::ordered_json to_json(const Explanation& explanation);

// Whether a person's word ("secret", "Secrets", "deployments.apps") is this resource.
bool is_called(const kube::Resource& resource, std::string_view word);

}  // namespace sharder::ctl
