// Building a ring and finding an owner in it.
#include "ring/ring.h"

#include <benchmark/benchmark.h>

#include <cstddef>
#include <string>
#include <vector>

namespace {

std::vector<std::string> shards(benchmark::State& state) {
  std::vector<std::string> names;
  for (int i = 0; i < state.range(0); ++i) {
    names.push_back("checksum-controller-5d9c7f9b8-" + std::to_string(i));
  }
  return names;
}

void build(benchmark::State& state) {
  const auto names = shards(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(sharder::ring::Ring(names));
  }
}
BENCHMARK(build)->Arg(5)->Arg(50)->Arg(1000)->Unit(benchmark::kMicrosecond);

void owner(benchmark::State& state) {
  const sharder::ring::Ring ring(shards(state));
  std::vector<std::string> keys;
  for (int i = 0; i < 1024; ++i) {
    keys.push_back("apps/Deployment/project-" + std::to_string(i % 7) + "/deployment-" + std::to_string(i));
  }
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ring.owner(keys[++i % keys.size()]));
  }
}
BENCHMARK(owner)->Arg(5)->Arg(50)->Arg(1000);

}  // namespace

BENCHMARK_MAIN();
