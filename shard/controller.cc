#include "shard/controller.h"

namespace sharder::shard {

nlohmann::json owner_references(const nlohmann::json& main) {
  const nlohmann::json& metadata = main.at("metadata");
  // Without blockOwnerDeletion, which needs a permission of its own on some clusters.
  return nlohmann::json::array({{{"apiVersion", main.at("apiVersion")},
                                 {"kind", main.at("kind")},
                                 {"name", metadata.at("name")},
                                 {"uid", metadata.at("uid")},
                                 {"controller", true}}});
}

}  // namespace sharder::shard
