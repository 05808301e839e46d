#include "ctl/support_bundle_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "ctl/archive.h"
#include "ctl/document.h"
#include "ctl/support_bundle.h"
#include "ctl/text.h"

namespace sharder::ctl {

namespace {

constexpr const char* kTop = "sharder-support-bundle";

// For its owner's eyes; an older file is replaced, and no link followed to one that somebody else chose.
Result<void> write_file(const std::string& path, std::string_view bytes) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  struct stat kind{};
  bool written =
      file >= 0 && fstat(file, &kind) == 0 && (!S_ISREG(kind.st_mode) || fchmod(file, S_IRUSR | S_IWUSR) == 0);
  while (written && !bytes.empty()) {
    const ssize_t count = write(file, bytes.data(), bytes.size());
    written = count > 0;
    bytes.remove_prefix(written ? static_cast<std::size_t>(count) : 0);
  }
  const int error = errno;
  if (file >= 0) {
    close(file);
  }
  return written ? Result<void>() : fail(ErrorCode::kInvalid, "write " + path + ": " + std::strerror(error));
}

// What does not exist is no failure of the bundle, nor is a pod that does not answer: it is what the bundle is about.
ExitCode code_of(const std::vector<Gap>& gaps) {
  ExitCode code = ExitCode::kOk;
  for (const Gap& gap : gaps) {
    const ExitCode one = exit_code_of(gap.error);
    if (one == ExitCode::kNotAllowed || (one == ExitCode::kTimeout && !gap.resource.starts_with("pods/"))) {
      code = worse(code, one);
    }
  }
  return code;
}

}  // namespace

Result<ExitCode> run_support_bundle(Context& context) {
  const auto overdue = duration_flag(context.invocation, "overdue", std::chrono::minutes(5));
  if (!overdue) {
    return std::unexpected(overdue.error());
  }
  const auto cluster = Cluster::connect(context.options);
  if (!cluster) {
    return std::unexpected(cluster.error());
  }
  const std::string path = context.invocation.value("file").value_or(std::string(kTop) + ".tar.gz");
  const SupportBundle bundle = read_support_bundle(**cluster, context.options, *overdue);
  if (const auto written = write_file(path, tar_gz(kTop, bundle.files)); !written) {
    return std::unexpected(written.error());
  }
  if (context.options.structured()) {
    nlohmann::ordered_json all = document("SupportBundle");
    all["file"] = path;
    all["files"] = nlohmann::ordered_json::array();
    for (const auto& [name, contents] : bundle.files) {
      all["files"].push_back(name);
    }
    all["incomplete"] = to_json(bundle.gaps);
    print_document(context, all);
  } else {
    context.console.print(path + " has " + count_of(static_cast<std::int64_t>(bundle.files.size()), "file") + "\n");
    note_gaps(context.console, bundle.gaps);
  }
  return code_of(bundle.gaps);
}

}  // namespace sharder::ctl
