#pragma once

#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/log.h"
#include "kube/access/config.h"
#include "kube/client/api.h"

namespace prometheus {
class Registry;
}

namespace sharder::kube {

struct ClientOptions {
  // client-side rate limit, shared by all lanes but kUrgent and kWatch; qps <= 0: none. A burst < 1 counts as 1.
  double qps = 0;
  int burst = 0;
  std::string user_agent = "sharder";
  std::string thread_name = "api";
};

// The API server over libcurl multi: HTTP/2 where it is offered, HTTP/1.1 where a proxy wants it. One thread, the API
// loop, owns every curl handle. The destructor cancels what is under way (callbacks get kCancelled) and joins.
class Client final : public Api {
 public:
  // kInvalid when the configuration cannot work: names file and reason. Does not connect.
  // `registry` (may be null) gets rest_client_requests_total{code,host,method} and
  // rest_client_request_duration_seconds{host,verb}; two clients may share it.
  static Result<std::unique_ptr<Client>> create(ClusterConfig config, const ClientOptions& options,
                                                prometheus::Registry* registry, Logger log);
  ~Client() override;

  void send(Request request, Callback callback) override;
  std::unique_ptr<Stream> open_stream(Request request, std::shared_ptr<StreamSink> sink) override;
  Executor& loop() override;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
