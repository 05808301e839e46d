#include "ring/names.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/ascii.h"

namespace sharder::ring {
namespace {

constexpr std::size_t kMaxLabelValueLength = 63;

}  // namespace

bool is_label_value(std::string_view value) {
  if (value.empty()) {
    return true;
  }
  return value.size() <= kMaxLabelValueLength && is_alphanumeric(value.front()) && is_alphanumeric(value.back()) &&
         std::ranges::all_of(value, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace sharder::ring
