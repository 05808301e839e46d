#include "sharder/values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <ranges>
#include <utility>
#include <vector>

#include "base/ascii.h"
#include "ring/names.h"

namespace sharder::app {
namespace {

bool is_dns_part(std::string_view part) {
  const auto alphanumeric = [](char c) { return is_lower(c) || is_digit(c); };
  return !part.empty() && alphanumeric(part.front()) && alphanumeric(part.back()) &&
         std::ranges::all_of(part, [&](char c) { return alphanumeric(c) || c == '-'; });
}

// Levenshtein's distance, letter case ignored.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (to_lower(a[i]) == to_lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::optional<bool> parse_go_bool(std::string_view text) {
  static constexpr std::array<std::string_view, 6> kTrue{"1", "t", "T", "TRUE", "true", "True"};
  static constexpr std::array<std::string_view, 6> kFalse{"0", "f", "F", "FALSE", "false", "False"};
  if (std::ranges::find(kTrue, text) != kTrue.end()) {
    return true;
  }
  if (std::ranges::find(kFalse, text) != kFalse.end()) {
    return false;
  }
  return std::nullopt;
}

std::optional<std::string_view> closest(std::string_view name, std::span<const std::string_view> candidates) {
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (const auto distance = edit_distance(name, candidate); distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

bool is_dns_label(std::string_view name) {
  return name.size() <= 63 && is_dns_part(name);
}

bool is_dns_subdomain(std::string_view name) {
  // Only the length of the whole is limited, not that of the parts between the dots.
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(std::views::split(name, '.'), [](const auto& part) {
    return is_dns_part(std::string_view(part.begin(), part.end()));
  });
}

std::optional<std::string> normal_ip_address(const std::string& text) {
  in6_addr address{};
  std::array<char, INET6_ADDRSTRLEN> normal{};
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, text.c_str(), &address) == 1 &&
        inet_ntop(family, &address, normal.data(), normal.size()) != nullptr) {
      return normal.data();
    }
  }
  return std::nullopt;
}

bool is_qualified_name(std::string_view name) {
  if (const auto slash = name.find('/'); slash != std::string_view::npos) {
    if (!is_dns_subdomain(name.substr(0, slash))) {
      return false;
    }
    name.remove_prefix(slash + 1);
  }
  return !name.empty() && ring::is_label_value(name);
}

}  // namespace sharder::app
