#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kube/access/config.h"

// Kubeconfig files: YAML (or JSON) of kind Config, apiVersion v1. Behaves as client-go's clientcmd, except that it
// refuses what client-go leaves to the first request: keys that do not match, unreadable certificates.
namespace sharder::kube {

// A file larger than this is no kubeconfig.
inline constexpr std::size_t kMaxKubeconfigBytes = 8U << 20U;

struct KubeconfigText {
  std::string file;    // for messages; "" for none
  std::string folder;  // what relative paths in it are relative to
  std::string text;
};

// The cluster and user of `context` ("": the first current-context that a file sets). Of clusters, users and contexts
// with the same name the first file's counts. kInvalid: "kubeconfig /a/b: users[0].user.client-key-data: not valid
// base64".
Result<ClusterConfig> resolve_kubeconfig(std::span<const KubeconfigText> files, const std::string& context);

}  // namespace sharder::kube
