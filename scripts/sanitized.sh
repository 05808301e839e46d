#!/usr/bin/env bash
# sanitized.sh PRESET JOBS: unit tests and a short e2e of the sharder built with the preset's sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 jobs=$2

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

cmake --preset "$preset"
cmake --build --preset "$preset" -j "$jobs" --target all apiserver
# ThreadSanitizer of GCC 12 wants the address layout that kernels had before they randomised more of it.
setarch --addr-no-randomize ctest --test-dir "build/$preset" --output-on-failure -j "$jobs"
case $preset in asan) slowness=3 ;; tsan) slowness=6 ;; *) slowness=1 ;; esac  # how many times slower the program is
SHARDER_TEST_SLOWNESS=$slowness SHARDER_BIN="$PWD/build/$preset/sharder/sharder" setarch --addr-no-randomize tests/e2e/run.py --short
