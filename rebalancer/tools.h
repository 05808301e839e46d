#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "kube/client/api.h"
#include "kube/client/discovery.h"
#include "kube/client/reconcile_metrics.h"
#include "kube/events/events.h"
#include "rebalancer/metrics.h"
#include "ring/label_selector.h"

namespace sharder::rebalancer {

// controller.sharder of the configuration file, and the selector of rings without one of their own.
struct Settings {
  std::chrono::nanoseconds sync_period = std::chrono::minutes(5);
  std::size_t concurrent_moves = 100;  // of each ring
  ring::LabelSelector namespace_selector = {};
};

// Reports a lasting failure that keeps a ring from being rebalanced: `what` ("list secrets") fails; nullopt: it is
// over. On the control loop.
using ReportTrouble =
    std::function<void(const std::string& ring, const std::string& what, const std::optional<Error>& trouble)>;

// The tools of all rings' workers. Shared, because the last answer may come when everything else is destroyed; what
// they refer to outlives every answer.
struct Tools {
  Executor& control;
  kube::Api& api;
  kube::Discovery& discovery;
  kube::EventRecorder& events;
  const Clock& clock;
  const Settings settings;
  const ReportTrouble report_trouble;
  Metrics metrics;
  kube::ReconcileMetrics passes;
  const Logger log;
  WaitGroup& leader_work;  // a ticket for each write that is under way
};

}  // namespace sharder::rebalancer
