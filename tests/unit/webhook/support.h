#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.h"
#include "ring/ring_set.h"

// What the webhook's tests share: reviews as kube-apiserver sends them, and a small set of rings.
namespace sharder::webhook::testing {

// A body as the HTTP server hands it over: followed by padding that must not matter. '}' would close what a truncated
// body leaves open.
class Body {
 public:
  explicit Body(std::string_view text, char padding = '}') : bytes_(text), size_(text.size()) {
    bytes_.append(http::kBodyPadding, padding);
  }
  std::string_view view() const { return {bytes_.data(), size_}; }
  // Leftovers of another request, as unlucky as can be.
  void set_padding(char padding) { bytes_.replace(size_, http::kBodyPadding, http::kBodyPadding, padding); }

 private:
  std::string bytes_;
  std::size_t size_;
};

// CREATE of a Deployment, with all that kube-apiserver 1.36 puts into a review.
nlohmann::json deployment_review();
// CREATE of a ReplicaSet by kube-controller-manager.
nlohmann::json replica_set_review();
// UPDATE of a Secret whose drain was just acknowledged: its labels are gone.
nlohmann::json secret_update_review();

// The ring "example": deployments control replicasets, secrets control configmaps, clusterroles and namespaces stand
// alone; with these shards. And a ring "other" for jobs.
ring::RingSet ring_set(std::vector<std::string> shards = {"shard-0", "shard-1", "shard-2"}, std::uint64_t version = 1);

}  // namespace sharder::webhook::testing
