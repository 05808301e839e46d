#!/usr/bin/env python3
"""A shard in Python: keeps, for each Secret of the ring, a ConfigMap `checksums-NAME` with the SHA-256 of its values.

    shard.py --controllerring checksums --namespace demo --lease-namespace demo --shard-name shard-0

Written to be read beside docs/other-languages.md, which has the rules and their ids. The parts:

    Lease     holds the shard's Lease: acquired, renewed, released
    Watched   knows the newest state of each object with our shard label
    Shard     reconciles these objects, and lets go of those that drain

The program ends with 0 after SIGTERM, and with 1 as soon as its Lease is not valid any more.
"""

import argparse
import base64
import datetime
import hashlib
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time

import urllib3
from kubernetes import client, config
from kubernetes.dynamic import DynamicClient

# The Lease is valid for RENEW_DEADLINE after each renewal; others wait for LEASE_DURATION before they take it.
LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD = 15, 10, 2  # seconds
REQUEST_TIMEOUT = 5
WATCH_SECONDS = 60
WATCH_TRUST = 90  # a server that knows our position sends a bookmark every minute
SHUTDOWN_GRACE = 25  # shorter than the pod's terminationGracePeriodSeconds
SIGNALS = {signal.SIGTERM, signal.SIGINT}

RING_LABEL = "alpha.sharding.timebertt.dev/controllerring"
STATE_LABEL = "alpha.sharding.timebertt.dev/state"  # the sharder writes it
AVAILABLE = ("ready", "expired", "uncertain")  # states of a shard that keeps its objects until it lets go of them
NETWORK_ERRORS = (client.ApiException, urllib3.exceptions.HTTPError, OSError)

log = logging.getLogger("shard")


def steady():
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def key_of(item):
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def version_of(item):
    return int(item["metadata"]["resourceVersion"])


def controller_of(item):
    """The ownerReference of the object's controller, or {}."""
    references = item["metadata"].get("ownerReferences", [])
    return next((reference for reference in references if reference.get("controller")), {})


class ShardError(Exception):
    """An error of this program: its text has no contents of objects and no credentials."""


class LeaseLost(ShardError):
    """Nothing may be written any more."""


def reason(error):
    """What to log of an error. The texts of libraries may quote what they have read: a Secret, a token."""
    if isinstance(error, ShardError):
        return str(error)
    return f"{type(error).__name__} {getattr(error, 'status', '')}".strip()


def load_kubeconfig():
    try:
        config.load_kube_config()
    except Exception as error:  # pylint: disable=broad-exception-caught  # of a parser, too
        raise SystemExit(f"no usable kubeconfig: {reason(error)}") from None


class Api:
    """The API server, by paths and plain objects. The official client finds it, authenticates and keeps connections."""

    def __init__(self, user_agent):
        try:
            config.load_incluster_config()
        except config.ConfigException:
            load_kubeconfig()
        settings = client.Configuration.get_default_copy()
        settings.retries = False  # urllib3 would send a write again, perhaps when it may not be sent any more
        connection = client.ApiClient(settings)
        connection.user_agent = user_agent
        self._client = DynamicClient(connection, discoverer=lambda *_: None)  # nothing needs to be discovered

    def request(self, method, path, body=None, **query):
        answer = self._request(method, path, body, REQUEST_TIMEOUT, query)
        return json.loads(answer.data)

    def find(self, path):
        """The object, or None when there is none."""
        try:
            return self.request("GET", path)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise

    def watch(self, path, **query):
        """Yields the events until the server ends the stream."""
        timeout = (REQUEST_TIMEOUT, WATCH_SECONDS + 10)
        query.update(watch="true", allowWatchBookmarks="true", timeoutSeconds=WATCH_SECONDS)
        answer = self._request("GET", path, None, timeout, query)
        try:
            for line in answer:
                yield json.loads(line)
        finally:
            answer.close()

    def _request(self, method, path, body, timeout, query):
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return self._client.request(method, path, body, serialize=False, query_params=list(query.items()),
                                    header_params={}, content_type=content_type, _request_timeout=timeout)


