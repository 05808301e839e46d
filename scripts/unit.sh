#!/usr/bin/env bash
# unit.sh PRESET JOBS: builds everything of a preset, and runs the unit and in-process tests.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 jobs=$2

. scripts/sanitizer_options.sh
cmake --preset "$preset"
cmake --build --preset "$preset" -j "$jobs" --target all apiserver
# What an earlier build or run has counted.
find "build/$preset" -name '*.gcda' -delete
setarch --addr-no-randomize ctest --test-dir "build/$preset" --output-on-failure -j "$jobs"
