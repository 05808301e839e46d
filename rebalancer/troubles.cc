#include "rebalancer/troubles.h"

#include <utility>

#include "kube/client/lasting_failure.h"

namespace sharder::rebalancer {

Troubles::Troubles(std::shared_ptr<Tools> tools, std::string ring) : tools_(std::move(tools)), ring_(std::move(ring)) {}

Troubles::~Troubles() {
  for (const auto& [what, trouble] : reported_) {
    tools_->report_trouble(ring_, what, std::nullopt);
  }
}

void Troubles::set(const std::string& what, const std::optional<Error>& error) {
  const auto known = reported_.find(what);
  const bool is_reported = known == reported_.end() ? !error : (error && kube::is_alike(known->second, *error));
  if (is_reported) {
    return;
  }
  std::optional<Error> trouble = error;
  if (trouble) {
    trouble->message.insert(0, (trouble->code == ErrorCode::kForbidden ? "not allowed to " : "cannot ") + what + ": ");
    reported_.insert_or_assign(what, *trouble);
  } else {
    reported_.erase(known);
  }
  tools_->report_trouble(ring_, what, trouble);
}

}  // namespace sharder::rebalancer
