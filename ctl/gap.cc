#include "ctl/gap.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sharder::ctl {

using nlohmann::ordered_json;

namespace {

std::vector<const Gap*> distinct(const std::vector<Gap>& gaps) {
  std::vector<const Gap*> all;
  for (const Gap& gap : gaps) {
    const auto is_same = [&gap](const Gap* one) {
      return one->verb == gap.verb && one->resource == gap.resource && one->error.message == gap.error.message;
    };
    if (std::ranges::none_of(all, is_same)) {
      all.push_back(&gap);
    }
  }
  return all;
}

}  // namespace

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
  for (const Gap* const gap : distinct(gaps)) {
    all.push_back({{"verb", gap->verb},
                   {"resource", gap->resource},
                   {"reason", to_string(gap->error.code)},
                   {"message", gap->error.message}});
  }
  return all;
}

void note_gaps(Console& console, const std::vector<Gap>& gaps) {
  for (const Gap* const gap : distinct(gaps)) {
    console.note("incomplete: " + gap->error.message);
  }
}

}  // namespace sharder::ctl
