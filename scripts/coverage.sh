#!/usr/bin/env bash
# coverage.sh BUILD_DIR: line coverage that the unit tests left in BUILD_DIR, a line a folder; fails below a folder's floor.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1

if ! gcovr --root . --exclude 'tests/' --exclude-throw-branches \
    -j "$(nproc)" --json-summary "$build/coverage.json" "$build" >"$build/coverage.log" 2>&1; then
  cat "$build/coverage.log"
  exit 1
fi
/usr/bin/python3 - "$build/coverage.json" <<'PY'
import collections, json, sys

# The wiring in sharder/, and what in ctl/ asks an API server, is what the end-to-end tests run.
FLOORS = {"base": 90, "ring": 90, "http": 90, "kube": 90, "membership": 90, "controllerring": 90, "rebalancer": 90,
          "webhook": 90, "certs": 90, "ops": 90, "shard": 90, "sharder": 70,
          "ctl": 50}
covered, total = collections.Counter(), collections.Counter()
for file in json.load(open(sys.argv[1], encoding="utf-8"))["files"]:
    folder = file["filename"].split("/")[0]
    covered[folder] += file["line_covered"]
    total[folder] += file["line_total"]
low = False
for folder, floor in FLOORS.items():
    percent = 100 * covered[folder] / total[folder] if total[folder] else 0
    low |= percent < floor
    print(f"{folder:<15} {covered[folder]:>5} of {total[folder]:>5} lines  {percent:5.1f} %  (at least {floor} %)")
sys.exit(low)
PY
