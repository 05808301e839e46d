"""Real shards: processes of examples/checksum-controller, each with a Lease of its own."""

import http.client
import os
import threading
import time

from cluster import ROOT
from kubeclient import Recorder
from oracle import drain_label, shard_of
from processes import Failed, Process, free_ports
from sharder import metric

ACKNOWLEDGED = "controller_sharding_shard_acknowledged_drains_total"
RECONCILED = "controller_runtime_reconcile_total"
SCRAPE_TIMEOUT = 1


def binary():
    path = ROOT / "build" / "bin" / "checksum-controller"
    if not path.is_file():
        raise Failed(f"no {path}: `cmake --build --preset release --target checksum-controller` makes it")
    return path


class Shard:
    """One name of the ring, and the process that has it now."""

    def __init__(self, process, port):
        self.process, self.port = process, port
        self.paused = False
        self.wanted = True  # to run
        self.drains = 0  # acknowledged by this process
        self.earlier_drains = 0  # by those before it
        self.speed = None  # reconciliations a second; None: not known
        self._last = None  # (when, reconciliations)
        self._turn = threading.Lock()

    def scrape(self):
        """Asks the process for its figures."""
        with self._turn:
            self._scrape()

    def _scrape(self):
        if self.paused or not self.process.alive():
            self.speed, self._last = None, None
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SCRAPE_TIMEOUT)
        try:
            connection.request("GET", "/metrics")
            with connection.getresponse() as response:
                text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            self.speed, self._last = None, None  # it starts, ends or hangs
            return
        finally:
            connection.close()
        now, count = time.monotonic(), metric(text, RECONCILED) or 0
        self.drains = int(metric(text, ACKNOWLEDGED) or 0)
        if self._last is not None:
            self.speed = (count - self._last[1]) / (now - self._last[0])
        self._last = now, count

    def state(self):
        if not self.process.alive():
            return "ended"
        return "stopped" if self.paused else "running"


class RealShards:
    """The shards of one ring. Use as a context manager, or call stop() at the end."""

    def __init__(self, kubeconfig, ring, namespace, folder, lease_seconds, environment=None):
        """`namespace`: of their objects and Leases."""
        self._kubeconfig, self._ring, self._namespace = kubeconfig, ring, namespace
        self._folder, self.lease_seconds = folder, lease_seconds
        self._environment = environment or {}
        self._shards = {}
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """All are asked to end, and release their Leases."""
        for shard in self.all().values():
            shard.process.ask_to_stop()
        for shard in self.all().values():
            shard.process.stop(30)

    def all(self):
        """{name: Shard}, of all that were ever started."""
        with self._lock:
            return dict(sorted(self._shards.items()))

    def start(self, *names):
        """Each gets a process; under a name whose process has ended, a new one, as the kubelet would start it."""
        for name in names:
            before = self.all().get(name)
            port = free_ports(1)[0]
            environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
            process = Process(name, [
                binary(), "--controllerring", self._ring, "--namespace", self._namespace, "--shard-name", name,
                "--lease-namespace", self._namespace, "--lease-seconds", self.lease_seconds, "--kubeconfig",
                self._kubeconfig, "--metrics-bind-address", f"127.0.0.1:{port}", "--health-bind-address", "0"],
                self._folder / f"{name}.log", {**environment, **self._environment})
            shard = Shard(process, port)
            if before is not None:
                shard.earlier_drains = before.earlier_drains + before.drains
            process.start()
            with self._lock:
                self._shards[name] = shard

    def terminate(self, name):
        """SIGTERM: it lets its objects go. It has to end with 0."""
        shard = self.all()[name]
        shard.wanted = False
        shard.process.ask_to_stop()
        self._ended(name, shard.process.wait(30), 0)

    def crash(self, name):
        """SIGKILL."""
        shard = self.all()[name]
        shard.wanted = False
        shard.process.kill()

    def hang(self, name):
        """SIGSTOP."""
        shard = self.all()[name]
        shard.paused = True
        shard.process.pause()

    def go_on(self, name):
        """SIGCONT, after its Lease was taken over: the process notices that and has to end with 1."""
        shard = self.all()[name]
        shard.wanted = shard.paused = False
        shard.process.resume()
        self._ended(name, shard.process.wait(30), 1)

    def check(self):
        """Failed when a process ended that nobody asked to."""
        for name, shard in self.all().items():
            if shard.wanted and not shard.process.alive():
                raise Failed(f"{name} ended by itself\n{shard.process.log_end()}")

    def _ended(self, name, code, wanted):
        if code != wanted:
            raise Failed(f"{name} ended with {code}, not with {wanted}\n{self.all()[name].process.log_end()}")


class Placements(Recorder):
    """Where the objects of one resource are, as a watch shows them, and how they move."""

    def __init__(self, client, resource, namespace, ring, selected):
        """`selected`: which objects count."""
        super().__init__(client, resource, namespace)
        self._ring, self._selected = ring, selected
        self._changes = threading.Lock()
        self._shard_of = {}
        self._draining = set()
        self.mark()

    def mark(self):
        """Counts and times begin anew."""
        with self._changes:
            self.moved = self.acknowledged = 0
            self.first_move = self.last_move = None  # seconds since the epoch

    def now(self):
        """({name: shard or None}, names that drain)."""
        with self._changes:
            return dict(self._shard_of), set(self._draining)

    def _note(self, kind, item):
        if not self._selected(item):
            return
        name, shard = item["metadata"]["name"], shard_of(item, self._ring)
        with self._changes:
            drained = name in self._draining
            self._draining.discard(name)
            if kind == "DELETED":
                self._shard_of.pop(name, None)
                return
            before = self._shard_of.get(name)
            self._shard_of[name] = shard
            if drain_label(self._ring) in item["metadata"].get("labels", {}):
                self._draining.add(name)
            if before is not None and before != shard:
                self.moved += 1
                self.acknowledged += drained
                self.last_move = time.time()
                self.first_move = self.first_move or self.last_move
