#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shard/controller.h"
#include "shard/options.h"

namespace sharder::shard {

// This process as a shard of a ring: Lease, controllers, endpoints.
//
//   create ──► add ──► run ──► Lease acquired ──► controllers list, watch, reconcile
//                                 │ SIGTERM, SIGINT, stop(): no new reconciliation begins, running ones end, then the
//                                 │    Lease is released: the sharder moves the objects at once          ──► success
//                                 └ the Lease is lost: the same, but nothing is released                 ──► an error
//
// create(), add() and run() from one thread.
class Shard {
 public:
  // Reads kubeconfig or service account; does not connect. kInvalid says what is missing or wrong. Blocks SIGTERM and
  // SIGINT in this thread, and so in all that it starts later: call it before other threads are started.
  static Result<std::unique_ptr<Shard>> create(Options options, Logger log);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // kInvalid: the main resource or the reconcile function is missing, or there is a controller of that name.
  Result<void> add(ControllerOptions controller);

  // Works until a signal, stop(), or until the Lease is lost. An error names what was wrong; end the process with a
  // status other than 0 then. A reconciliation that does not end within shutdown_grace ends the process at once, with
  // status 1 and without a release of the Lease: nobody knows what it still does.
  Result<void> run();
  // From any thread.
  void stop();

  // Any thread. Whether the Lease is valid, and until when (BOOTTIME).
  bool valid() const;
  BootTime valid_until() const;
  // The name in use; after run() has begun, the ports in use: 0 when there is none.
  const std::string& name() const;
  std::uint16_t metrics_port() const;
  std::uint16_t health_port() const;

 private:
  struct Impl;
  explicit Shard(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::shard
