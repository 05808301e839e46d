#include "rebalancer/complaints.h"

namespace sharder::rebalancer {

void Complaints::say(const Complaint& complaint, const std::string& object, const std::string& error) {
  const SteadyTime now = tools_->clock.steady();
  if (!since_ || now >= *since_ + kPeriod) {
    since_ = now;
    said_ = 0;
  }
  if (said_ > kNamed) {
    return;
  }
  if (++said_ > kNamed) {
    log_.warn("and more objects; none is named for up to a minute, the metrics count them");
    return;
  }
  if (error.empty()) {
    log_.warn(complaint.line, {{"object", object}});
  } else {
    log_.warn(complaint.line, {{"object", object}, {"error", error}});
  }
  tools_->events.record(ring_, kube::EventType::kWarning, complaint.event, complaint.message);
}

}  // namespace sharder::rebalancer
