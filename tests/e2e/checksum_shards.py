"""Real shards: processes of examples/checksum-controller, and of examples/python-shard, as the shards of one ring.

Each process has a journal of its own. A process that ends by itself is started anew, as the kubelet does it with a
container. Kills and freezes stand in a journal of the test, so that tests/judge can judge the whole run.
"""

import base64
import collections
import contextlib
import hashlib
import os
import sys
import threading
from pathlib import Path

import oracle
import python_shard
from cluster import ROOT
from environment import SANITIZER_REPORT
from kubeclient import Credentials
from processes import Failed, Process, free_ports, wait_until
from sharder import binary

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "judge"))

# pylint: disable=wrong-import-position
from journal import Notes
from judge import Judge, state_of

RESOURCES = ("secrets", "configmaps")
JUDGED = {"": RESOURCES}  # for Environment
LEASE_SECONDS = 15


def controller():
    """The program checksum-controller of the build that is under test."""
    built = binary()
    for path in (built.parent / "checksum-controller",
                 built.parents[1] / "examples" / "checksum-controller" / "checksum-controller"):
        if path.is_file():
            return path
    return ROOT / "build" / "bin" / "checksum-controller"


class _Shard:
    """One shard: its process, and those that it had before. `lock` is held by who starts or ends it."""

    def __init__(self, name, command, environment, folder):
        self.name, self.journals, self.lock = name, [], threading.Lock()
        self._command, self._folder = command, folder
        self.process = Process(name, [], folder / f"{name}.log", environment)
        self.runs = False  # whether it has to run

    def start(self):
        journal = self._folder / f"{self.name}-{len(self.journals) + 1}.jsonl"
        self.journals.append(journal)
        self.process.command = [*self._command, "--journal", str(journal)]
        self.process.start()
        self.runs = True

    def note(self, notes, event):
        """Of the process that it has now."""
        notes.note(event, self.name, self.journals[-1])


