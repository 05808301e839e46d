#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "ctl/context.h"
#include "ctl/gap.h"  // what callers note when a call fails
#include "kube/client/request.h"
#include "kube/client/resource.h"
#include "kube/codec/object_meta.h"
#include "ring/controller_ring.h"

namespace sharder::kube {
class Client;
class Discovery;
}  // namespace sharder::kube

namespace sharder::ctl {

// The API server, for one command: every call waits for its answer, at most --request-timeout for each request. Safe
// from any thread. Errors name verb and resource: "not allowed to list secrets: ...".
class Cluster {
 public:
  // kInvalid: the kubeconfig is wrong. Does not connect.
  static Result<std::unique_ptr<Cluster>> connect(const Options& options);
  ~Cluster();

  // -n, else the namespace of the kubeconfig's context or of the pod.
  const std::string& default_namespace() const { return default_namespace_; }

  // From now on no request lasts longer than until then, also where --request-timeout is longer or none.
  void set_deadline(SteadyTime deadline) { deadline_ = deadline; }
  // How long the next request may take.
  std::chrono::milliseconds timeout() const;

  // The kind and version of a resource.
  Result<kube::Resource> resolve(const ring::GroupResource& resource);

  Result<nlohmann::json> get(const kube::Resource& resource, const std::string& object_namespace,
                             const std::string& name);
  // The same without spec and status.
  Result<nlohmann::json> get_metadata(const kube::Resource& resource, const std::string& object_namespace,
                                      const std::string& name);
  Result<nlohmann::json> create(const kube::Resource& resource, const std::string& object_namespace,
                                const nlohmann::json& object);
  // A merge patch.
  Result<void> patch(const kube::Resource& resource, const std::string& object_namespace, const std::string& name,
                     const nlohmann::json& body);

  // All objects, a page at a time, so that memory does not grow with their number. "" as namespace: all of them.
  using Selector = std::string;
  Result<void> list(const kube::Resource& resource, const std::string& object_namespace, const Selector& labels,
                    const std::function<void(const nlohmann::json&)>& consumer, const Selector& fields = {});
  // The same of their whole metadata, managedFields too, and nothing else of them.
  Result<void> list_whole_metadata(const kube::Resource& resource, const std::string& object_namespace,
                                   const Selector& labels, const std::function<void(const nlohmann::json&)>& consumer);
  // The same of the metadata that ObjectMeta has, in protobuf where the server has it.
  Result<void> list_metadata(const kube::Resource& resource, const std::string& object_namespace,
                             const Selector& labels, const std::function<void(const kube::ObjectMeta&)>& consumer);

  // Any other request; the body of its answer.
  Result<std::string> call(kube::Request request, std::string_view verb, const std::string& resource);

 private:
  Cluster(std::string default_namespace, std::chrono::milliseconds timeout, std::unique_ptr<kube::Client> client);

  Result<kube::Response> send(kube::Request request, std::string_view verb, const std::string& resource);
  Result<nlohmann::json> json_answer(kube::Request request, std::string_view verb, const kube::Resource& resource);
  Result<void> list_json(const kube::Resource& resource, const std::string& object_namespace, const Selector& labels,
                         const Selector& fields, std::string_view accept,
                         const std::function<void(const nlohmann::json&)>& consumer);
  // `read` takes the body of a page and returns the continue token.
  Result<void> pages(const kube::Resource& resource, const std::string& object_namespace, const Selector& labels,
                     const Selector& fields, std::string_view accept,
                     const std::function<Result<std::string>(std::string&)>& read);

  const std::string default_namespace_;
  const std::chrono::milliseconds timeout_;
  SteadyTime deadline_ = SteadyTime::max();
  const std::unique_ptr<kube::Client> client_;
  const std::unique_ptr<kube::Discovery> discovery_;
};

// "secrets", "deployments.apps".
std::string name_of(const kube::Resource& resource);

}  // namespace sharder::ctl
