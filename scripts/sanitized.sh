#!/usr/bin/env bash
# sanitized.sh PRESET JOBS [FILE...]: a short e2e of the sharder, and of shards, built with the preset's sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 jobs=$2

. scripts/sanitizer_options.sh
cmake --preset "$preset"
cmake --build --preset "$preset" -j "$jobs" --target sharder checksum-controller
# What stands around it is as users build it.
cmake --preset release
cmake --build --preset release -j "$jobs" --target apiserver checksum-controller
case $preset in asan) slowness=3 ;; tsan) slowness=6 ;; *) slowness=1 ;; esac  # how many times slower the program is
counts=$(mktemp -d)  # of lines: coverage is that of the unit tests
trap 'rm -rf "$counts"' EXIT
GCOV_PREFIX=$counts SHARDER_TEST_SLOWNESS=$slowness SHARDER_BIN="$PWD/build/$preset/sharder/sharder" \
  setarch --addr-no-randomize tests/e2e/run.py --short "${@:3}"
