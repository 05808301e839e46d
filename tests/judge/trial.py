"""The life of a ring with shards of one kind: they join, freeze, lose their Lease, are killed, leave, and their watches
break, while objects change all the time. Then the judge is asked.

Shards are processes of broken_shards.py. One that ends by itself is started anew, as the kubelet does it.
"""

import base64
import contextlib
import itertools
import os
import time
from pathlib import Path

import oracle
import python_shard
from journal import Notes
from judge import Judge, state_of
from kubeclient import path_of
from processes import Failed, Process, wait_until

RING = NAMESPACE = "trial"
RESOURCES = ("secrets", "configmaps")
LEASE_SECONDS = 4  # so that a frozen shard's objects move soon: after twice that
PROGRAM = Path(__file__).resolve().parent / "broken_shards.py"


class Shard:
    """One shard, in one process after the other, each with a journal of its own."""

    def __init__(self, trial, name, command):
        self.name, self.journals = name, []
        self._trial, self._command = trial, command
        self.process = None
        self._runs = False

    def start(self):
        journal = self._trial.folder / f"{self.name}-{len(self.journals) + 1}.jsonl"
        self.journals.append(journal)
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        self.process = Process(self.name, [*self._command, "--shard-name", self.name, "--journal", journal],
                               self._trial.folder / f"{self.name}.log",
                               {**environment, "KUBECONFIG": str(self._trial.kubeconfig)})
        self.process.start()
        self._runs = True

    def tend(self):
        """Starts it anew when it has ended by itself."""
        if self._runs and not self.process.alive():
            self._trial.notes.note("exited", self.name, self.journals[-1])
            self.start()

    def kill(self):
        self._runs = False
        self.process.kill()
        self._trial.notes.note("killed", self.name, self.journals[-1])

    def leave(self, timeout=40):
        """SIGTERM, until it has ended."""
        self._runs = False
        self.process.stop(timeout)
        self._trial.notes.note("exited", self.name, self.journals[-1])

    def freeze(self):
        self._trial.notes.note("frozen", self.name, self.journals[-1])
        self.process.pause()

    def thaw(self):
        self._trial.notes.note("thawed", self.name, self.journals[-1])
        self.process.resume()


