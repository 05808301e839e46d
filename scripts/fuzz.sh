#!/usr/bin/env bash
# fuzz.sh BUILD_DIR SECONDS: runs each fuzz target on a copy of its committed seeds; a finding is left in BUILD_DIR/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2
mkdir -p "$build/findings"

count=0
for program in "$build"/tests/fuzz/fuzz_*; do
  [[ -x $program && -f $program ]] || continue
  name=$(basename "$program")
  name=${name#fuzz_}
  mkdir -p "$build/corpus/$name"
  echo "fuzzing $name for $seconds s"
  options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
           -artifact_prefix="$build/findings/$name-")
  if [[ -f tests/fuzz/$name.dict ]]; then
    options+=(-dict="tests/fuzz/$name.dict")
  fi
  if ! "$program" "${options[@]}" "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$build/$name.log" 2>&1; then
    tail -40 "$build/$name.log"
    echo "fuzz target $name found something: see $build/findings"
    exit 1
  fi
  grep -E 'stat::number_of_executed_units|stat::average_exec_per_sec' "$build/$name.log"
  count=$((count + 1))
done
if ((count == 0)); then
  echo "no fuzz target was built"
  exit 1
fi
echo "$count fuzz targets, nothing found"
