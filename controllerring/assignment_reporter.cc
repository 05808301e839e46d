#include "controllerring/assignment_reporter.h"

#include <utility>

#include "ring/names.h"

namespace sharder::controllerring {

AssignmentReporter::AssignmentReporter(std::shared_ptr<Tools> tools, const Published<ring::Snapshot>& snapshots,
                                       AssignmentCheck check)
    : tools_(std::move(tools)),
      snapshots_(snapshots),
      check_(std::move(check)),
      conditions_(tools_, {.type = ring::kAllAssigned,
                           .event = "ObjectsUnassigned",
                           .well = "objects have their shards",
                           .trouble = "objects have no shard",
                           .failure = "cannot report whether all objects have a shard"}),
      timer_(tools_->control) {}

void AssignmentReporter::lead(bool leading) {
  works_.clear();
  timer_.cancel();
  conditions_.lead(leading);
  if (leading) {
    timer_.set(kEvery, [this] { look(); });
  }
}

void AssignmentReporter::ring_removed(const std::string& ring) {
  works_.erase(ring);
  conditions_.ring_removed(ring);
}

void AssignmentReporter::look() {
  timer_.set(kEvery, [this] { look(); });
  const auto snapshot = snapshots_.get();
  if (!snapshot) {
    return;
  }
  for (const auto& [name, ring] : snapshot->rings) {
    if (ring->deleting) {
      continue;
    }
    if (const auto found = find(name)) {
      if (auto report = conditions_.consider(*ring, *found, tools_->options.sync_period)) {
        conditions_.write(*std::move(report));
      }
    }
  }
}

// nullopt: nothing to say yet.
std::optional<Condition> AssignmentReporter::find(const std::string& ring) {
  const SteadyTime now = tools_->clock.steady();
  Work& work = works_.try_emplace(ring, Work{.counted = now}).first->second;
  auto found = all_assigned(check_(ring));
  if (found) {
    work.counted = now;
  } else if (now - work.counted < kAssignmentPatience) {
    return std::nullopt;
  } else {
    found = Condition{.status = "Unknown",
                      .reason = "NotCounted",
                      .message = "The objects of this ring cannot be counted; the condition Ready says why"};
  }
  const bool is_new = !work.found || work.found->status != found->status || work.found->reason != found->reason;
  if (is_new || now - work.found_at >= kMessagePause) {
    work.found = std::move(found);
    work.found_at = now;
  }
  return work.found;
}

}  // namespace sharder::controllerring