class ChecksumShards:
    """The shards of one ring. Use as a context manager, which kills what still runs at its end. All methods from any
    thread."""

    def __init__(self, ring, lease_seconds=LEASE_SECONDS, reconcile_milliseconds=0, port=None):
        """`port`: where the shards find the API server, if not at its own."""
        self.ring, self.lease_seconds = ring, lease_seconds
        self.reconcile_milliseconds = reconcile_milliseconds
        self.folder = ring.env.plane.folder / f"shards-of-{ring.name}"
        self.folder.mkdir()
        self.notes = Notes(self.folder / "test.jsonl")
        self._port = port or ring.env.plane.port
        self._shards = {}
        self._lock = threading.Lock()  # of _shards
        self.ends = collections.Counter()  # exit code -> how many processes have ended by themselves with it
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name=f"shards-of-{ring.name}", daemon=True)

    def __enter__(self):
        plane = self.ring.env.plane
        self._kubeconfig = plane.write_kubeconfig(self.folder / "kubeconfig",
                                                  Credentials(token=plane.all_powerful_token("checksum-shards")),
                                                  f"https://127.0.0.1:{self._port}")
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join()
        for shard in self._all():
            shard.process.kill()
        self.notes.close()
        if kind is None:
            for shard in self._all():
                report = SANITIZER_REPORT.search(shard.process.log.read_text(encoding="utf-8", errors="replace"))
                assert not report, f"{shard.name}: {report[0]}\n{shard.process.log_end(120)}"

    # -- life

    def start(self, *names, python=False):
        """These shards come (back). `python`: new ones are of examples/python-shard."""
        for name in names:
            with self._lock:
                shard = self._shards.get(name)
                if shard is None:
                    shard = self._shards[name] = self._make(name, python)
            with shard.lock:
                shard.start()

    def leave(self, *names, timeout=40):
        """SIGTERM, and waits until they have ended; {name: exit code}."""
        shards = [self._shards[name] for name in names]
        for shard in shards:
            with shard.lock:
                shard.runs = False
                shard.process.ask_to_stop()
        codes = {}
        for shard in shards:
            with shard.lock:
                codes[shard.name] = shard.process.stop(timeout)
                shard.note(self.notes, "exited")
        return codes

    def kill(self, name, restart=False):
        """SIGKILL. `restart`: a new process of this name is started at once."""
        shard = self._shards[name]
        with shard.lock:
            shard.runs = False
            shard.process.kill()
            shard.note(self.notes, "killed")
            if restart:
                shard.start()

    def freeze(self, name):
        shard = self._shards[name]
        with shard.lock:
            shard.note(self.notes, "frozen")
            shard.process.pause()

    def thaw(self, name):
        shard = self._shards[name]
        with shard.lock:
            shard.note(self.notes, "thawed")
            shard.process.resume()

    # -- what there is

    def names(self):
        """The shards that are to run."""
        return sorted(shard.name for shard in self._all() if shard.runs)

    def process(self, name):
        return self._shards[name].process

    def journals(self, name):
        """Of its processes, in order."""
        return list(self._shards[name].journals)

    def lease(self, name):
        return self.ring.env.admin.find("leases", self.ring.namespace, name)

    def objects_of(self, name):
        """The ring's objects that have this shard's label."""
        return [item for resource in RESOURCES for item in self.ring.items(resource)
                if oracle.shard_of(item, self.ring.name) == name]

    def wait_members(self, timeout=40):
        """Until the ring consists of exactly those that are to run, everywhere."""
        self.ring.wait_ready(self.names(), timeout)

    def wait_settled(self, timeout=60):
        """Until every object has its right shard, and every Secret the right checksums."""
        self.ring.wait_settled(self.names(), timeout)
        wrong = []

        def reconciled():
            wrong[:] = self.wrong_checksums()
            return not wrong

        wait_until(reconciled, timeout, f"the Secrets of {self.ring.name} have their checksums", interval=0.2)

    def wrong_checksums(self):
        """What is not as the newest data of the Secrets asks for, a line a Secret."""
        maps = {item["metadata"]["name"]: item for item in self.ring.items("configmaps")}
        found = []
        for secret in self.ring.items("secrets"):
            metadata, one = secret["metadata"], maps.get(f"checksums-{secret['metadata']['name']}")
            owners = [] if one is None else [owner["uid"] for owner in one["metadata"].get("ownerReferences", [])]
            if one is None or one.get("data", {}) != checksums(secret) or owners != [metadata["uid"]]:
                found.append(f"{metadata['name']}: {'wrong' if one else 'no'} ConfigMap")
        return found

    def resident_megabytes(self):
        """{name: RSS in MB} of the shards that run."""
        return {name: round(self.process(name).resident_bytes() / 1e6, 1) for name in self.names()}

    # -- the judge

    def verdict(self, timeout=30):
        """The judge's verdict on this ring until now. Nothing may be about to change any more: when the last
        reconciliations are still under way, it is asked again."""
        verdict = None

        def decided():
            nonlocal verdict
            verdict = self._judged()
            return not {"J4", "J5"} & set(verdict.rules())

        with contextlib.suppress(Failed):  # the caller sees what is wrong
            wait_until(decided, timeout, "all objects are reconciled", interval=0.5)
        return verdict

    def _judged(self):
        plane, ring = self.ring.env.plane, self.ring
        judge = Judge(ring.name, ["secrets"], ["configmaps"], namespaces=[ring.namespace], live=self.names(),
                      newest=True)
        judge.give_state(state_of(plane.admin, ring.namespace, RESOURCES))
        for shard in self._all():
            for journal in shard.journals:
                if journal.exists():  # else it was killed before it began
                    judge.read_journal(journal)
        judge.read_journal(self.folder / "test.jsonl")
        plane.flush_audit_log()  # what the journals tell of stands in there
        for log in plane.audit_logs():
            judge.read_audit(log)
        return judge.verdict()

    # -- parts

    def _all(self):
        with self._lock:
            return list(self._shards.values())

    def _make(self, name, python):
        shared = ["--controllerring", self.ring.name, "--namespace", self.ring.namespace, "--shard-name", name,
                  "--lease-namespace", self.ring.namespace]
        if python:
            assert self.lease_seconds == LEASE_SECONDS, "the Python shard has a Lease of 15 s"
            command = [python_shard.interpreter(), python_shard.SHARD, *shared,
                       "--reconcile-seconds", self.reconcile_milliseconds / 1000]
        else:
            health, metrics = free_ports(2)
            command = [controller(), *shared, "--lease-seconds", self.lease_seconds,
                       "--reconcile-milliseconds", self.reconcile_milliseconds,
                       "--health-bind-address", f"127.0.0.1:{health}", "--metrics-bind-address", f"127.0.0.1:{metrics}"]
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment["KUBECONFIG"] = str(self._kubeconfig)
        return _Shard(name, [str(part) for part in command], environment, self.folder)

    def _tend(self):
        """The kubelet: what has ended by itself is started anew."""
        while not self._stop.wait(0.05):
            for shard in self._all():
                if not shard.lock.acquire(blocking=False):
                    continue  # somebody starts or ends it
                try:
                    if shard.runs and not shard.process.alive():
                        self.ends[shard.process.wait(1)] += 1
                        shard.note(self.notes, "exited")
                        shard.start()
                finally:
                    shard.lock.release()


def checksums(secret):
    """The data of the ConfigMap that belongs to a Secret."""
    return {key: hashlib.sha256(base64.b64decode(value)).hexdigest() for key, value in secret.get("data", {}).items()}


def data(text):
    """The data of a Secret with one value."""
    return {"value": base64.b64encode(text.encode()).decode()}
