#!/usr/bin/env bash
# fuzz.sh BUILD_DIR SECONDS: runs each fuzz target on its committed seeds, as many at a time as there are CPUs. What is
# found is left in BUILD_DIR/findings, new inputs of interest in BUILD_DIR/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2

fuzz() {  # NAME
  local name=$1
  local -a options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
                    -artifact_prefix="$build/findings/$name-")
  mkdir -p "$build/corpus/$name" "$build/findings"
  if ! "$build/tests/fuzz/fuzz_$name" "${options[@]}" "$build/corpus/$name" "tests/fuzz/corpus/$name" \
      >"$build/fuzz-$name.log" 2>&1; then
    tail -40 "$build/fuzz-$name.log"
    echo "fuzz target $name found something: see $build/findings"
    return 1
  fi
  echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz-$name.log") inputs, nothing found"
}
export -f fuzz
export build seconds

mapfile -t names < <(sed -n 's/^sharder_fuzz_target(\([a-z_]*\) .*/\1/p' tests/fuzz/CMakeLists.txt)
((${#names[@]} > 0)) || { echo "there is no fuzz target"; exit 1; }
echo "fuzzing ${names[*]}, $seconds s each"
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
