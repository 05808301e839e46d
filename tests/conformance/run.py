#!/usr/bin/python3
"""Runs each behaviour on the real API server and on the embedded one, and prints the results side by side.

    run.py [--server real|embedded|both] [--list] [TEXT...]      TEXT: behaviours with this in their group or title

Ends with 1 when one fails on either server, or when fewer ran on one than on the other.
"""

import argparse
import concurrent.futures
import importlib
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import servers  # first: it puts tests/e2e on the path
from behaviour import ALL, Context
from hooks import HookServer

# pylint: disable=wrong-import-order
import binaries
import pki
from processes import Failed, install_signal_handlers, kill_all

HERE = Path(__file__).resolve().parent
AT_ONCE = 6
ORDER = ("objects", "patches", "lists", "watches", "history", "metadata", "custom_resources", "validation", "apply",
         "webhooks", "deletion", "discovery")


def load():
    found = {path.stem.partition("_")[2] for path in HERE.glob("on_*.py")}
    assert found == set(ORDER), found ^ set(ORDER)
    for name in ORDER:
        importlib.import_module(f"on_{name}")


class Results:
    """{behaviour: None, or why it failed} of one server."""

    def __init__(self, server):
        self.server, self.of, self.seconds, self.broken = server, {}, 0.0, None
        self._lock = threading.Lock()

    def attempt(self, one, step):
        """Runs a step; what it raises is the behaviour's failure. True when it did not."""
        try:
            step()
        except Exception as error:  # pylint: disable=broad-exception-caught
            text = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
            with self._lock:
                self.of[one] = text + "\n" + where(error)
            return False
        return True

    def passed(self, one):
        with self._lock:
            self.of[one] = None

    def failures(self):
        return {one: text for one, text in self.of.items() if text}


def where(error):
    """The line of the behaviour that failed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/on_" in frame.filename]
    return "".join(f"      {Path(frame.filename).name}:{frame.lineno}: {frame.line}\n" for frame in frames[-1:])


def run_on(make, hooks, chosen, results):
    """All chosen behaviours on one server."""
    began = time.monotonic()
    try:
        with make() as server:
            plain = [one for one in chosen if not one.expires]
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda one: run_plain(one, Context(server, hooks), results), plain))
            halted = []
            for one in (one for one in chosen if one.expires):
                steps = one.run(Context(server, hooks))
                if results.attempt(one, lambda steps=steps: next(steps)):
                    halted.append((one, steps))
            if halted:
                server.expire_history()
            for one, steps in halted:
                if results.attempt(one, lambda steps=steps: finish(steps)):
                    results.passed(one)
    except (Failed, OSError, AssertionError) as error:
        results.broken = str(error)
    results.seconds = time.monotonic() - began


def run_plain(one, context, results):
    if results.attempt(one, lambda: one.run(context)):
        results.passed(one)


def finish(steps):
    try:
        next(steps)
    except StopIteration:
        return
    raise AssertionError("it yields twice")


def word(results, one):
    if one not in results.of:
        return "not run"
    return "FAILED" if results.of[one] else "ok"


def report(chosen, all_results):
    group = None
    for one in chosen:
        if one.group != group:
            group = one.group
            print(f"\n{group}")
        print("  " + "".join(f"{word(results, one):9}" for results in all_results) + one.title)
    for results in all_results:
        for one, text in results.failures().items():
            print(f"\nFAILED on {results.server}: {one.title}\n    " + text.strip().replace("\n", "\n    "))
        if results.broken:
            print(f"\n{results.server}: {results.broken}")
    print()
    for results in all_results:
        failed = len(results.failures())
        print(f"{results.server}: {len(results.of)} of {len(chosen)} behaviours ran, "
              f"{len(results.of) - failed} passed, {failed} failed, in {results.seconds:.0f} s")


def main():
    load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=("real", "embedded", "both"), default="both")
    parser.add_argument("--list", action="store_true", help="only print the behaviours")
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    options = parser.parse_args()
    chosen = [one for one in ALL if not options.texts
              or any(text in one.title or text == one.group for text in options.texts)]
    if options.list:
        print("\n".join(f"{one.group}: {one.title}" for one in chosen))
        return 0
    if not chosen:
        parser.error("no behaviour is called so")
    install_signal_handlers()
    kinds = [kind for kind in (servers.Real, servers.Embedded) if options.server in ("both", kind.name)]
    all_results = [Results(kind.name) for kind in kinds]
    with tempfile.TemporaryDirectory(prefix="sharder-conformance-") as folder:
        authority = pki.Authority(Path(folder) / "pki", "hooks-ca")
        hooks = HookServer(authority, authority.issue("hooks", "/CN=hooks", ("127.0.0.1",)))
        threads = [threading.Thread(target=run_on, args=(kind, hooks, chosen, results))
                   for kind, results in zip(kinds, all_results)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            kill_all()
            hooks.close()
    report(chosen, all_results)
    complete = all(len(results.of) == len(chosen) and not results.broken for results in all_results)
    return 0 if complete and not any(results.failures() for results in all_results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, binaries.Unavailable) as failure:
        sys.exit(f"run.py: {failure}")
