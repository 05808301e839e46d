#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/resource.h"
#include "tests/apiserver/schema.h"
#include "tests/apiserver/status.h"

namespace sharder::apiserver {

// The resources that the server has: immutable, replaced as a whole when a CustomResourceDefinition comes or goes.
class Catalog {
 public:
  // Those that every server has.
  static std::shared_ptr<const Catalog> built_in();

  // This catalog and the resources of a CustomResourceDefinition; those of the same name are replaced.
  std::shared_ptr<const Catalog> with(const nlohmann::json& definition) const;
  // This catalog without the custom resources of a group and plural.
  std::shared_ptr<const Catalog> without(std::string_view group, std::string_view plural) const;

  // nullptr when there is none.
  std::shared_ptr<const Resource> find(std::string_view group, std::string_view version, std::string_view plural) const;
  // By Resource::bucket(), in any version, the stored one first.
  std::shared_ptr<const Resource> find_bucket(std::string_view bucket) const;
  std::shared_ptr<const Resource> find_kind(std::string_view api_version, std::string_view kind) const;

  // How fields are merged and owned.
  const Schema& schema(const Resource& resource) const;

  const std::vector<std::shared_ptr<const Resource>>& all() const { return resources_; }

 private:
  struct Custom {
    std::string bucket;
    std::shared_ptr<const Schema> schema;
  };
  std::vector<std::shared_ptr<const Resource>> resources_;
  std::vector<Custom> schemas_;
};

// What a CustomResourceDefinition must have before it can be served; 422 otherwise.
Outcome<void> check_definition(const Resource& definitions, const nlohmann::json& definition);

// Fills in the names that may be left out, and the status of a definition that is served.
void complete_definition(nlohmann::json& definition, const std::string& now);

}  // namespace sharder::apiserver