class Journal:
    """Notes what the shard does, as shard/observer.h documents it; nothing without a file."""

    def __init__(self, file, shard):
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if file else None
        self._shard = shard

    def note(self, event, valid_until=None, **fields):
        times = {} if valid_until is None else {"validUntil": valid_until}
        times["time"] = time.time()
        if self._file is not None:
            line = json.dumps({"event": event, "shard": self._shard, **fields}, separators=(",", ":"))[:-1]
            line += "".join(f',"{name}":{value:.6f}' for name, value in times.items()) + "}\n"
            os.write(self._file, line.encode())


class Lease:
    """The shard's Lease. Its name, the shard's name and the holder identity are the same."""

    def __init__(self, api, ring, namespace, name, journal):
        self._api, self._ring, self._namespace, self.name = api, ring, namespace, name
        self._all = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._journal = journal
        self._valid_until = float("-inf")  # by steady()
        self._observed, self._observed_at = None, 0.0  # what another holder has written, and since when we know it
        self._anew = False  # there was no Lease, or a released one, or another's: our objects may be on the move
        self.begins_at = float("inf")  # by steady(): the objects that we list from then on stay ours
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.lost = threading.Event()

    def valid(self):
        return self.remaining() > 0

    def remaining(self):
        """How many seconds it is valid for; not more than 0 when it is not."""
        return self._valid_until - steady()

    def attempt(self):
        """Acquires or renews it. False: it is another's. An error of the network: nobody knows, so try again."""
        began = steady()
        lease = self._api.find(f"{self._all}/{self.name}")
        ours_before = self._valid_until != float("-inf")
        if lease is None:
            if ours_before:
                return False  # somebody has deleted it, so our objects are given to others
            labels = {RING_LABEL: self._ring}
            self._begin_anew(labels)
            self._api.request("POST", self._all, {
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": self.name, "namespace": self._namespace, "labels": labels},
                "spec": self._spec(acquired=True, transitions=0)})
        else:
            spec, labels = lease.setdefault("spec", {}), lease["metadata"].setdefault("labels", {})
            held = spec.get("holderIdentity", "") == self.name
            if not held and (ours_before or not self._may_take(spec)):
                return False
            if not held:
                self._begin_anew(labels)
            transitions = spec.get("leaseTransitions", 0) + (0 if held else 1)
            spec.update(self._spec(acquired=not ours_before, transitions=transitions))
            labels[RING_LABEL] = self._ring
            self._api.request("PUT", f"{self._all}/{self.name}", lease)  # with the resourceVersion that was read
        self._look_at_state(labels.get(STATE_LABEL), acquired=not ours_before)
        self._valid_until = began + RENEW_DEADLINE  # from before it was sent: nobody else begins to count earlier
        self._journal.note("lease", time.time() + self.remaining())
        return True

    def _begin_anew(self, labels):
        """The sharder moves our objects until it has seen that the Lease is held. Then it sets the state label anew."""
        self._anew = True
        labels.pop(STATE_LABEL, None)

    def _look_at_state(self, state, acquired):
        if acquired:
            self.begins_at = steady() + LEASE_DURATION  # if there is no sharder
        if state in AVAILABLE:
            nothing_moves = acquired and not self._anew
            # What the sharder has sent before takes no longer than RETRY_PERIOD to be carried out.
            self.begins_at = min(self.begins_at, steady() + (0 if nothing_moves else RETRY_PERIOD))

    def _may_take(self, spec):
        """Whether a Lease of another holder is free: released, or not renewed for its duration by our own clock."""
        if not spec.get("holderIdentity"):
            return True
        if spec != self._observed:
            self._observed, self._observed_at = json.loads(json.dumps(spec)), steady()
        return steady() >= self._observed_at + spec.get("leaseDurationSeconds", LEASE_DURATION)

    def _spec(self, acquired, transitions):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_DURATION, "renewTime": now,
                "leaseTransitions": transitions}
        return {**spec, "acquireTime": now} if acquired else spec

    def acquire(self):
        """Until it is ours, and is renewed from then on. False after a signal to end."""
        while True:
            try:
                if self.attempt():
                    self._thread.start()
                    return True
            except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is: try again
                log.warning("cannot acquire the lease error=%s", reason(error))
            if signal.sigtimedwait(SIGNALS, RETRY_PERIOD):
                return False

    def _keep(self):
        while not self._stop.wait(RETRY_PERIOD) and self.valid():
            try:
                if not self.attempt():
                    self.lose()
            except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is: try again
                log.warning("cannot renew the lease error=%s", reason(error))

    def lose(self):
        """It is not valid any more, from now on."""
        self._stop.set()
        if self.lost.is_set():
            return
        self._valid_until = min(self._valid_until, steady())
        self._journal.note("lease", time.time() + self.remaining())
        self.lost.set()

    def release(self):
        """Gives it back. When nothing of the shard's work is under way any more."""
        self._stop.set()
        self._thread.join()
        self.lose()
        try:
            lease = self._api.find(f"{self._all}/{self.name}")
            if lease is not None and lease["spec"].get("holderIdentity") == self.name:
                lease["spec"].update(self._spec(True, lease["spec"].get("leaseTransitions", 0)))
                lease["spec"].update(holderIdentity="", leaseDurationSeconds=1)
                self._api.request("PUT", f"{self._all}/{self.name}", lease)
        except Exception as error:  # pylint: disable=broad-exception-caught  # it ends in any case
            log.warning("cannot release the lease, it will expire error=%s", reason(error))


