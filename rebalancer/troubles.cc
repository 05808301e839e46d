#include "rebalancer/troubles.h"

#include <utility>

#include "kube/client/lasting_failure.h"

namespace sharder::rebalancer {

Troubles::Troubles(std::shared_ptr<Tools> tools, std::string ring) : tools_(std::move(tools)), ring_(std::move(ring)) {}

Troubles::~Troubles() {
  for (const auto& [what, trouble] : told_) {
    tools_->report_trouble(ring_, what, std::nullopt);
  }
}

void Troubles::set(const std::string& what, const std::optional<Error>& error) {
  const auto told = told_.find(what);
  const bool is_told = told == told_.end() ? !error : (error && kube::is_alike(told->second, *error));
  if (is_told) {
    return;
  }
  std::optional<Error> trouble = error;
  if (trouble) {
    trouble->message.insert(0, (trouble->code == ErrorCode::kForbidden ? "not allowed to " : "cannot ") + what + ": ");
    told_.insert_or_assign(what, *trouble);
  } else {
    told_.erase(told);
  }
  tools_->report_trouble(ring_, what, trouble);
}

}  // namespace sharder::rebalancer
