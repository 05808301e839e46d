#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/rebalancer/harness.h"

namespace sharder::testing {

// A leader's rebalancer, a ring over Secrets with ConfigMaps that they control, and a cluster of which the commands of
// a transcript make what they like. Every request about these objects is written to the log, without its time: pauses
// are drawn. One thread; time is the test's.
class RebalancerSimulation {
 public:
  RebalancerSimulation();

  // Runs one command (tests/testdata/rebalancer/README.md); throws std::runtime_error for nonsense.
  void command(const std::string& line);
  // What was written since the last call.
  std::string take_log();

 private:
  using Words = std::vector<std::string>;

  void put(const std::string& collection, const Words& words);
  void acknowledge(const Words& words);
  void refuse_patches(const Words& words);
  void show(const std::string& name);
  void run(const std::string& time);
  std::optional<apiserver::Status> decide(const FakeCluster::Call& call);
  void log_patch(const FakeCluster::Call& call);
  void log_list(const FakeCluster::Call& call);
  void log_streams();
  void log_events();

  std::unique_ptr<Harness> harness_;
  std::optional<apiserver::Status> refused_;  // what patches of refused_object_ get
  std::string refused_object_;                // "": of all
  bool watch_forbidden_ = false;              // of Secrets
  std::size_t streams_ = 0;                   // that were logged
  std::size_t events_ = 0;                    // likewise
  std::ostringstream log_;
};

}  // namespace sharder::testing
