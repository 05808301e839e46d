#include "ctl/gap.h"

#include <nlohmann/json.hpp>

namespace sharder::ctl {

using nlohmann::ordered_json;

ExitCode worst_of(const std::vector<Gap>& gaps) {
  ExitCode code = ExitCode::kOk;
  for (const Gap& gap : gaps) {
    const ExitCode of_error = exit_code_of(gap.error);
    code = worse(code, of_error == ExitCode::kUsage ? ExitCode::kFindings : of_error);
  }
  return code;
}

ordered_json to_json(const std::vector<Gap>& gaps) {
  ordered_json all = ordered_json::array();
  for (const Gap& gap : gaps) {
    all.push_back({{"verb", gap.verb},
                   {"resource", gap.resource},
                   {"reason", to_string(gap.error.code)},
                   {"message", gap.error.message}});
  }
  return all;
}

void note_gaps(Console& console, const std::vector<Gap>& gaps) {
  for (const Gap& gap : gaps) {
    console.note("incomplete: " + gap.error.message);
  }
}

}  // namespace sharder::ctl
