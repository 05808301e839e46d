#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "sharder/config.h"

namespace sharder::app {

// The whole program, built from its parts. Only this class knows all of them; each part is given what it needs.
//
//   start: health port, webhook, metrics and status ports, watches, leader election
//   stop:  leadership and shutdownDelay at the same time, webhook port; the destructor ends all others: metrics
//          and status port, control loop, health port, watches
//
// All calls from one thread, the main one.
class Program {
 public:
  // Reads the files that the configuration names. Does not connect. kInvalid names file and reason when the kubeconfig
  // or a certificate is missing or wrong. `kubeconfig`: the flag's value, "" when it was not given.
  static Result<std::unique_ptr<Program>> create(const Config& config, const std::string& kubeconfig, Logger log);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Binds the ports and starts to work. During an outage of the API server it tries again in the background. kInvalid
  // when a port cannot be bound.
  Result<void> start();

  // Ends in order, after SIGTERM or SIGINT (design, invariant 10). Blocks for shutdownDelay and gracefulShutDown at
  // most; during an outage of the API server for some seconds more, to release the leadership. Leading stops at once;
  // the leadership is released as soon as the leader's requests are answered. Every answer of the webhook has
  // `Connection: close`, and the webhook accepts connections for shutdownDelay more. Then requests in flight have
  // gracefulShutDown to finish. True when none had to be cut.
  bool stop();

 private:
  struct Impl;
  explicit Program(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::app