class Trial:
    """One run on a cluster that is there already, with the sharder and its manifests. `patient`: each step is waited
    for until it has succeeded, else an error; without it the run goes on after some seconds, as broken shards need it.
    """

    def __init__(self, cluster, kind, patient, objects=24, reconcile_seconds=0.3):
        self.cluster, self.client, self.kubeconfig = cluster, cluster.admin, cluster.kubeconfig
        self.folder = cluster.folder / "trial"
        self.folder.mkdir()
        self.notes = Notes(self.folder / "test.jsonl")
        self._patient = patient
        self._objects = objects
        self._changes = itertools.count()
        command = [python_shard.interpreter(), PROGRAM, "--break", kind, "--lease-seconds", LEASE_SECONDS,
                   "--controllerring", RING, "--namespace", NAMESPACE, "--lease-namespace", NAMESPACE,
                   "--reconcile-seconds", reconcile_seconds]
        self.shards = {name: Shard(self, name, command) for name in ("shard-a", "shard-b", "shard-c")}

    # -- the steps

    def prepare(self):
        """Namespace, ring, two shards, objects."""
        self.client.create("namespaces", None, {"metadata": {"name": NAMESPACE}})
        self.client.create("controllerrings", None, {
            "apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": RING},
            "spec": {"resources": [{"group": "", "resource": "secrets", "controlledResources": [
                {"group": "", "resource": "configmaps"}]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}})
        for name in ("shard-a", "shard-b"):
            self.shards[name].start()
        self._until(lambda: oracle.shard_of(self.client.create(
            "secrets", NAMESPACE, {"metadata": {"name": "dry-run"}}, dryRun="All"), RING), "the webhook is called",
            needed=True, changes=0)
        for number in range(self._objects):
            self.client.create("secrets", NAMESPACE, {"metadata": {"name": f"s-{number}"}, "data": _data(number)})
        self._until(lambda: self._settled("shard-a", "shard-b"), "two shards have all objects")

    def join(self):
        self.shards["shard-c"].start()
        self._until(lambda: self._settled(*self.shards), "three shards have all objects")

    def freeze(self, name="shard-b"):
        """Until its objects are others'; then it goes on."""
        self.shards[name].freeze()
        self._until(lambda: not self._of(name), f"the objects of {name} are moved")
        self.shards[name].thaw()
        self._until(lambda: self._settled(*self.shards), "three shards have all objects after a freeze")

    def cut_off(self, name="shard-c"):
        """Its Lease cannot be read or written, while all else works. Needs the embedded API server."""
        path = path_of("leases", NAMESPACE, name)
        self.notes.note("lease unreachable", name)
        with self._fault(fault="error", status=500, path=path, userAgent="python-shard"):
            self._until(lambda: not self._of(name), f"the objects of {name} are moved")
        self._until(lambda: self._settled(*self.shards), "three shards have all objects after an outage of one")

    def kill(self, name="shard-a"):
        self.shards[name].kill()
        self._until(lambda: not self._of(name), f"the objects of {name} are moved")
        self.shards[name].start()
        self._until(lambda: self._settled(*self.shards), "three shards have all objects after a crash")

    def leave(self, name="shard-b"):
        """In order, while it works."""
        for _ in range(self._objects):
            self._change()
        self.shards[name].leave()
        self._until(lambda: not self._of(name), f"the objects of {name} are moved")
        self.shards[name].start()
        self._until(lambda: self._settled(*self.shards), "three shards have all objects after one has left")

    def break_watches(self):
        """All watches of the shards end, and cannot be opened until all objects have changed. Needs the embedded API
        server."""
        self.notes.note("watches broken")
        with self._fault(fault="error", status=503, verb="watch", userAgent="python-shard"):
            self.client.request("POST", "/-/faults", {"fault": "cutWatches", "userAgent": "python-shard"})
            for _ in range(self._objects):
                self._change()

    def verdict_now(self):
        """On what has happened so far. J4 and J5 mean nothing as long as objects change and move."""
        judge = Judge(RING, ["secrets"], ["configmaps"], namespaces=[NAMESPACE], newest=True, until=time.time())
        judge.give_state(state_of(self.client, NAMESPACE, RESOURCES))
        judge.read_audit(self.cluster.audit_log)
        for shard in self.shards.values():
            for journal in shard.journals:
                if journal.exists():
                    judge.read_journal(journal)
        judge.read_journal(self.folder / "test.jsonl")
        return judge.verdict()

    def verdict(self):
        """As soon as all objects are reconciled in their newest state; of broken shards, after some seconds."""
        verdict = None

        def decided():
            nonlocal verdict
            verdict = self.verdict_now()
            return not {"J4", "J5"} & set(verdict.rules())

        self._until(decided, "all objects are reconciled", changes=0)
        return verdict

    def stop(self):
        for shard in self.shards.values():
            if shard.process is not None:
                shard.process.kill()
        self.notes.close()

    # -- parts

    def _until(self, condition, what, needed=False, changes=2):
        """Objects change while it waits. Without patience, what does not come in time is not waited for any longer."""
        def tended():
            for shard in self.shards.values():
                shard.tend()
            for _ in range(changes):
                self._change()
            return condition()

        try:
            wait_until(tended, 60 if self._patient or needed else 3 * LEASE_SECONDS, what, interval=0.1)
        except Failed:
            if self._patient or needed:
                raise

    def _change(self):
        number = next(self._changes)
        self.client.patch("secrets", NAMESPACE, f"s-{number % self._objects}", {"data": _data(number)})

    def _items(self):
        return [item for resource in RESOURCES for item in self.client.list(resource, NAMESPACE)]

    def _of(self, name):
        return [item for item in self._items() if oracle.shard_of(item, RING) == name]

    def _settled(self, *names):
        owners = oracle.Ring(names)
        return not oracle.wrong_owners(self.client.list("secrets", NAMESPACE), RING, owners, "", "Secret") and not any(
            oracle.drain_label(RING) in item["metadata"].get("labels", {}) for item in self._items())

    @contextlib.contextmanager
    def _fault(self, **fault):
        made, = self.client.request("POST", "/-/faults", fault)["ids"]
        try:
            yield
        finally:
            self.client.request("DELETE", f"/-/faults/{made}")


def _data(number):
    return {"value": base64.b64encode(f"{number} {time.time_ns()}".encode()).decode()}
