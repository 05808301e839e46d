#!/usr/bin/env python3
"""Shards that break one rule each: `broken.py --break NAME ...`, else as examples/python-shard/shard.py.

BREAKS has, for each name, the rule that the kit must find broken.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python-shard"))

# pylint: disable=wrong-import-position
import shard
from kubernetes import client
from shard import Lease, Shard, Watched, controller_of, key_of

BREAKS = {}  # name -> (rule, Shard)


def breaks(rule):
    def add(kind):
        BREAKS[kind.__name__] = rule, kind
        return kind
    return add


def with_lease(**methods):
    return type("BrokenLease", (Lease,), methods)


def with_watched(**methods):
    return type("BrokenWatched", (Watched,), methods)


# -- the Lease


@breaks("S3.1")
class LeaseWithoutRingLabel(Shard):
    class lease_type(Lease):
        def __init__(self, api, ring, *others):
            super().__init__(api, f"not-{ring}", *others)


@breaks("S3.1")
class HolderOfAnotherName(Shard):
    class lease_type(Lease):
        def _spec(self, acquired, transitions):
            return {**super()._spec(acquired, transitions), "holderIdentity": "somebody"}


@breaks("S3.2")
class LeaseWithoutTransitions(Shard):
    class lease_type(Lease):
        def _spec(self, acquired, transitions):
            spec = super()._spec(acquired, transitions)
            del spec["leaseTransitions"]
            return spec


@breaks("S3.3")
class LeaseNeverRenewed(Shard):
    class lease_type(Lease):
        def attempt(self):
            if self._valid_until == float("-inf"):
                super().attempt()
            self._valid_until = shard.steady() + 10
            return True


@breaks("S3.3")
class AcquiresAtEachRenewal(Shard):
    lease_type = with_lease(_spec=lambda self, acquired, transitions: Lease._spec(self, True, transitions))


@breaks("S3.4")
class LeaseWithoutPrecondition(Shard):
    class lease_type(Lease):
        def __init__(self, api, *others):
            request = api.request

            def patch_instead(method, path, body=None, **query):
                if method == "PUT" and "/leases/" in path:
                    del body["metadata"]["resourceVersion"]
                    method = "PATCH"
                return request(method, path, body, **query)

            api.request = patch_instead
            super().__init__(api, *others)


@breaks("S3.5")
class TakesForeignLease(Shard):
    lease_type = with_lease(_may_take=lambda self, spec: True)


@breaks("S3.5")
class HangsWithoutLease(Shard):
    def run(self):
        super().run()
        if self.lease.lost.is_set():
            signal.sigwait(shard.SIGNALS)
        return 0


@breaks("S3.6")
class WorksWithoutRenewals(Shard):
    class lease_type(Lease):
        def remaining(self):
            return 10 if super().remaining() > float("-inf") and not self.lost.is_set() else super().remaining()


@breaks("S3.7")
class WorksWithForeignLease(Shard):
    class lease_type(Lease):
        def attempt(self):
            first = self._valid_until == float("-inf")
            held = super().attempt()
            if not held and not first:
                self._valid_until = shard.steady() + 10
            return held or not first


@breaks("S3.8")
class EndsAtOneFailure(Shard):
    class lease_type(Lease):
        def attempt(self):
            try:
                return super().attempt()
            except shard.NETWORK_ERRORS:
                self.lose()
                raise


@breaks("S3.8")
class WatchEndsForGood(Shard):
    class watched_type(Watched):
        def _watch(self):
            try:
                super()._watch()
            except shard.NETWORK_ERRORS:
                threading.Event().wait()


@breaks("S3.9")
class LeaseNotReleased(Shard):
    lease_type = with_lease(release=lambda self: None)


@breaks("S3.10")
class ReleasesBeforeTheEnd(Shard):
    def _stop(self):
        self.lease.release()
        self._wait_idle(shard.SHUTDOWN_GRACE)
        return 0


@breaks("S3.11")
class EndsWithOne(Shard):
    def _stop(self):
        return super()._stop() + 1


# -- objects


@breaks("S6.1")
class TakesUpWhatIsThereAlone(Shard):
    class watched_type(Watched):
        def _watch(self):
            if self._path.endswith("secrets"):
                threading.Event().wait()
            super()._watch()


@breaks("S6.2")
class WorksForOthers(Shard):
    class watched_type(Watched):
        def __init__(self, api, path, label, name, *others):
            super().__init__(api, path, label, name, *others)
            request, watch = api.request, api.watch
            api.request = lambda *given, **query: request(*given, **{k: v for k, v in query.items() if k != "labelSelector"})
            api.watch = lambda *given, **query: watch(*given, **{k: v for k, v in query.items() if k != "labelSelector"})

        def take(self, item, ours=None):
            super().take(item, True if ours is None else ours)


@breaks("S6.2")
class WorksOnAfterTheLabelWent(Shard):
    class watched_type(Watched):
        def take(self, item, ours=None):
            super().take(item, True if ours is False and "secrets" in self._path else ours)


@breaks("S6.2")
class MakesAgainForOthers(Shard):
    def _config_map_changed(self, key, before, now):
        owner = controller_of(now or before or {"metadata": {}})
        if now is None and owner.get("kind") == "Secret":
            secret = self.api.find(f"/api/v1/namespaces/{key[0]}/secrets/{owner['name']}")
            if secret is not None:
                threading.Thread(target=self.reconcile, args=[secret], daemon=True).start()
        super()._config_map_changed(key, before, now)


@breaks("S6.3")
class ReconcilesBeforeAcknowledging(Shard):
    def acknowledge(self, secret):
        self.reconcile(secret)
        super().acknowledge(secret)


@breaks("S6.4")
class IgnoresDrains(Shard):
    def drains(self, secret):
        return False


@breaks("S6.4")
class DrainsOnlyForTrue(Shard):
    def drains(self, secret):
        return secret["metadata"].get("labels", {}).get(self.drain_label) == "true"


@breaks("S6.5")
class AcknowledgesInTwoSteps(Shard):
    def acknowledge(self, secret):
        namespace, name = key_of(secret)
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        version = secret["metadata"]["resourceVersion"]
        for label in (self.drain_label, self.label):
            answer = self.write("PATCH", path, {"metadata": {"resourceVersion": version, "labels": {label: None}}})
            version = answer["metadata"]["resourceVersion"]
        self.secrets.take(answer)


@breaks("S6.5")
class LabelTrue(Shard):
    def acknowledge(self, secret):
        target = secret["metadata"]["labels"][self.drain_label]
        namespace, name = key_of(secret)
        self.secrets.take(self.write("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{name}", {"metadata": {
            "resourceVersion": secret["metadata"]["resourceVersion"],
            "labels": {self.drain_label: None, self.label: target or None}}}))


@breaks("S6.5")
class RemovesAllLabels(Shard):
    def acknowledge(self, secret):
        namespace, name = key_of(secret)
        self.secrets.take(self.write("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{name}", {"metadata": {
            "resourceVersion": secret["metadata"]["resourceVersion"],
            "labels": dict.fromkeys(secret["metadata"]["labels"])}}))


@breaks("S6.6")
class AcknowledgesWithoutPrecondition(Shard):
    def write(self, method, path, body):
        if method == "PATCH":
            del body["metadata"]["resourceVersion"]
        return super().write(method, path, body)


@breaks("S6.7")
class GivesUpAfterConflict(Shard):
    def acknowledge(self, secret):
        try:
            super().acknowledge(secret)
        except client.ApiException as error:
            if error.status != 409:
                raise
            with self._changed:
                self._queue.pop(key_of(secret), None)


@breaks("S6.7")
class ForcesAfterConflict(Shard):
    """Reads the version anew, and not what the object is like."""

    def acknowledge(self, secret):
        try:
            super().acknowledge(secret)
        except client.ApiException as error:
            fresh = self.api.find(f"/api/v1/namespaces/{key_of(secret)[0]}/secrets/{key_of(secret)[1]}")
            if error.status != 409 or fresh is None:
                raise
            version = fresh["metadata"]["resourceVersion"]
            self.acknowledge({**secret, "metadata": {**secret["metadata"], "resourceVersion": version}})


@breaks("S6.8")
class AcknowledgesAtOnce(Shard):
    def _secret_changed(self, key, before, now):
        if now is not None and self.drains(now) and key in self._running:
            threading.Thread(target=self.acknowledge, args=[now], daemon=True).start()
        super()._secret_changed(key, before, now)


@breaks("S6.9")
class GoesBackInTime(Shard):
    watched_type = with_watched(is_news=lambda self, key, version: True)


@breaks("S6.10")
class EndsWhenAnObjectIsGone(Shard):
    def acknowledge(self, secret):
        try:
            super().acknowledge(secret)
        finally:
            if self.api.find(f"/api/v1/namespaces/{key_of(secret)[0]}/secrets/{key_of(secret)[1]}") is None:
                os._exit(1)


@breaks("S6.10")
class WaitsForDeletion(Shard):
    def drains(self, secret):
        return super().drains(secret) and "deletionTimestamp" not in secret["metadata"]


@breaks("S6.11")
class ForgetsDrainsWhenBusy(Shard):
    """Has room for a hundred drains."""

    def _enqueue(self, key):
        with self._changed:
            if len(self._queue) < 100:
                super()._enqueue(key)


@breaks("S6.12")
class GoesOnAfter410(Shard):
    class watched_type(Watched):
        def _list(self):
            if not self.objects:
                super()._list()
            self._position = self._api.request("GET", self._path, limit=1)["metadata"]["resourceVersion"]


@breaks("S6.12")
class KeepsWhatIsNotListed(Shard):
    class watched_type(Watched):
        def forget(self, key):
            pass


@breaks("S6.13")
class IgnoresWhatItOwns(Shard):
    def _config_map_changed(self, key, before, now):
        pass


@breaks("S6.14")
class NeverTakesBack(Shard):
    def acknowledge(self, secret):
        super().acknowledge(secret)
        self.secrets._newest[key_of(secret)] = 1 << 62


def main():
    at = sys.argv.index("--break")
    name = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    shard.main(BREAKS[name][1])


_ = time
if __name__ == "__main__":
    main()
