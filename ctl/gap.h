#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "ctl/console.h"
#include "ctl/exit_code.h"

namespace sharder::ctl {

// Something that could not be read, while the rest could: what was asked for, and why not.
struct Gap {
  std::string verb;      // "list"
  std::string resource;  // "secrets", "deployments.apps"
  Error error;
};

// How the program ends because of them. What does not exist, or cannot be read as it is, is a finding.
ExitCode worst_of(const std::vector<Gap>& gaps);
// The field "incomplete" of a document. The same gap of two rings is there once, here and below.
nlohmann::ordered_json to_json(const std::vector<Gap>& gaps);
// A line each on standard error.
void note_gaps(Console& console, const std::vector<Gap>& gaps);

}  // namespace sharder::ctl
