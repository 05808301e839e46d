#include "ctl/commands.h"

#include <array>
#include <limits>

#include "ctl/change_commands.h"
#include "ctl/completion.h"
#include "ctl/doctor_command.h"
#include "ctl/events_command.h"
#include "ctl/explain_command.h"
#include "ctl/labels_command.h"
#include "ctl/plan_command.h"
#include "ctl/status_command.h"
#include "ctl/support_bundle_command.h"
#include "ctl/top_command.h"
#include "ctl/version_command.h"

namespace sharder::ctl {

namespace {

constexpr Flag kRing{"ring", 0, FlagValue::kRequired, "RING", "where several rings have a shard of this name"};

}  // namespace

std::span<const Command> commands() {
  static const std::array all{
      Command{.name = "status",
              .arguments = "[RING]",
              .least = 0,
              .most = 1,
              .summary = "rings, shards, and where objects are and belong; -o wide: a line for each shard",
              .flags = {},
              .names = true,
              .goes_on = true,
              .run = run_status},
      Command{.name = "explain",
              .arguments = "KIND/NAME...",
              .least = 1,
              .most = std::numeric_limits<std::size_t>::max(),
              .summary = "why objects have the shard that they have, and what they wait for",
              .flags = {},
              .run = run_explain},
      Command{.name = "plan",
              .arguments = "RING",
              .least = 1,
              .most = 1,
              .summary = "what a change of a ring's shards would move; nothing is changed",
              .flags = {{"shards", 0, FlagValue::kRequired, "N", "the ring has so many shards"},
                        {"add", 0, FlagValue::kOptional, "NAME", "a shard joins"},
                        {"remove", 0, FlagValue::kRequired, "NAME", "a shard ends"},
                        {"cordon", 0, FlagValue::kRequired, "NAME", "a shard is cordoned"},
                        {"fail-over", 0, FlagValue::kRequired, "PERCENT", "exit with 1 when more of the objects move"},
                        {"rate", 0, FlagValue::kRequired, "N", "moves a second, for the estimate (default 300)"},
                        {"filename", 'f', FlagValue::kRequired, "FILE",
                         "ring, Leases and objects, as kubectl get -o json|yaml prints them; no cluster is asked"}},
              .names = true,
              .run = run_plan},
      Command{.name = "doctor",
              .arguments = "[RING]",
              .least = 0,
              .most = 1,
              .summary = "what is not as it ought to be, with a code, an object and what to do",
              .flags = {{"pre", 0, FlagValue::kNone, "", "before an installation: whether the cluster is ready for it"},
                        {"wait", 0, FlagValue::kNone, "", "wait until there are no findings"},
                        {"timeout", 0, FlagValue::kRequired, "DURATION", "how long to wait at most (default 5m)"},
                        {"failure-threshold", 0, FlagValue::kRequired, "error|warning",
                         "findings that make the exit code 1 (default warning)"},
                        {"overdue", 0, FlagValue::kRequired, "DURATION",
                         "how long a shard may take to let an object go (default 5m)"}},
              .names = true,
              .run = run_doctor},
      Command{.name = "rebalance",
              .arguments = "RING",
              .least = 1,
              .most = 1,
              .summary = "ask the leader for a pass over all objects of a ring now",
              .flags = {},
              .names = true,
              .run = run_rebalance},
      Command{.name = "cordon",
              .arguments = "SHARD",
              .least = 1,
              .most = 1,
              .summary = "take a shard out of its ring; it goes on with its objects until it has let them go",
              .flags = {kRing},
              .names = true,
              .run = run_cordon},
      Command{.name = "uncordon",
              .arguments = "SHARD",
              .least = 0,
              .most = 1,
              .summary = "give a cordoned shard its place in the ring again",
              .flags = {kRing,
                        {"self", 0, FlagValue::kNone, "", "the shard that is called like this host: a postStart hook"}},
              .names = true,
              .run = run_uncordon},
      Command{.name = "drain",
              .arguments = "SHARD",
              .least = 0,
              .most = 1,
              .summary = "cordon a shard, and wait until no object has it",
              .flags = {kRing,
                        {"self", 0, FlagValue::kNone, "", "the shard that is called like this host: a preStop hook"},
                        {"wait", 0, FlagValue::kNone, "", "wait until no object has the shard's label"},
                        {"timeout", 0, FlagValue::kRequired, "DURATION", "how long to wait at most (default 10m)"}},
              .names = true,
              .run = run_drain},
      Command{.name = "top",
              .arguments = "RING",
              .least = 1,
              .most = 1,
              .summary = "shards with the most objects first, and what changes; goes on in a terminal",
              .flags = {{"interval", 0, FlagValue::kRequired, "DURATION", "time between two counts (default 2s)"}},
              .goes_on = true,
              .run = run_top},
      Command{.name = "events",
              .arguments = "RING",
              .least = 1,
              .most = 1,
              .summary = "Events of a ring, the newest last",
              .flags = {},
              .run = run_events},
      Command{.name = "labels remove",
              .arguments = "RING",
              .least = 1,
              .most = 1,
              .summary = "remove the ring's shard and drain labels from all objects",
              .flags = {{"resource", 0, FlagValue::kRequired, "RESOURCE",
                         "such as deployments.apps, for a ring that is gone"},
                        {"yes", 'y', FlagValue::kNone, "", "do not ask"}},
              .run = run_labels_remove},
      Command{.name = "support-bundle",
              .arguments = "",
              .least = 0,
              .most = 0,
              .summary = "a tar.gz of all that helps to find a fault; without Secrets, and of objects only names",
              .flags = {{"file", 0, FlagValue::kRequired, "FILE",
                         "where it is written (default sharder-support-bundle.tar.gz)"},
                        {"overdue", 0, FlagValue::kRequired, "DURATION",
                         "how long a shard may take to let an object go (default 5m)"}},
              .run = run_support_bundle},
      Command{.name = "completion",
              .arguments = "bash|zsh|fish",
              .least = 1,
              .most = 1,
              .summary = "a script that completes this program's words in a shell",
              .flags = {},
              .run = run_completion},
      Command{.name = "version",
              .arguments = "",
              .least = 0,
              .most = 0,
              .summary = "version of this program, and of the cluster where one answers",
              .flags = {{"client", 0, FlagValue::kNone, "", "ask no cluster"}},
              .run = run_version},
  };
  return all;
}

}  // namespace sharder::ctl
