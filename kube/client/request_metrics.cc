#include "kube/client/request_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "kube/client/answer_error.h"

namespace sharder::kube {

namespace {

// The buckets of component-base: existing dashboards expect them.
const prometheus::Histogram::BucketBoundaries kBuckets{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60};

}  // namespace

RequestMetrics::RequestMetrics(prometheus::Registry* registry, std::string host) : host_(std::move(host)) {
  if (registry == nullptr) {
    return;
  }
  requests_ = &prometheus::BuildCounter()
                   .Name("rest_client_requests_total")
                   .Help("Number of HTTP requests, partitioned by status code, method, and host.")
                   .Register(*registry);
  durations_ = &prometheus::BuildHistogram()
                    .Name("rest_client_request_duration_seconds")
                    .Help("Request latency in seconds. Broken down by verb, and host.")
                    .Register(*registry);
}

void RequestMetrics::count(Method method, int status) {
  if (requests_ == nullptr) {
    return;
  }
  if (status < 100 || status > 599) {  // a server must not invent label values
    status = 0;
  }
  prometheus::Counter*& counter = counters_[{method, status}];
  if (counter == nullptr) {
    counter = &requests_->Add({{"code", status == 0 ? "<error>" : std::to_string(status)},
                               {"host", host_},
                               {"method", std::string(to_string(method))}});
  }
  counter->Increment();
}

void RequestMetrics::observe(Method method, std::chrono::nanoseconds duration) {
  if (durations_ == nullptr) {
    return;
  }
  prometheus::Histogram*& histogram = histograms_[method];
  if (histogram == nullptr) {
    histogram = &durations_->Add({{"host", host_}, {"verb", std::string(to_string(method))}}, kBuckets);
  }
  histogram->Observe(std::chrono::duration<double>(duration).count());
}

}  // namespace sharder::kube
