#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/command_line.h"
#include "ctl/context.h"

namespace sharder::ctl {

struct Candidate {
  std::string text;
  std::string meaning = {};
  bool operator==(const Candidate&) const = default;
};

// What there is for an argument that the help calls "RING", "SHARD" or "FILE", after what has been typed: its flags say
// in which cluster, and in which ring.
using Lookup = std::function<std::vector<std::string>(std::string_view what, const Invocation& typed)>;

// What the last word may become: a command, a flag, a flag's value, a name of the cluster. Pure but for `lookup`.
std::vector<Candidate> complete(std::span<const Command> commands, std::span<const Flag> global_flags,
                                std::span<const std::string> words, const Lookup& lookup);

// `sharderctl __complete WORDS`: what shells and kubectl ask. A line for each candidate, with its meaning behind a tab,
// and at last ":4", which says that file names are none, or ":0" where they are what is wanted (the protocol of Go's
// cobra).
void print_candidates(std::span<const std::string> words, Console& console);

Result<ExitCode> run_completion(Context& context);

}  // namespace sharder::ctl
