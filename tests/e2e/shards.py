"""Simulated shards: they hold Leases as a sharded controller does (docs/protocol.md, section 3) and, if asked, watch
their objects and acknowledge drains (agent.py).

Leases are renewed as client-go's leader election would: PUT with the resourceVersion, a new holder only where the old one
has released or lost the Lease. No shard waits for another one's request. They work as soon as they hold their Lease, as
the Go project's shards do: the advice S3.12 is not for them.
"""

import collections
import concurrent.futures
import datetime
import http.client
import threading
import time
import traceback

import oracle
from kubeclient import ApiError

RING_LABEL = "alpha.sharding.timebertt.dev/controllerring"
STATE_LABEL = "alpha.sharding.timebertt.dev/state"
SHARDER_IDENTITY = "shardlease-controller"


def micro_time(seconds=None):
    """metav1.MicroTime: six decimals, UTC."""
    moment = datetime.datetime.fromtimestamp(time.time() if seconds is None else seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text):
    """Seconds since the epoch."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def lease(ring, name, holder=None, duration=15, acquired=None, transitions=0):
    """A Lease as a shard creates it."""
    now = micro_time(acquired)
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "labels": {RING_LABEL: ring}},
            "spec": {"holderIdentity": name if holder is None else holder, "leaseDurationSeconds": duration,
                     "acquireTime": now, "renewTime": now, "leaseTransitions": transitions}}


def labels_of_stopped(versions, ring, shard):
    """Objects that have the label of a shard when nobody or somebody else holds its Lease, a line each.

    `versions`: (resource, name, object) of all Secrets and Leases of the ring's namespace, in the order in which they were
    stored; None for an object that is deleted."""
    has, stopped, found, had = {}, True, [], 0
    for resource, name, item in versions:
        if resource == "secrets":
            has[name] = item and oracle.shard_of(item, ring)
            had += has[name] == shard
            if stopped and has[name] == shard:
                found.append(f"{name} gets it")
        elif name == shard:
            stopped = item is None or item["spec"].get("holderIdentity") != shard
            if stopped:
                found += [f"{other} has it still" for other, label in has.items() if label == shard]
    assert had and stopped, "objects had the label, and the shard was stopped"
    return found


class Shards:
    """The shards of one ring. Use as a context manager; all methods from any thread.

    `lost` names the shards that found another holder in a Lease that they held: nobody may take it from a living one.
    With an Agent, a shard works on its objects as long as it holds its Lease; entering the context starts it.
    """

    def __init__(self, client, ring, namespace, duration=15, renew_every=None, agent=None):
        self.ring, self.namespace, self.duration = ring, namespace, duration
        self.renew_every = renew_every if renew_every is not None else duration / 3
        # Of its own, and patient: what a paused API server has received it answers when it goes on.
        self._client = client.with_timeout(60)
        self._leases = {}  # name -> the Lease as we wrote it last; None: still to be acquired
        self._due = {}  # name -> when to act next, monotonic; None: it is acted for
        self._lock = threading.Lock()  # of both
        self._turns = collections.defaultdict(threading.RLock)  # name -> held by who acts for this shard
        self._pool = concurrent.futures.ThreadPoolExecutor(16, f"shard-of-{ring}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"shards-{ring}", daemon=True)
        self.agent = agent
        self.lost = []
        self.acquired = {}  # name -> when it last became the holder, seconds since the epoch

    def __enter__(self):
        if self.agent is not None:
            self.agent.start()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + 10
        for turn in list(self._turns.values()):
            if turn.acquire(timeout=max(0, deadline - time.monotonic())):
                turn.release()
        if self.agent is not None:
            self.agent.stop()

    def start(self, *names):
        """These shards come (back): each acquires its Lease as soon as it may."""
        with self._lock:
            for name in names:
                self._leases[name], self._due[name] = None, 0
        for name in names:
            self._act(name)

    def release(self, *names):
        """Graceful exit, as client-go does it: the controllers stop, then the Lease is released."""
        for name in names:
            with self._turn(name):
                self._quit(name, time.time())
                held = self._forget(name)
                while not self._release(held):
                    held = self.get(name)  # its labels changed since the last renewal
                    if held is None or held["spec"]["holderIdentity"] != name:
                        self.lost.append(name)
                        break

    def crash(self, *names):
        """They stop without a word."""
        for name in names:
            with self._turn(name):
                held = self._forget(name)
                renewed = parse_time(held["spec"]["renewTime"]) if held else 0
                self._quit(name, renewed + 2 * self.duration)  # then the sharder takes the Lease over

    def names(self):
        """The shards that hold their Lease, as far as they know."""
        with self._lock:
            return sorted(name for name, held in self._leases.items() if held)

    def get(self, name):
        """The Lease as the API server has it; None when it is gone."""
        return self._client.find("leases", self.namespace, name)

    # -- the threads

    def _run(self):
        while not self._stop.wait(0.05):
            with self._lock:
                due = [name for name, when in self._due.items() if when is not None and when <= time.monotonic()]
                self._due.update(dict.fromkeys(due))
            for name in due:
                self._pool.submit(self._act, name).add_done_callback(_show_error)

    def _turn(self, name):
        with self._lock:
            return self._turns[name]

    def _act(self, name):
        with self._turn(name):
            with self._lock:
                if name not in self._leases:
                    return
                held = self._leases[name]
            pause = 0.2  # after a failure: as soon as the API server is back
            try:
                if self._stop.is_set():
                    return
                held, pause = self._try_acquire(name) if held is None else self._renew(name, held)
            except (OSError, http.client.HTTPException, ApiError):
                pass
            finally:
                with self._lock:
                    self._leases[name], self._due[name] = held, time.monotonic() + pause

    def _forget(self, name):
        """The Lease that it held."""
        with self._lock:
            del self._due[name]
            return self._leases.pop(name)

    def _renew(self, name, held):
        """(the Lease as it is now, seconds until the next act)."""
        held["spec"]["renewTime"] = micro_time()
        try:
            return self._put(held), self.renew_every
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        current = self._client.find("leases", self.namespace, name)
        if current is not None and current["spec"].get("holderIdentity") == name:
            return current, 0  # only its labels changed; the renewal comes at once
        if current is not None:
            self.lost.append(name)
        self._quit(name, time.time())
        return None, 0  # lost or deleted: acquired anew

    def _try_acquire(self, name):
        """As _renew(); None while it may not be acquired."""
        current = self._client.find("leases", self.namespace, name)
        if current is None:
            held = self._client.create("leases", self.namespace, lease(self.ring, name, duration=self.duration),
                                       fieldManager="sim")
        else:
            spec = current["spec"]
            if not _may_acquire(spec, name):
                return None, 0.2
            now = micro_time()
            spec.update(holderIdentity=name, leaseDurationSeconds=self.duration, acquireTime=now, renewTime=now,
                        leaseTransitions=spec.get("leaseTransitions", 0) + 1)
            held = self._put(current)
        self.acquired[name] = time.time()
        if self.agent is not None:
            self.agent.run(name)
        return held, self.renew_every

    def _quit(self, name, may_move):
        if self.agent is not None:
            self.agent.quit(name, may_move)

    def _release(self, held):
        """False after a conflict."""
        now = micro_time()
        held["spec"].update(holderIdentity="", leaseDurationSeconds=1, renewTime=now, acquireTime=now)
        try:
            self._put(held)
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    def _put(self, body):
        return self._client.update("leases", self.namespace, body["metadata"]["name"], body, fieldManager="sim")


def _show_error(future):
    """What nobody expected is not kept silent: the shard goes on."""
    if not future.cancelled() and future.exception() is not None:
        traceback.print_exception(future.exception())


def _may_acquire(spec, name):
    """client-go's rule: one's own, released, or expired."""
    holder = spec.get("holderIdentity", "")
    if holder in ("", name) or "renewTime" not in spec:
        return True
    return parse_time(spec["renewTime"]) + spec.get("leaseDurationSeconds", 0) < time.time()


def state(item):
    """The state label of a Lease."""
    return item["metadata"].get("labels", {}).get(STATE_LABEL)
