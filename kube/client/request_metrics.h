#pragma once

#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "kube/client/request.h"

namespace prometheus {
class Counter;
class Histogram;
class Registry;
template <typename T>
class Family;
}  // namespace prometheus

namespace sharder::kube {

// The metrics of Kubernetes' own clients, under their names. Owned by the API loop; the values are safe to collect from
// any thread. Two of them may share a registry.
class RequestMetrics {
 public:
  // `registry` may be null. `host`: "10.0.0.1:443".
  RequestMetrics(prometheus::Registry* registry, std::string host);

  // An exchange ended: its HTTP status, or 0 for none ("<error>", as in client-go).
  void count(Method method, int status);
  // A whole call ended, the waits and retries included.
  void observe(Method method, std::chrono::nanoseconds duration);

 private:
  const std::string host_;
  prometheus::Family<prometheus::Counter>* requests_ = nullptr;
  prometheus::Family<prometheus::Histogram>* durations_ = nullptr;
  std::map<std::pair<Method, int>, prometheus::Counter*> counters_;
  std::map<Method, prometheus::Histogram*> histograms_;
};

}  // namespace sharder::kube
