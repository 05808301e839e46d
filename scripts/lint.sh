#!/usr/bin/env bash
# Formatting, the includes that a folder may have, the table of rules, their tests and their mutants, what is generated in
# the chart and in docs/, what docs/ leave out, what builds on other systems, the workflows of the forge, and clang-tidy:
# on the files that changed since $LINT_BASE, else on all.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files '*.h' '*.cc')
clang-format-19 --dry-run -Werror "${sources[@]}"
echo "lint: ${#sources[@]} files are formatted"
scripts/check_includes.py
scripts/check_rules.py
scripts/mutants.py --check
scripts/dashboards.py --check
scripts/chart.py --check
scripts/docs.py --check
tests/scripts/test_builds_of_others.py
tests/scripts/test_docs.py
tests/scripts/test_workflows.py

cmake --preset debug >/dev/null
if [[ -n ${LINT_BASE:-} ]]; then
  mapfile -t checked < <(git diff --name-only --diff-filter=d "$LINT_BASE" -- '*.cc')
else
  mapfile -t checked < <(git ls-files '*.cc' ':!tests')
fi
if ((${#checked[@]} > 0)); then
  printf '%s\0' "${checked[@]}" | xargs -0 -n 4 -P "$(nproc)" clang-tidy-19 --quiet -p build/debug --extra-arg=-Wno-unknown-warning-option
fi
echo "lint: clang-tidy found nothing in ${#checked[@]} files"
