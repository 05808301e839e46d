"""What the files of this folder share: the cluster, one installation of the sharder at a time, rings, traffic."""

import http.client
import threading
import time

from kind_cluster import Kind  # first: it finds the modules of tests/e2e
from installation import Installation, install_cert_manager

import oracle
from cluster import SYSTEM_NAMESPACE
from environment import Rings
from kubeclient import ApiError, Recorder
from shards import parse_time

RATE = 30  # creations a second


class Whole(Rings):
    """The cluster that run.py has made, with what `install(env)` puts there; nothing of it is left afterwards.

    Leaving it fails when the permissions of manifests/ were not enough. `restricted`: sharding-system enforces that Pod
    Security level. `certificates`: cert-manager is there.
    """

    def __init__(self, short, install=None, restricted=True, certificates=False):
        """Without `install` the cases install and remove, and call check_permissions() in between."""
        super().__init__(Kind(), short)
        self._install, self._restricted, self._certificates = install, restricted, certificates
        self.installation = None
        self._installed = None  # when

    def __enter__(self):
        self.plane.attach()
        self.installation = Installation(self.plane)
        self.installation.remove_everything()
        if self._certificates:
            install_cert_manager(self.plane)
        self.namespace(SYSTEM_NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"} if self._restricted else {})
        if self._install:
            self._install(self)
            self._installed = time.time()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self._installed:
                self.check_permissions(self._installed)
        except BaseException:
            self.keep_logs = True
            raise
        finally:
            if self.keep_logs or kind is not None:
                self.plane.save_logs()
            self.installation.remove_everything()

    def check_permissions(self, since):
        """The API server has refused the sharder nothing since then: a time at which all of its roles were there."""
        forbidden = sorted({(verb, resource) for verb, resource, code, _ in self.plane.sharder_requests(since) if code == 403})
        assert not forbidden, f"the permissions of manifests/ were not enough: {forbidden}"

    def traffic(self, ring, rate=RATE):
        return Traffic(self, ring, rate)


class Traffic:
    """A user who creates Secrets in a ring's namespace, `rate` a second, while something happens.

        with env.traffic(ring) as traffic:
            env.installation.restart()
        traffic.check()
    """

    def __init__(self, env, ring, rate):
        self._env, self._ring, self._rate = env, ring, rate
        self._prefix = f"t{time.monotonic_ns()}"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self.latencies, self.failures = [], []
        self.began = time.time()
        self._fail_open = self._failed_open()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        time.sleep(1)  # the last change has to be seen by creations, too
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def check(self, shards_change=False):
        """No creation failed, and the webhook changed each. What the API server counted agrees. Unless shards have come
        or gone meanwhile, the sharder has patched none afterwards."""
        created, missed = self.missed()
        patched = [patch for patch in self._env.plane.sharder_patches(self._ring.namespace, self.began)
                   if patch.name.startswith(self._prefix)]
        assert not missed, f"{len(missed)} of {created} without the webhook: {missed[:3]}"
        assert shards_change or not patched, f"{len(patched)} of {created} were patched by the sharder: {patched[:3]}"
        assert self._failed_open() == self._fail_open, "apiserver_admission_webhook_fail_open_count grew"

    def missed(self):
        """(how many were created, the names of those that the webhook did not change); no creation failed."""
        assert not self.failures, f"{len(self.failures)} requests failed: {self.failures[0]}"
        created = len(self.latencies)
        audited = self._env.plane.creations("secrets", self._ring.namespace, self.began)
        mine = {name: changed for name, changed in audited.items() if name.startswith(self._prefix)}
        assert len(mine) == created, (len(mine), created)
        return created, [name for name, changed in mine.items() if f"controllerring-{self._ring.name}" not in changed]

    def summary(self):
        ordered = sorted(self.latencies)
        return (f"{len(ordered)} creations, median {ordered[len(ordered) // 2] * 1000:.1f} ms, "
                f"p99 {ordered[int(len(ordered) * 0.99)] * 1000:.1f} ms")

    def _failed_open(self):
        """apiserver_admission_webhook_fail_open_count of all webhooks."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self._env.admin.text("/metrics").splitlines()
                   if line.startswith("apiserver_admission_webhook_fail_open_count{"))

    def _run(self):
        client = self._env.admin.with_timeout(20)
        while not self._stop.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            due = self.began + number / self._rate
            if self._stop.wait(max(0, due - time.time())):
                return
            began = time.monotonic()
            try:
                client.create("secrets", self._ring.namespace, {"metadata": {"name": f"{self._prefix}-{number}"}})
            except (OSError, http.client.HTTPException, ApiError) as error:
                self.failures.append(repr(error))
            else:
                self.latencies.append(time.monotonic() - began)


class Handovers:
    """Watches a ring's Secrets and its Leases: an object may change from one shard to another only when the old one has
    acknowledged a drain, or does not hold its Lease."""

    def __init__(self, env, ring, namespace):
        self._ring = ring
        self._objects = Recorder(env.admin, "secrets", ring.namespace)
        self._leases = Recorder(env.admin, "leases", namespace)

    def __enter__(self):
        self._leases.__enter__()
        self._objects.__enter__()
        return self

    def __exit__(self, *exception):
        self._objects.__exit__(*exception)
        self._leases.__exit__(*exception)

    def versions(self):
        """(resource, name, object or None) of each Secret and Lease, in the order in which they were stored."""
        stored = {}
        for resource, recorder in (("leases", self._leases), ("secrets", self._objects)):
            for _, kind, item in recorder.history:
                stored[int(item["metadata"]["resourceVersion"])] = (
                    resource, item["metadata"]["name"], None if kind == "DELETED" else item)
        return [stored[version] for version in sorted(stored)]

    def check(self):
        """[(object, shard, next shard)] of the changes from shard to shard."""
        leases, last, changes = {}, {}, []
        for seen, kind, lease in self._leases.history:
            leases.setdefault(lease["metadata"]["name"], []).append(
                (int(lease["metadata"]["resourceVersion"]), seen, kind, lease))
        for seen, kind, item in self._objects.history:
            name, shard = item["metadata"]["name"], oracle.shard_of(item, self._ring.name)
            old = last.get(name)
            if kind == "DELETED":
                last.pop(name, None)
                continue
            last[name] = item
            before = old and oracle.shard_of(old, self._ring.name)
            if not before or before == shard:
                continue
            changes.append((name, before, shard))
            drained = self._ring.drain_label in old["metadata"]["labels"]
            version = int(item["metadata"]["resourceVersion"])
            earlier = [entry for entry in leases.get(before, []) if entry[0] < version]
            assert drained or not earlier or not _holds(earlier[-1], before, seen), (
                f"{name} went from {before} to {shard}, which held its Lease: {earlier[-1][3]['spec']}")
        return changes


def _holds(entry, shard, now):
    _, _, kind, lease = entry
    spec = lease["spec"]
    return (kind != "DELETED" and spec.get("holderIdentity") == shard and
            parse_time(spec["renewTime"]) + spec["leaseDurationSeconds"] > now)
