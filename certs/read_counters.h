#pragma once

#include <prometheus/counter.h>
#include <prometheus/registry.h>

namespace sharder::certs {

// certwatcher_read_certificate_total and certwatcher_read_certificate_errors_total: readings of certificate files, and
// those that gave nothing good. The registry adds each family only once, so all files share the counters.
struct ReadCounters {
  explicit ReadCounters(prometheus::Registry& registry)
      : reads(prometheus::BuildCounter()
                  .Name("certwatcher_read_certificate_total")
                  .Help("Readings of certificate files.")
                  .Register(registry)
                  .Add({})),
        errors(prometheus::BuildCounter()
                   .Name("certwatcher_read_certificate_errors_total")
                   .Help("Readings of certificate files that gave no good pair.")
                   .Register(registry)
                   .Add({})) {}

  void count(bool good) {
    reads.Increment();
    if (!good) {
      errors.Increment();
    }
  }

  prometheus::Counter& reads;
  prometheus::Counter& errors;
};

}  // namespace sharder::certs
