#include "kube/codec/resource_version.h"

#include <algorithm>

#include "base/ascii.h"

namespace sharder::kube {

bool newer_version(std::string_view a, std::string_view b) {
  const auto is_number = [](std::string_view version) {
    return !version.empty() && version.front() != '0' && std::ranges::all_of(version, is_digit);
  };
  if (!is_number(a) || !is_number(b)) {
    return false;
  }
  return a.size() != b.size() ? a.size() > b.size() : a > b;
}

}  // namespace sharder::kube
