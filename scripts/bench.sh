#!/usr/bin/env bash
# bench.sh BUILD_DIR: the benchmarks.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1

for program in "$build"/tests/bench/bench_*; do
  [[ -f $program && -x $program ]] || continue
  echo "== $(basename "$program")"
  "$program" --benchmark_min_time=0.2
done
