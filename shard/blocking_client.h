#pragma once

#include <functional>
#include <string>

#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/client/resource.h"
#include "shard/client.h"

namespace sharder::shard {

// The Client of reconcile functions, over the Api's loop. Not to be used on that loop.
class BlockingClient final : public Client {
 public:
  // `api` and `discovery` outlive it. `may_write`: whether the Lease is valid; called on any thread.
  BlockingClient(kube::Api& api, kube::Discovery& discovery, std::string field_manager,
                 std::function<bool()> may_write);

  Result<nlohmann::json> get(const ResourceName& resource, const ObjectName& object) override;
  Result<std::vector<nlohmann::json>> list(const ResourceName& resource, std::string_view object_namespace,
                                           std::string_view label_selector) override;
  Result<nlohmann::json> create(const ResourceName& resource, const nlohmann::json& object) override;
  Result<nlohmann::json> update(const ResourceName& resource, const nlohmann::json& object) override;
  Result<nlohmann::json> update_status(const ResourceName& resource, const nlohmann::json& object) override;
  Result<nlohmann::json> patch(const ResourceName& resource, const nlohmann::json& object,
                               const nlohmann::json& changes) override;
  Result<nlohmann::json> patch_status(const ResourceName& resource, const nlohmann::json& object,
                                      const nlohmann::json& changes) override;
  Result<nlohmann::json> apply(const ResourceName& resource, const nlohmann::json& object, bool force) override;
  Result<void> remove(const ResourceName& resource, const nlohmann::json& object) override;

 private:
  Result<kube::Resource> find(const ResourceName& resource);
  Result<kube::Response> send(kube::Request request);
  Result<nlohmann::json> read(kube::Request request);
  Result<nlohmann::json> write(kube::Request request);
  Result<nlohmann::json> replace(const ResourceName& resource, std::string_view subresource,
                                 const nlohmann::json& object);
  Result<nlohmann::json> merge(const ResourceName& resource, std::string_view subresource, const nlohmann::json& object,
                               nlohmann::json changes);

  kube::Api& api_;
  kube::Discovery& discovery_;
  const std::string field_manager_;
  const std::function<bool()> may_write_;
};

}  // namespace sharder::shard
