#!/usr/bin/env python3
"""Checks docs/rules.md: every row names a test that exists, or says what will bring it.

The last cell of a row holds one or more of:  `file` "name of the test"   or   later: what is missing.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
table = root / "docs" / "rules.md"
problems = []
rows = later = tests = 0
for number, line in enumerate(table.read_text().splitlines(), 1):
    if not line.startswith("| ") or line.startswith("| ---") or line.startswith("| rule |"):
        continue
    rows += 1
    cell = line.rstrip().rstrip("|").split(" | ")[-1].strip()
    named = re.findall(r'`([^`]+)` "([^"]+)"', cell)
    if not named:
        if cell.startswith("later: "):
            later += 1
        else:
            problems.append(f"docs/rules.md:{number}: names no test: {cell!r}")
    for path, name in named:
        tests += 1
        source = root / path
        if not source.is_file():
            problems.append(f"docs/rules.md:{number}: {path} does not exist")
        elif name not in re.sub(r'"\s*\n\s*"', "", source.read_text()):
            problems.append(f"docs/rules.md:{number}: {path} has no test {name!r}")
for problem in problems:
    print(problem)
if rows == 0:
    problems.append("empty")
    print("docs/rules.md has no rows")
if problems:
    sys.exit(1)
print(f"lint: {rows} rules, {tests} tests named, {later} rules still to be held")
