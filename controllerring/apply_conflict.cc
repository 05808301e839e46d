#include "controllerring/apply_conflict.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace sharder::controllerring {

namespace {

constexpr std::string_view kPrefix = "Apply failed with ";
constexpr std::string_view kManager = " with \"";

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) {
    ++found;
  }
  return found;
}

}  // namespace

std::optional<ApplyConflict> parse_apply_conflict(const Error& error) {
  const std::string_view message = error.message;
  const auto start = message.find(kPrefix);
  if (error.code != ErrorCode::kConflict || start == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string text(message.substr(start + kPrefix.size()));
  ApplyConflict conflict;
  for (auto at = text.find(kManager); at != std::string::npos; at = text.find(kManager, at)) {
    at += kManager.size();
    const auto end = text.find('"', at);
    conflict.managers.push_back(text.substr(at, end == std::string::npos ? end : end - at));
  }
  std::ranges::sort(conflict.managers);
  conflict.managers.erase(std::ranges::unique(conflict.managers).begin(), conflict.managers.end());
  conflict.ca_bundle = text.contains(".caBundle");
  // One conflict stands in the first line; several have a line each.
  const std::size_t announced = std::strtoul(text.c_str(), nullptr, 10);
  conflict.complete = announced == 1 ? text.contains(": .") : announced > 0 && count(text, "\n- .") == announced;
  return conflict;
}

}  // namespace sharder::controllerring
