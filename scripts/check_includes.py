#!/usr/bin/env python3
"""Holds each folder to the includes that docs/design.md, section 2, allows it."""
import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "ring": {"base"},
    "http": {"base"},
    "kube": {"base"},
    "membership": {"base", "ring", "kube"},
    "controllerring": {"base", "ring", "kube"},
    "rebalancer": {"base", "ring", "kube"},
    "webhook": {"base", "ring", "http"},
    "certs": {"base", "kube"},
    "ops": {"base", "http", "kube", "certs"},
    "sharder": {"base", "ring", "http", "kube", "membership", "controllerring", "rebalancer", "webhook", "certs", "ops"},
}
# Whose types stay in .cc files.
HIDDEN = re.compile(r"^(curl|openssl|boost|simdjson|protozero|httplib|yaml\.h|CLI)\b")

root = pathlib.Path(__file__).resolve().parent.parent
problems = []
files = 0
for folder, allowed in ALLOWED.items():
    for path in sorted((root / folder).glob("*.[hc]*")):
        if path.suffix not in (".h", ".cc"):
            continue
        files += 1
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'\s*#include ([<"])([^>"]+)[>"]', line)
            if not include:
                continue
            target = include.group(2)
            where = f"{path.relative_to(root)}:{number}"
            if include.group(1) == '"':
                other = target.split("/")[0]
                if other != folder and other not in allowed:
                    problems.append(f"{where}: {folder}/ may not include {target}")
            elif path.suffix == ".h" and HIDDEN.match(target):
                public = not path.stem.endswith("_internal")
                if public:
                    problems.append(f"{where}: <{target}> belongs in a .cc file")
for problem in problems:
    print(problem)
if problems:
    sys.exit(1)
print(f"lint: the includes of {files} files follow the layers")
