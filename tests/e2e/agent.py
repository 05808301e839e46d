"""Builds and drives agent/, the part of simulated shards that has to be fast: it watches their objects and acknowledges
drains. A program in C++, because Python would take more of a small machine than what is measured."""

import fcntl
import json
import os
import subprocess
import threading
from pathlib import Path

from cluster import ROOT
from processes import Failed, spawn, wait_until

FOLDER = ROOT / "build" / "e2e"
WORKERS = 32  # acknowledgements in flight


def build():
    """Path of the program, built when its sources have changed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test files run at the same time
        for command in (["cmake", "-S", ROOT / "tests" / "e2e" / "agent", "-B", FOLDER, "-G", "Ninja"],
                        ["cmake", "--build", FOLDER]):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode:
                raise Failed(f"building tests/e2e/agent:\n{done.stdout}")
    return FOLDER / "agent"


class Agent:
    """The objects of one ring, as its shards see them. `mains` and `controlled` are list paths."""

    def __init__(self, client, ring, mains, controlled=(), workers=WORKERS):
        scheme = "http" if client.ca_file is None else "https"
        command = [build(), "--server", f"{scheme}://{client.host}:{client.port}", "--ring", ring,
                   "--workers", str(workers)]
        credentials = client.credentials
        environment = dict(os.environ)
        if client.ca_file:
            command += ["--ca", client.ca_file]
        if credentials.certificate:
            command += ["--certificate", credentials.certificate, "--key", credentials.key]
        if credentials.token:
            environment["AGENT_TOKEN"] = credentials.token
        for flag, paths in (("--main", mains), ("--controlled", controlled)):
            for path in paths:
                command += [flag, path]
        self._command, self._environment = [str(part) for part in command], environment
        self._child = None
        self._lock = threading.Lock()

    def start(self):
        self._child = spawn(self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True, bufsize=1)
        self._answer()
        return self

    def stop(self):
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child.stdin.close()
            self._child.stdout.close()
            self._child = None

    def tell(self, *words):
        """Gives a command; its answer."""
        with self._lock:
            try:
                self._child.stdin.write(" ".join(words) + "\n")
                self._child.stdin.flush()
            except BrokenPipeError:
                pass  # the answer, or its lack, tells
            return self._answer()

    def run(self, *shards):
        """These work from now on."""
        self.tell("run", *shards)

    def quit(self, shard, may_move):
        """It does not work any more; its objects may be moved from then on, seconds since the epoch."""
        self.tell("stop", shard, f"{may_move:.6f}")

    def acknowledge(self, does, *shards):
        """Whether these acknowledge drains; at first they do."""
        self.tell("acknowledge", "on" if does else "off", *shards)

    def like_go(self, *shards):
        """These acknowledge as the Go project's shards: they remove both labels. All others set the drain's target."""
        self.tell("like-go", *shards)

    def mark(self):
        """Counts and times of the report begin anew."""
        self.tell("mark")

    def report(self):
        """What agent/objects.cc counts, as a dict."""
        return self.tell("report")

    def at_rest(self, timeout=10, **wanted):
        """The report, as soon as it has these values: its watches are a little behind what a list shows."""
        report = {}

        def rests():
            report.update(self.report())
            return all(report[name] == value for name, value in wanted.items())

        try:
            wait_until(rests, timeout, f"the shards have seen it: {wanted}")
        except Failed as failed:
            raise Failed(f"{failed}; they report {report}") from None
        return report

    def history(self, folder):
        """{"resource/namespace/name": [[shard, begin, end or None, why it ended], ...]}: who worked on what, when."""
        file = Path(folder) / f"history-{id(self)}.json"
        self.tell("history", str(file))
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        finally:
            file.unlink()

    def _answer(self):
        line = self._child.stdout.readline()
        if not line:
            raise Failed(f"tests/e2e/agent ended with {self._child.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"tests/e2e/agent: {answer['error']}")
        return answer


def overlaps(history, tolerance=0.0):
    """Objects on which two shards worked at the same time, for longer than `tolerance` seconds, a line each."""
    found = []
    for name, intervals in history.items():
        ordered = sorted(intervals or [], key=lambda one: one[1])
        for (shard, _, end, _), (other, begin, _, _) in zip(ordered, ordered[1:]):
            if shard != other and (end is None or begin < end - tolerance):
                found.append(f"{name}: {shard} until {end}, {other} from {begin}")
    return found
