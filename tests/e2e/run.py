#!/usr/bin/python3
"""Runs the end-to-end tests: the sharder on a real control plane.

    run.py [--short] [NAME...]        run.py membership      runs tests/e2e/test_membership.py
    run.py --long [NAME...]           the long measurements, one file after the other
    run.py --proxy MODE [NAME...]     the sharder reaches the API server through api_proxy.py

Each file has control planes of its own. Files that measure run first and alone, the others at the same time.
$SHARDER_BIN names another program than build/bin/sharder.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import api_proxy
import binaries
from processes import allowed

HERE = Path(__file__).resolve().parent
ALONE = ("assignment", "footprint", "rebalance_faults")  # they measure, so nothing else may run
LONG = ("rebalance_speed", "rebalance_faults", "rolling_restart", "churn", "chaos", "plan", "alerts", "faults")  # have cases of --long
ONLY_LONG = ("rebalance_speed", "rolling_restart", "alerts", "faults")  # have no others
# They take minutes, so they begin first: none of them is left to run by itself at the end.
SLOW = ("chaos", "webhook_trust", "demo", "certificate_modes", "shards_life", "lasting_failures", "pause")
# Not with --short, which is for sanitizers: these test other programs, manifests and what comes of them; or what the sharder
# does in them, its threads do in other files too.
NOT_SHORT = ("adoption", "clock", "demo", "doctor", "documents", "footprint", "full_etcd", "kinds", "manifests", "monitoring",
             "plan", "sharderctl", "webhook_trust")
QUICK = ("manifests", "kinds", "adoption", "webhook")  # with --quick
AT_ONCE = 4
SECONDS, LONG_SECONDS = allowed(600), allowed(2400)  # a file that takes longer is ended


class Run:
    """One test file, as a process."""

    def __init__(self, name, mode, results):
        """`mode`: "", "--short" or "--long"."""
        self.name, self._results = name, results / f"{name}.json"
        self._deadline = LONG_SECONDS if mode == "--long" else SECONDS
        arguments = ["/usr/bin/python3", HERE / f"test_{name}.py", "--results", self._results]
        self._began = time.monotonic()
        self._process = subprocess.Popen(arguments + ([mode] if mode else []), stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.passed = 0
        self.seconds = None  # it took
        self.failures = []  # (title, reason)
        self.figures = []

    def follow(self):
        """Prints its lines until it ends."""
        timer = threading.Timer(self._deadline, self.stop)
        timer.start()
        for line in self._lines():
            if not line.endswith(" failed") or " passed, " not in line:
                print(f"{self.name:>18} | {line}", flush=True)
        self._process.wait()
        timer.cancel()
        self.seconds = time.monotonic() - self._began
        try:
            results = json.loads(self._results.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            what = f"ended with {self._process.returncode} before it was finished"
            print(f"{self.name:>18} | {what}", flush=True)
            self.failures = [("the whole file", what)]
            return
        self.passed, self.failures, self.figures = results["passed"], results["failures"], results["figures"]
        print(f"{self.name:>18} | done in {self.seconds:.0f} s", flush=True)

    def _lines(self):
        """Its output until it has ended: what it started may keep the pipe open for longer."""
        pipe, rest = self._process.stdout, b""
        while True:
            ready, _, _ = select.select([pipe], [], [], 1)
            chunk = pipe.read(65536) if ready else b""
            if not chunk and (ready or self._process.poll() is not None):
                break
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)
        if rest:
            yield rest.decode("utf-8", "replace")

    def stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # it stops what it started
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()  # and the kernel ends the rest


def run_some(names, mode, results, at_once, runs):
    """Runs files `at_once` at a time, in order."""
    waiting = list(names)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                run = Run(waiting.pop(0), mode, results)
                runs.append(run)
            run.follow()

    threads = [threading.Thread(target=work) for _ in range(min(at_once, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    everything = sorted(path.stem.removeprefix("test_") for path in HERE.glob("test_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(everything)}; none: all")
    parser.add_argument("--short", action="store_true",
                        help="for sanitizer runs: fewer objects, no case that takes minutes, and without NAMEs not "
                             f"{', '.join(NOT_SHORT)}")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--long", action="store_true", help=f"the long measurements, of {', '.join(LONG)}")
    parser.add_argument("--proxy", choices=api_proxy.MODES, default=os.environ.get("SHARDER_E2E_PROXY"),
                        help="the sharder reaches the API server through a proxy of this kind (api_proxy.py)")
    options = parser.parse_args()
    if options.proxy:
        os.environ["SHARDER_E2E_PROXY"] = options.proxy  # control_plane.py looks there
    if options.long:
        everything = list(LONG)
    else:
        everything = [name for name in everything if name not in ONLY_LONG]
    default = [name for name in everything if not options.short or name not in NOT_SHORT]
    names = options.names or (list(QUICK) if options.quick else default)
    mode = "--long" if options.long else "--short" if options.short else ""
    unknown = sorted(set(names) - set(everything))
    if unknown:
        parser.error(f"no test called {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    began = time.monotonic()
    runs = []
    os.environ["KUBEBUILDER_ASSETS"] = str(binaries.find())  # once, before all ask for them
    with tempfile.TemporaryDirectory(prefix="sharder-e2e-results-") as folder:
        try:
            alone = [name for name in names if options.long or (name in ALONE and not options.short)]
            run_some(alone, mode, Path(folder), 1, runs)
            others = sorted((name for name in names if name not in alone), key=lambda name: name not in SLOW)
            run_some(others, mode, Path(folder), AT_ONCE, runs)
        finally:
            for run in runs:
                run.stop()
    figures = [(run.name, *figure) for run in runs for figure in run.figures]
    if figures:
        print("\nfigures")
        for name, what, value in figures:
            print(f"  {name}: {what}: {value}")
    through = f", through a proxy: {options.proxy}" if options.proxy else ""
    print(f"\nseconds of each file{through}")
    for run in sorted(runs, key=lambda run: run.name):
        print(f"  {run.name}: {run.seconds:.0f}" if run.seconds is not None else f"  {run.name}: not finished")
    print(f"\n{len(runs)} files in {time.monotonic() - began:.0f} s")
    passed = sum(run.passed for run in runs)
    failures = [(run.name, *failure) for run in runs for failure in run.failures]
    print(f"{passed} passed, {len(failures)} failed")
    for name, title, reason in failures:  # last, so that the end of a log tells what failed
        print(f"FAILED  {name}: {title}: {reason}")
    sys.exit(1 if failures or not passed else 0)


if __name__ == "__main__":
    try:
        main()
    except binaries.Unavailable as error:
        sys.exit(f"run.py: {error}")
