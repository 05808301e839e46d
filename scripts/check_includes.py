#!/usr/bin/env python3
"""Holds each folder to the includes that docs/design.md, section 2, allows it."""
import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "ring": {"base"},
    "http": {"base"},
    "kube/codec": {"base"},
    "kube/access": {"base", "kube/codec"},
    "kube/client": {"base", "kube/codec", "kube/access"},
    "kube/events": {"base", "kube/codec", "kube/client"},
    "kube/watch": {"base", "kube/codec", "kube/client"},
    "kube/election": {"base", "kube/codec", "kube/client"},
    "membership": {"base", "ring", "kube"},
    "controllerring": {"base", "ring", "kube"},
    "rebalancer": {"base", "ring", "kube"},
    "webhook": {"base", "ring", "http"},
    "certs": {"base", "kube"},
    "ops": {"base", "ring", "http", "kube"},
    "shard": {"base", "ring", "http", "kube", "ops"},
    "sharder": {"base", "ring", "http", "kube", "membership", "controllerring", "rebalancer", "webhook", "certs", "ops"},
    "ctl": {"base", "ring", "kube", "membership", "certs/x509.h", "controllerring/webhook_configuration.h",
            "rebalancer/decision.h", "sharder/values.h", "sharder/version.h"},
}
# Whose types stay in .cc files.
HIDDEN = re.compile(r"^(curl|openssl|boost|simdjson|protozero|httplib|yaml\.h|zstd\.h|zdict\.h|zlib\.h)\b")


def layer_of(target):
    """The folder of ALLOWED that a file stands in: "kube/watch" or "ring"."""
    wing = "/".join(target.split("/")[:2])
    return wing if wing in ALLOWED else target.split("/")[0]


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
                other = layer_of(target)
                if other != folder and not {other, other.split("/")[0], target} & allowed:
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
