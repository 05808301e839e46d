#!/usr/bin/env bash
# coverage.sh BUILD_DIR: line coverage that the unit tests left in BUILD_DIR, a line a folder; fails below a folder's floor.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1

for folder in base ring http kube membership controllerring webhook certs ops sharder; do
  case $folder in
    ring | membership | webhook | http) floor=90 ;;
    sharder) floor=0 ;;  # the wiring is what the e2e suite runs
    *) floor=80 ;;
  esac
  gcovr --root . --filter "$folder/" --exclude-throw-branches --gcov-executable gcov --json-summary "$build/coverage-$folder.json" \
    "$build" >/dev/null 2>"$build/coverage.log" || { cat "$build/coverage.log"; exit 1; }
  /usr/bin/python3 - "$build/coverage-$folder.json" "$folder" "$floor" <<'PY'
import json, sys
summary, folder, floor = json.load(open(sys.argv[1])), sys.argv[2], float(sys.argv[3])
percent = summary["line_percent"]
print(f"{folder:<15} {summary['line_covered']:>5} of {summary['line_total']:>5} lines  {percent:5.1f} %  (at least {floor:.0f} %)")
sys.exit(percent < floor)
PY
done
