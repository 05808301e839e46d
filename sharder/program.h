#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "sharder/config.h"

namespace sharder::app {

// The whole program, built from its parts. It alone knows all of them; each is handed what it needs.
//
//   start: health port, webhook and metrics ports, watches, leader election
//   stop:  leadership, (shutdownDelay,) webhook port, metrics port, control loop, health port, watches
//
// All calls from one thread, the main one.
class Program {
 public:
  // Reads what the configuration names. kInvalid, naming file and reason: the kubeconfig or a certificate is missing or
  // wrong. Does not connect. `kubeconfig`: the flag's value, "" when it was not given.
  static Result<std::unique_ptr<Program>> create(const Config& config, const std::string& kubeconfig, Logger log);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Binds the ports and goes to work; an API server that is away is waited for in the background. kInvalid when a port
  // cannot be bound.
  Result<void> start();

  // Ends in order (design, invariant 10): leading stops at once, the leadership is released as soon as the leader's
  // requests are answered; every answer of the webhook carries `Connection: close`, and it accepts for shutdownDelay
  // more; then requests in flight have gracefulShutDown to finish. True when none had to be cut.
  bool stop();

 private:
  struct Impl;
  explicit Program(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::app
