"""The frame of a test file: named cases that share an environment, run at the same time unless they must not.

    suite = Suite("membership", lambda short: Environment(short=short))

    @suite.case("a released Lease leaves the ring at once")
    def released(env): ...

    if __name__ == "__main__":
        suite.main()

A case fails by raising. The last line says "N passed, N failed"; the exit code is 1 when one failed.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from processes import install_signal_handlers, kill_all


@dataclass(frozen=True)
class _Case:
    title: str
    run: object
    short: bool  # part of the short mode, which sanitizer runs use
    long: bool  # only with --long


class Suite:
    """The cases of one file. `environment(short)` makes the context manager whose value each case gets."""

    def __init__(self, name, environment=None, parallel=True):
        self.name, self._environment, self._parallel = name, environment, parallel
        self._cases = []
        self._lock = threading.Lock()
        self._passed = 0
        self._failures = []  # (title, reason)

    def case(self, title, short=True, long=False):
        """`short`: also in the short mode; `long`: only when long measurements are asked for."""
        def add(function):
            self._cases.append(_Case(title, function, short, long))
            return function
        return add

    def main(self):
        parser = argparse.ArgumentParser(description=f"End-to-end tests: {self.name}.")
        parser.add_argument("--short", action="store_true", help="fewer objects, and no case that takes minutes")
        parser.add_argument("--long", action="store_true", help="the long measurements, and nothing else")
        parser.add_argument("--only", default="", help="cases whose title has this text")
        parser.add_argument("--results", type=Path, help="write counts and figures here, as JSON")
        options = parser.parse_args()
        install_signal_handlers()
        cases = [case for case in self._cases if options.only in case.title and case.long == options.long and
                 (case.short or not options.short)]
        figures = []
        if cases:
            figures = self._run(cases, options.short)
        for name, value in figures:
            print(f"  {name}: {value}", flush=True)
        if options.results:
            options.results.write_text(json.dumps({"passed": self._passed, "failures": self._failures,
                                                   "figures": figures}), encoding="utf-8")
        print(f"{self._passed} passed, {len(self._failures)} failed", flush=True)
        kill_all()
        os._exit(1 if self._failures else 0)  # without waiting for a case that hangs

    def _run(self, cases, short):
        make = self._environment or (lambda short: contextlib.nullcontext(_Bare(short)))
        env = None
        began = time.monotonic()
        entered, unfinished = False, ""
        try:
            with make(short) as env:
                entered = True
                pool = concurrent.futures.ThreadPoolExecutor(len(cases) if self._parallel else 1)
                running = {pool.submit(self._run_case, case, env): case.title for case in cases}
                try:
                    for future in running:
                        future.result()
                except BaseException:
                    unfinished = "; ".join(title for future, title in running.items() if not future.done())
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                if self._failures:
                    env.keep_logs = True
        except (Exception, KeyboardInterrupt, SystemExit) as failure:  # pylint: disable=broad-exception-caught
            what = ("the environment starts" if not entered else f"ended before these were: {unfinished}" if unfinished
                    else "the environment ends in order")
            self._report(what, time.monotonic() - began, failure)
        return getattr(env, "figures", [])

    def _run_case(self, case, env):
        began = time.monotonic()
        try:
            case.run(env)
        except Exception as failure:  # pylint: disable=broad-exception-caught
            self._report(case.title, time.monotonic() - began, failure)
        else:
            self._report(case.title, time.monotonic() - began, None)

    def _report(self, title, seconds, failure):
        with self._lock:
            if failure is None:
                self._passed += 1
                print(f"ok      {title} ({seconds:.1f} s)", flush=True)
            else:
                self._failures.append((title, " ".join(f"{type(failure).__name__}: {failure}".split())[:300]))
                trace = "".join(traceback.format_exception(failure))
                print(f"FAILED  {title} ({seconds:.1f} s)\n{trace}", flush=True)


class _Bare:
    """For cases that make their own environment."""

    def __init__(self, short):
        self.short = short
        self.figures = []
        self.keep_logs = False  # its cases' environments see to that

    def figure(self, name, value):
        self.figures.append((name, value))
