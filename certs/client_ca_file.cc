#include "certs/client_ca_file.h"

#include <utility>

#include "base/read_file.h"
#include "certs/read_counters.h"
#include "certs/x509.h"

namespace sharder::certs {

ClientCaFile::ClientCaFile(ClientCaFileOptions options, prometheus::Registry& registry, const Logger& log)
    : options_(std::move(options)),
      log_(log.named("certs").with({{"file", options_.file.string()}})),
      counters_(std::make_unique<ReadCounters>(registry)),
      pauses_(options_.check_every, options_.retry) {}

ClientCaFile::~ClientCaFile() = default;

Result<void> ClientCaFile::start() {
  auto pem = read();
  if (!pem) {
    return std::unexpected(std::move(pem.error()));
  }
  publish(std::move(*pem));
  // A path without a folder is one in the working directory.
  const std::filesystem::path folder = options_.file.has_parent_path() ? options_.file.parent_path() : ".";
  watch_.emplace(folder, "certs-client-ca", [this] { return check(); }, log_);
  return {};
}

Result<std::string> ClientCaFile::read() {
  auto pem = read_file(options_.file);
  if (pem) {
    if (auto checked = check_roots(*pem); !checked) {
      pem = fail(options_.file.string(), std::move(checked.error()));
    }
  }
  counters_->count(pem.has_value());
  return pem;
}

void ClientCaFile::publish(std::string pem) {
  current_ = std::move(pem);
  authorities_.publish(std::make_shared<const std::string>(current_));
  log_.info("client CA loaded");
}

std::chrono::milliseconds ClientCaFile::check() {
  auto pem = read();
  if (!pem) {
    if (pauses_.failed(pem.error().message)) {
      log_.warn("client CA not reloaded, the old one stays", {{"error", pem.error().message}});
    }
    return pauses_.pause();
  }
  const bool was_logged = pauses_.succeeded();
  if (*pem != current_) {
    publish(std::move(*pem));
  } else if (was_logged) {
    log_.info("the client CA's file is good again");
  }
  return pauses_.pause();
}

}  // namespace sharder::certs
