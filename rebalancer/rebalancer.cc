#include "rebalancer/rebalancer.h"

#include <map>
#include <optional>
#include <utility>

#include "rebalancer/namespaces.h"
#include "rebalancer/ring_worker.h"

namespace sharder::rebalancer {

struct Rebalancer::Impl {
  std::shared_ptr<const ring::RingEntry> entry_of(const std::string& ring) const;
  void lead(bool now_leading);
  // Gives the ring a worker by its newest spec, or none when it cannot have one.
  void renew(const std::string& ring);
  Namespaces::Callbacks namespace_callbacks();

  const std::shared_ptr<Tools> tools;
  const Inputs inputs;
  std::optional<WaitGroup::Ticket> leading = {};  // for as long as it leads; meanwhile:
  std::optional<Namespaces> namespaces = {};
  std::optional<Error> namespaces_trouble = {};
  std::map<std::string, std::unique_ptr<RingWorker>> workers = {};
};

std::shared_ptr<const ring::RingEntry> Rebalancer::Impl::entry_of(const std::string& ring) const {
  const auto snapshot = inputs.snapshots.get();
  const auto ring_set = inputs.ring_sets.get();
  const ring::RingStatus* const status = snapshot ? snapshot->find(ring) : nullptr;
  if (status == nullptr || status->deleting || !status->spec_error.empty() || !ring_set) {
    return nullptr;
  }
  const auto found = ring_set->rings.find(ring);
  return found == ring_set->rings.end() ? nullptr : found->second;
}

void Rebalancer::Impl::renew(const std::string& ring) {
  if (!leading) {
    return;
  }
  workers.erase(ring);
  if (auto entry = entry_of(ring)) {
    auto& worker = workers[ring] = std::make_unique<RingWorker>(tools, *namespaces, std::move(entry));
    if (namespaces_trouble) {
      worker->namespaces_trouble(namespaces_trouble);
    }
  }
}

Namespaces::Callbacks Rebalancer::Impl::namespace_callbacks() {
  return {.on_synced =
              [this] {
                for (auto& [ring, worker] : workers) {
                  worker->namespaces_synced();
                }
              },
          .on_change =
              [this](const std::string& name, const LabelMap* before, const LabelMap& labels) {
                for (auto& [ring, worker] : workers) {
                  worker->namespace_changed(name, before, labels);
                }
              },
          .on_trouble =
              [this](const std::optional<Error>& error) {
                namespaces_trouble = error;
                for (auto& [ring, worker] : workers) {
                  worker->namespaces_trouble(error);
                }
              },
          .on_return =
              [this] {
                for (auto& [ring, worker] : workers) {
                  worker->server_is_back();
                }
              }};
}

void Rebalancer::Impl::lead(bool now_leading) {
  if (leading.has_value() == now_leading) {
    return;
  }
  if (!now_leading) {
    workers.clear();
    namespaces.reset();
    namespaces_trouble.reset();
    leading.reset();
    return;
  }
  leading = tools->leader_work.enter();
  namespaces.emplace(tools, namespace_callbacks());
  if (const auto ring_set = inputs.ring_sets.get()) {
    for (const auto& [ring, entry] : ring_set->rings) {
      renew(ring);
    }
  }
}

Rebalancer::Rebalancer(Executor& control, kube::Api& api, kube::Discovery& discovery, kube::EventRecorder& events,
                       const Clock& clock, Inputs inputs, Settings settings, ReportTrouble report_trouble,
                       prometheus::Registry* registry, const Logger& log, WaitGroup& leader_work)
    : impl_(new Impl{.tools = std::shared_ptr<Tools>(new Tools{
                         control, api, discovery, events, clock, std::move(settings), std::move(report_trouble),
                         Metrics(registry), kube::ReconcileMetrics(registry, "sharder"), log, leader_work}),
                     .inputs = inputs}) {}

Rebalancer::~Rebalancer() = default;

void Rebalancer::on_ring_added(const std::string& ring) {
  impl_->renew(ring);
}

void Rebalancer::on_ring_changed(const std::string& ring) {
  impl_->renew(ring);
}

void Rebalancer::on_ring_removed(const std::string& ring) {
  impl_->workers.erase(ring);
}

void Rebalancer::on_shards_changed(const std::string& ring) {
  const auto worker = impl_->workers.find(ring);
  if (worker == impl_->workers.end()) {
    return;
  }
  if (auto entry = impl_->entry_of(ring)) {
    worker->second->shards_changed(std::move(entry));
  }
}

void Rebalancer::on_rebalance_requested(const std::string& ring) {
  if (const auto worker = impl_->workers.find(ring); worker != impl_->workers.end()) {
    impl_->tools->log.info("looking at all objects, as the ring's annotation asks for", {{"ring", ring}});
    worker->second->sync();
  }
}

Report Rebalancer::report() const {
  Report report;
  for (const auto& [ring, worker] : impl_->workers) {
    report.emplace(ring, worker->report());
  }
  return report;
}

std::optional<std::vector<ResourceReport>> Rebalancer::report(const std::string& ring) const {
  const auto worker = impl_->workers.find(ring);
  return worker == impl_->workers.end() ? std::nullopt : std::optional(worker->second->resources());
}

void Rebalancer::on_leading(bool leading) {
  impl_->lead(leading);
}

}  // namespace sharder::rebalancer
