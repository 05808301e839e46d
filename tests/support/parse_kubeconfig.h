#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kube/access/kubeconfig.h"

namespace sharder::testing {

// One kubeconfig's text. Relative files are relative to `folder`. "" for the file's current-context.
inline Result<kube::ClusterConfig> parse_kubeconfig(std::string_view text, const std::string& folder,
                                                    const std::string& context) {
  const kube::KubeconfigText file{.file = {}, .folder = folder, .text = std::string(text)};
  return kube::resolve_kubeconfig(std::span(&file, 1), context);
}

}  // namespace sharder::testing
