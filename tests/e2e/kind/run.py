#!/usr/bin/python3
"""Makes a cluster, loads the images, runs the files of this folder one after the other, and deletes the cluster.

    run.py [FILE...]     "shards" means test_shards.py; none: all
    --keep               the cluster stays; with it, a single file runs by itself: test_shards.py --only crashed
    --long               also the long cases, and nothing else

$IMAGE names an image of the sharder that is built already. See kind_cluster.py for $KIND and $KIND_NODE_IMAGE.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from kind_cluster import FOLDER, Kind  # first: it finds the modules of tests/e2e
import images

import binaries
from processes import Failed, install_signal_handlers

HERE = Path(__file__).resolve().parent


class Steps:
    """What was done, with its seconds."""

    def __init__(self):
        self.lines = []

    def run(self, what, work):
        print(f"=== {what}", flush=True)
        began = time.monotonic()
        try:
            return work()
        finally:
            self.lines.append(f"{time.monotonic() - began:6.0f} s  {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", help='names of files, like "shards"; none: all')
    parser.add_argument("--keep", action="store_true", help="leave the cluster there")
    parser.add_argument("--long", action="store_true", help="the long measurements, and nothing else")
    options = parser.parse_args()
    install_signal_handlers()
    known = {path.stem.removeprefix("test_"): path for path in sorted(HERE.glob("test_*.py"))}
    unknown = [name for name in options.files if name not in known]
    if unknown:
        parser.error(f"no such file: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.files or known]
    steps, cluster = Steps(), Kind()
    try:
        failures = _run(steps, cluster, chosen, options.long)
    except (Failed, binaries.Unavailable, OSError, subprocess.SubprocessError) as error:
        failures = [str(error)]
    finally:
        if not options.keep:
            steps.run("delete the cluster", cluster.delete)
    print("\n".join(["", *steps.lines]))
    for line in failures:
        print(f"FAILED  {line}")
    print("kind: all passed" if not failures else f"kind: {len(failures)} failed", flush=True)
    sys.exit(1 if failures else 0)


def _run(steps, cluster, chosen, only_long):
    """What failed, a line each."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    steps.run("images of the sharder and of its example", images.build_ours)
    steps.run("images of cert-manager and of the Go project", images.build_others)
    steps.run("create the cluster", cluster.create)
    steps.run("load the images", lambda: cluster.load(*images.all_names()))
    failures = []
    for path in chosen:
        failures += steps.run(path.stem, lambda path=path: _run_file(path, only_long))
    return failures


def _run_file(path, only_long):
    results = FOLDER / f"{path.stem}.json"
    results.unlink(missing_ok=True)
    code = subprocess.run([path, f"--results={results}", *(["--long"] if only_long else [])], check=False).returncode
    if not results.exists():
        return [f"{path.stem} ended with {code}"]
    told = json.loads(results.read_text(encoding="utf-8"))
    if not told["passed"] and not told["failures"] and not only_long:
        return [f"{path.stem} has run nothing"]
    return [f"{path.stem}: {title}: {reason}" for title, reason in told["failures"]]


if __name__ == "__main__":
    main()
