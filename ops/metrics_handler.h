#pragma once

#include <memory>
#include <vector>

#include "base/executor.h"
#include "http/message.h"
#include "ops/access_reviewer.h"
#include "ops/status_pages.h"

namespace prometheus {
class Collectable;
}

namespace sharder::ops {

// The sources of the numbers of /metrics. All are collected for each answer, from one thread at a time.
using MetricSources = std::vector<std::shared_ptr<prometheus::Collectable>>;

// Answers the metrics port (protocol, 7). GET and HEAD of:
//   /metrics         all sources in Prometheus' text format
//   /status, /status.json   the pages of StatusPages
//   /debug/pprof/*   404 with a line that points to the documentation: Go's profiles have no meaning here
// All are only for callers whom the reviewer permits to `get` the path: else 401, 403, or 503 while the API server
// cannot be asked. Other methods 405, other paths 404.
//
// Without a reviewer it answers everybody. Without `pages` there is no status page.
//
// One for each loop of the server; several may share the reviewer. Numbers are gathered on `worker`, because that may
// take a while, and neither the server's loop nor the API loop may wait. Reviewer and worker outlive the handler. The
// worker also outlives the reviewer's Api, whose callbacks post to it.
class MetricsHandler final : public http::Handler {
 public:
  MetricsHandler(AccessReviewer* reviewer, MetricSources sources, Executor& worker,
                 std::shared_ptr<const StatusPages> pages = nullptr);

  void handle(const http::Request& request, http::Reply reply) override;

 private:
  AccessReviewer* const reviewer_;
  const std::shared_ptr<const MetricSources> sources_;  // shared with answers that are still being gathered
  Executor& worker_;
  const std::shared_ptr<const StatusPages> pages_;
};

}  // namespace sharder::ops