class Watched(threading.Thread):
    """The objects of one resource that have our shard label, each in the newest state that we know."""

    def __init__(self, api, path, label, shard, lock, on_change):
        """`on_change(key, before, now)` runs under `lock`; `now` is None when the object is not ours any more."""
        super().__init__(name=f"watch {path}", daemon=True)
        self._api, self._path, self._label, self._shard = api, path, label, shard
        self._lock, self._on_change = lock, on_change
        self._position = None  # up to which the watch has shown us everything; None: a list is needed
        self._reached = 0  # the newest position ever
        self._heard_at = 0.0  # by steady(): the last list, event or bookmark
        self._newest = {}  # key -> resourceVersion of the newest state that we know, also of objects that we have left
        self.objects = {}  # key -> object

    def run(self):
        failures = 0
        while True:
            try:
                if self._position is None or steady() > self._heard_at + WATCH_TRUST:
                    self._list()
                self._watch()
                failures = 0
            except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is: try again
                # The server does not know our position any more, or has said something that we do not understand.
                if not isinstance(error, NETWORK_ERRORS) or getattr(error, "status", None) == 410:
                    self._position = None
                failures += 1
                log.warning("watch ended path=%s error=%s", self._path, reason(error))
                time.sleep(random.uniform(0.5, 1) * min(60, 0.1 * 2 ** failures))

    def take(self, item, ours=None):
        """A state of an object. One that is not newer than what we know is ignored: after we have let go of an object,
        the watch may still show what was before."""
        key, version = key_of(item), version_of(item)
        with self._lock:
            if not self.is_news(key, version):
                return
            self._newest[key] = version
            if ours is None:
                ours = item["metadata"].get("labels", {}).get(self._label) == self._shard
            before = self.objects.pop(key, None)
            if ours:
                self.objects[key] = item
            self._on_change(key, before, self.objects.get(key))

    def is_news(self, key, version):
        return version > self._newest.get(key, 0)

    def forget(self, key):
        """The object is not there any more, says an answer of the server."""
        with self._lock:
            self._on_change(key, self.objects.pop(key, None), None)

    def _list(self):
        began = steady()
        listed = self._api.request("GET", self._path, labelSelector=f"{self._label}={self._shard}")
        position = listed["metadata"]["resourceVersion"]
        self._position = None  # until all of it is taken
        with self._lock:
            if int(position) < self._reached:  # the server's data is an older copy: what we know says nothing
                self._newest.clear()
        self._reached = int(position)
        for item in listed["items"]:
            self.take(item)
        listed_keys = {key_of(item) for item in listed["items"]}
        with self._lock:
            for key in self.objects.keys() - listed_keys:
                if self._newest.get(key, 0) <= int(position):
                    self.forget(key)
        self._position, self._heard_at = position, began
        self._prune()

    def _watch(self):
        for event in self._api.watch(self._path, labelSelector=f"{self._label}={self._shard}",
                                     resourceVersion=self._position):
            item = event["object"]
            if event["type"] == "ERROR":
                raise client.ApiException(status=item.get("code"), reason=item.get("message"))
            if event["type"] != "DELETED" and version_of(item) < int(self._position):
                raise client.ApiException(status=410, reason="the server's versions go backwards")
            self._position = item["metadata"]["resourceVersion"]
            self._reached = max(self._reached, int(self._position))
            self._heard_at = steady()
            if event["type"] == "BOOKMARK":
                self._prune()
            else:
                self.take(item, ours=False if event["type"] == "DELETED" else None)

    def _prune(self):
        """Objects that we have left need not be remembered once the watch has passed their last state."""
        with self._lock:
            self._newest = {key: version for key, version in self._newest.items()
                            if key in self.objects or version > int(self._position)}


