#include "ring/object_key.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace sharder::ring {

void object_key(std::string& key, std::string_view group, std::string_view kind, std::string_view object_namespace,
                std::string_view name) {
  key.assign(group);
  key += '/';
  key += kind;
  key += '/';
  key += object_namespace;
  key += '/';
  key += name;
}

std::string_view group_of(std::string_view api_version) {
  const auto slash = api_version.find('/');
  if (slash == std::string_view::npos || api_version.find('/', slash + 1) != std::string_view::npos) {
    return {};
  }
  return api_version.substr(0, slash);
}

bool is_complete_reference(std::string_view api_version, std::string_view kind, std::string_view name) {
  return !api_version.empty() && std::ranges::count(api_version, '/') <= 1 && !kind.empty() && !name.empty();
}

}  // namespace sharder::ring
