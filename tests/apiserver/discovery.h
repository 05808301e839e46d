#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tests/apiserver/catalog.h"

namespace sharder::apiserver {

// The document at /api, /api/v1, /apis, /apis/<group>, /apis/<group>/<version> or /version; nullopt for other paths.
std::optional<std::string> discovery_document(const Catalog& catalog, std::string_view path);

}  // namespace sharder::apiserver