class Shard:
    """Reconciles the Secrets that have our shard label and no drain label, and lets go of those that have both."""

    lease_type, watched_type = Lease, Watched

    def __init__(self, options):
        self.options, self.name = options, options.shard_name
        self.label = f"shard.alpha.sharding.timebertt.dev/{options.controllerring}"
        self.drain_label = f"drain.alpha.sharding.timebertt.dev/{options.controllerring}"
        self.api = Api(f"python-shard/{self.name}")  # an audit log tells by it which shard has asked
        self.journal = Journal(options.journal, self.name)
        self.lease = self.lease_type(self.api, options.controllerring, options.lease_namespace, self.name, self.journal)
        self._changed = threading.Condition(threading.RLock())
        self._queue = {}  # keys of objects whose turn comes, in order
        self._running = set()  # keys of objects that a thread works on
        self._failures = {}  # key -> failures in a row
        self._runs = 0
        self._stopping = False
        self.secrets = self._watched("secrets", self._secret_changed)
        self.config_maps = self._watched("configmaps", self._config_map_changed)

    def run(self):
        """Works until SIGTERM or until the Lease is lost. The exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if not self.lease.acquire():
            return 0
        begun = False
        while self.lease.valid():
            if not begun and steady() >= self.lease.begins_at:
                begun = True
                self._begin()
            if signal.sigtimedwait(SIGNALS, min(0.1, max(0, self.lease.remaining()))):
                return self._stop()
        self.lease.lose()
        log.error("the lease is lost")
        self._wait_idle(LEASE_DURATION - RENEW_DEADLINE)  # nothing is written any more; what waits is woken up
        return 1

    def _begin(self):
        log.info("works as a shard ring=%s shard=%s", self.options.controllerring, self.name)
        self.secrets.start()
        self.config_maps.start()
        for draining in [False] * self.options.workers + [True]:
            threading.Thread(target=self._work, args=[draining], daemon=True).start()

    def _stop(self):
        if not self._wait_idle(SHUTDOWN_GRACE):
            log.error("a reconciliation does not end, so the lease is not released")
            return 1
        self.lease.release()
        return 0

    # -- what a reconciliation is

    def reconcile(self, secret):
        """Brings the ConfigMap to what the Secret says."""
        metadata = secret["metadata"]
        if "deletionTimestamp" in metadata:
            return
        all_path = f"/api/v1/namespaces/{metadata['namespace']}/configmaps"
        name = f"checksums-{metadata['name']}"
        current = self.api.find(f"{all_path}/{name}")
        data = {key: hashlib.sha256(base64.b64decode(value)).hexdigest()
                for key, value in secret.get("data", {}).items()}
        self.lease.lost.wait(self.options.reconcile_seconds)
        if current is None:
            owner = {"apiVersion": "v1", "kind": "Secret", "name": metadata["name"], "uid": metadata["uid"],
                     "controller": True, "blockOwnerDeletion": True}
            self.write("POST", all_path, {
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": name, "namespace": metadata["namespace"], "ownerReferences": [owner]}})
        elif controller_of(current).get("uid") != metadata["uid"]:
            raise ShardError(f"ConfigMap {name} belongs to somebody else")
        elif current.get("data", {}) != data:
            self.write("PUT", f"{all_path}/{name}", {**current, "data": data})  # with its resourceVersion

    def write(self, method, path, body):
        """Every write goes out here, and none without a valid Lease."""
        if not self.lease.valid():
            raise LeaseLost(f"{method} {path} is not sent")
        return self.api.request(method, path, body)

    # -- letting go

    def acknowledge(self, secret):
        """Gives the object to the shard that the drain label names, or to whom the webhook chooses: one patch, of the
        state in which we have seen the drain label."""
        namespace, name = key_of(secret)
        target = secret["metadata"]["labels"][self.drain_label]
        labels = {self.drain_label: None, self.label: None if target in ("", "true") else target}
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        try:
            self.secrets.take(self.write("PATCH", path, {"metadata": {
                "resourceVersion": secret["metadata"]["resourceVersion"], "labels": labels}}))
        except client.ApiException as error:
            if error.status not in (404, 409):
                raise
            fresh = self.api.find(path)
            if fresh is None:
                self.secrets.forget(key_of(secret))
                return
            self.secrets.take(fresh)
            raise  # what the fresh state asks for is done after a pause

    def drains(self, secret):
        return self.drain_label in secret["metadata"].get("labels", {})

    # -- whose turn it is

    def _secret_changed(self, key, _before, now):
        if now is None:
            self._queue.pop(key, None)
            self._failures.pop(key, None)
        else:
            self._enqueue(key)

    def _config_map_changed(self, key, before, now):
        owner = controller_of(now or before or {"metadata": {}})
        if owner.get("kind") == "Secret":
            self._enqueue((key[0], owner["name"]))

    def _enqueue(self, key):
        with self._changed:
            if key in self.secrets.objects:
                self._queue[key] = True
                self._changed.notify_all()

    def _next(self, draining):
        """Waits for an object that no thread works on and that drains, or does not; it is the caller's then."""
        with self._changed:
            while True:
                if not self._stopping and self.lease.valid():
                    for key in self._queue:
                        if key not in self._running and self.drains(self.secrets.objects[key]) == draining:
                            del self._queue[key]
                            self._running.add(key)
                            return key, self.secrets.objects[key]
                self._changed.wait()

    def _work(self, draining):
        while True:
            key, secret = self._next(draining)
            try:
                self.acknowledge(secret) if draining else self._reconcile(secret)
                self._failures.pop(key, None)
            except Exception as error:  # pylint: disable=broad-exception-caught  # whatever it is: try again
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                log.warning("failed object=%s/%s failures=%d error=%s", *key, failures, reason(error))
                again = threading.Timer(min(30, 0.01 * 2 ** failures), self._enqueue, [key])
                again.daemon = True
                again.start()
            with self._changed:
                self._running.remove(key)
                self._changed.notify_all()

    def _reconcile(self, secret):
        with self._changed:
            self._runs += 1
            run = self._runs
        namespace, name = key_of(secret)
        self.journal.note("begin", id=run, resource="secrets", namespace=namespace, name=name,
                          resourceVersion=secret["metadata"]["resourceVersion"])
        try:
            self.reconcile(secret)
        finally:
            self.journal.note("end", id=run)

    def _wait_idle(self, seconds):
        """Nothing begins any more. Whether all that runs has ended within that time."""
        with self._changed:
            self._stopping = True
            return self._changed.wait_for(lambda: not self._running, seconds)

    def _watched(self, resource, on_change):
        namespace = f"namespaces/{self.options.namespace}/" if self.options.namespace else ""
        return self.watched_type(self.api, f"/api/v1/{namespace}{resource}", self.label, self.name, self._changed,
                                 on_change)


def options(arguments=None):
    parser = argparse.ArgumentParser(description="A shard of a ring that makes checksums of Secrets.")
    parser.add_argument("--controllerring", default="checksum-controller", help="the ring")
    parser.add_argument("--namespace", default="", help="of the Secrets; none: all namespaces")
    parser.add_argument("--lease-namespace", default="default", help="where the shard's Lease is")
    parser.add_argument("--shard-name", default=socket.gethostname(), help="also its Lease's; the host's name")
    parser.add_argument("--workers", type=int, default=5, help="reconciliations at the same time")
    parser.add_argument("--journal", help="a file that notes what this shard does")
    parser.add_argument("--reconcile-seconds", type=float, default=0, help="how long a reconciliation lasts, for tests")
    return parser.parse_args(arguments)


def main(kind=Shard):
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    code = kind(options()).run()
    sys.stderr.flush()
    os._exit(code)  # without waiting for threads: what they still do may not be waited for


if __name__ == "__main__":
    main()
