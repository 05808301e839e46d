#include "ctl/version_command.h"

#include <nlohmann/json.hpp>

#include "ctl/cluster.h"
#include "ctl/document.h"
#include "ctl/text.h"
#include "kube/codec/json.h"
#include "sharder/version.h"

namespace sharder::ctl {

namespace {

const kube::Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};

// The image of the sharder's Deployment, which has the version that its installer has chosen.
Result<std::string> sharder_image(Cluster& cluster, const Options& options) {
  const auto deployment = cluster.get(kDeployments, options.sharder_namespace, "sharder");
  if (!deployment) {
    return std::unexpected(deployment.error());
  }
  return kube::string_at(*deployment, "/spec/template/spec/containers/0/image");
}

}  // namespace

Result<ExitCode> run_version(Context& context) {
  nlohmann::ordered_json versions = document("Version");
  versions["version"] = app::version();
  versions["commit"] = app::kCommit;
  std::string text = "sharderctl " + app::version() + "\ncommit " + app::kCommit + "\n";
  ExitCode code = ExitCode::kOk;
  if (!context.invocation.enabled("client")) {
    const auto cluster = Cluster::connect(context.options);
    const auto image =
        cluster ? sharder_image(**cluster, context.options) : Result<std::string>(std::unexpected(cluster.error()));
    if (image) {
      versions["sharderImage"] = *image;
      text += "sharder " + printable(*image) + "\n";
    } else {
      // Without a sharder in the cluster, or without a cluster, the program still has its version.
      code = image.error().code == ErrorCode::kNotFound || !cluster ? ExitCode::kOk : exit_code_of(image.error());
      context.console.note("sharder: not known: " + image.error().message);
    }
  }
  if (context.options.structured()) {
    print_document(context, versions);
  } else {
    context.console.print(text);
  }
  return code;
}

}  // namespace sharder::ctl
