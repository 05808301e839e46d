#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kube/access/config.h"

// Kubeconfig files: YAML (or JSON) of kind Config, apiVersion v1. Behaves as client-go's clientcmd, except that keys
// that do not match and unreadable certificates are errors here already. In client-go the first request fails.
namespace sharder::kube {

// A larger file is not a kubeconfig.
inline constexpr std::size_t kMaxKubeconfigBytes = 8U << 20U;

struct KubeconfigText {
  std::string file;    // for messages; "" for none
  std::string folder;  // what relative paths in it are relative to
  std::string text;
};

// The cluster and user of `context` ("": the first current-context that a file sets). Of clusters, users and contexts
// with the same name, the one in the first file counts. kInvalid: "kubeconfig /a/b: users[0].user.client-key-data: not
// valid base64".
Result<ClusterConfig> resolve_kubeconfig(std::span<const KubeconfigText> files, const std::string& context);

}  // namespace sharder::kube
