#include "rebalancer/ring_worker.h"

#include <algorithm>
#include <utility>

#include "ring/resources.h"

namespace sharder::rebalancer {

namespace {

// Often several shards come at once: the changes within this time after a refresh are handled together.
constexpr std::chrono::milliseconds kGather{200};

}  // namespace

RingWorker::RingWorker(std::shared_ptr<Tools> tools, const Namespaces& namespaces,
                       std::shared_ptr<const ring::RingEntry> entry)
    : tools_(std::move(tools)),
      view_(std::move(entry), namespaces, tools_->settings.namespace_selector),
      log_(tools_->log.with({{"ring", view_.entry()->spec().name}})),
      troubles_(tools_, view_.entry()->spec().name),
      mover_(tools_, view_),
      passes_(tools_, view_, [this](std::size_t objects) { passes_idle(objects); }),
      refresh_timer_(tools_->control),
      second_pass_timer_(tools_->control),
      sync_timer_(tools_->control),
      look_timer_(tools_->control) {
  for (const ring::GroupResource& name : resources_of(view_.entry()->spec())) {
    const auto index = static_cast<std::uint32_t>(resources_.size());
    resources_.push_back(std::make_unique<ResourceWorker>(
        tools_, ResourceWorker::RingParts{namespaces, view_, mover_, passes_, troubles_}, index, name));
    view_.add(*resources_.back());
  }
  for (const auto& resource : resources_) {
    resource->start();
  }
  look();
}

void RingWorker::shards_changed(std::shared_ptr<const ring::RingEntry> entry) {
  if (entry == view_.entry()) {
    return;
  }
  const ring::RingEntry& before = *view_.entry();
  // A shard that joined gets keys from all others, one that is cordoned loses its own: that takes a pass. When a shard
  // leaves, the orphan watch shows its objects.
  needs_pass_ = needs_pass_ || !std::ranges::includes(before.ring().shards(), entry->ring().shards()) ||
                !std::ranges::includes(before.cordoned(), entry->cordoned());
  view_.set_entry(std::move(entry));
  mover_.ring_changed();
  if (!refresh_timer_.is_set()) {
    const SteadyTime now = tools_->clock.steady();
    refresh_timer_.set(std::max(last_refresh_ + kGather, now) - now, [this] { refresh(); });
  }
}

void RingWorker::refresh() {
  last_refresh_ = tools_->clock.steady();
  for (const auto& resource : resources_) {
    resource->watch_orphans();
  }
  // Without a member nothing can be moved, but it is counted, and what has failed may work by now.
  const bool needed = std::exchange(needs_pass_, false) || view_.entry()->ring().shards().empty();
  for (const auto& resource : resources_) {
    resource->pass_for_shards(needed);
  }
  second_pass_later();
}

void RingWorker::pass_over_all() {
  for (const auto& resource : resources_) {
    resource->pass_over_all();
  }
}

// After the last change, or now and then while the members change all the time.
void RingWorker::second_pass_later() {
  const SteadyTime now = tools_->clock.steady();
  if (!second_pass_timer_.is_set()) {
    changing_since_ = now;
  }
  const SteadyTime due = std::min(last_refresh_ + kSecondPass, changing_since_ + kSecondPassAtLatest);
  second_pass_timer_.set(due - now, [this] { second_pass(); });
}

void RingWorker::second_pass() {
  if (tools_->clock.steady() < last_refresh_ + kSecondPass) {
    second_pass_later();
  }
  pass_over_all();
}

void RingWorker::namespaces_synced() {
  for (const auto& resource : resources_) {
    resource->namespaces_synced();
  }
}

void RingWorker::namespace_changed(const std::string& name, const LabelMap* before, const LabelMap& labels) {
  const bool was_selected = before != nullptr && view_.selects(*before);
  if (!view_.selects(labels)) {
    if (was_selected) {
      mover_.forget_namespace(name);
      for (const auto& resource : resources_) {
        resource->deselected();
      }
    }
    return;
  }
  if (was_selected) {
    return;
  }
  for (const auto& resource : resources_) {
    resource->pass_over_namespace(name);
  }
}

void RingWorker::namespaces_trouble(const std::optional<Error>& error) {
  if (!error || view_.needs_namespaces()) {
    troubles_.set("watch namespaces", error);
  }
}

void RingWorker::server_is_back() {
  for (const auto& resource : resources_) {
    resource->server_is_back();
  }
}

RingReport RingWorker::report() const {
  RingReport report;
  mover_.add_to(report.flows);
  for (const auto& resource : resources_) {
    resource->add_to(report.flows);
  }
  report.resources = resources();
  return report;
}

std::vector<ResourceReport> RingWorker::resources() const {
  std::vector<ResourceReport> reports;
  reports.reserve(resources_.size());
  for (const auto& resource : resources_) {
    reports.push_back(resource->report());
  }
  return reports;
}

void RingWorker::passes_idle(std::size_t objects) {
  if (objects > 0) {
    log_.info("pass ended", {{"objects", objects}});
  }
  if (!sync_timer_.is_set()) {
    sync_timer_.set(tools_->settings.sync_period, [this] { sync(); });
  }
}

void RingWorker::sync() {
  for (const auto& resource : resources_) {
    resource->sync();
  }
  pass_over_all();
}

void RingWorker::look() {
  for (const auto& resource : resources_) {
    resource->look();
  }
  look_timer_.set(DrainCounter::kPeriod, [this] { look(); });
}

}  // namespace sharder::rebalancer
