#!/usr/bin/env python3
"""examples/python-shard/shard.py, broken in one place: `broken.py --break NAME`, and its own options. These show from
outside alone, tests/judge/broken_shards.py has more. BREAKS names the rule of the kit that finds each out.

    --list      prints all breaks, as JSON: {name: [what, rule]}
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python-shard"))

# pylint: disable=wrong-import-position
import shard
from kubernetes import client
from shard import Lease, Shard, Watched, controller_of, key_of

BREAKS = {}  # name -> (what it does wrong, the rule, Shard)


def breaks(rule, name, what):
    def add(kind):
        BREAKS[name] = what, rule, kind
        return kind
    return add


# -- the Lease


@breaks("S3.1", "lease-without-ring-label", "labels its Lease with another ring")
class LeaseWithoutRingLabel(Shard):
    class lease_type(Lease):
        def __init__(self, api, ring, *others):
            super().__init__(api, f"not-{ring}", *others)


@breaks("S3.1", "holder-of-another-name", "holds its Lease under another name")
class HolderOfAnotherName(Shard):
    class lease_type(Lease):
        def _spec(self, acquired, transitions):
            return {**super()._spec(acquired, transitions), "holderIdentity": "somebody"}


@breaks("S3.2", "lease-without-transitions", "leaves a field of its Lease out")
class LeaseWithoutTransitions(Shard):
    class lease_type(Lease):
        def _spec(self, acquired, transitions):
            spec = super()._spec(acquired, transitions)
            del spec["leaseTransitions"]
            return spec


@breaks("S3.3", "lease-never-renewed", "never renews its Lease")
class LeaseNeverRenewed(Shard):
    class lease_type(Lease):
        def attempt(self):
            if self._valid_until == float("-inf"):
                super().attempt()
            self._valid_until = shard.steady() + 10
            return True


@breaks("S3.3", "acquires-at-each-renewal", "writes acquireTime at each renewal")
class AcquiresAtEachRenewal(Shard):
    class lease_type(Lease):
        def _spec(self, acquired, transitions):
            return super()._spec(True, transitions)


@breaks("S3.5", "takes-foreign-lease", "acquires a Lease that another holds")
class TakesForeignLease(Shard):
    class lease_type(Lease):
        def _may_take(self, spec):
            return True


@breaks("S3.5", "hangs-without-lease", "neither ends nor acquires its Lease again when it was lost")
class HangsWithoutLease(Shard):
    def run(self):
        super().run()
        if self.lease.lost.is_set():
            signal.sigwait(shard.SIGNALS)
        return 0


@breaks("S3.7", "works-with-foreign-lease", "goes on when another holds its Lease")
class WorksWithForeignLease(Shard):
    class lease_type(Lease):
        def attempt(self):
            first = self._valid_until == float("-inf")
            held = super().attempt()
            if not held and not first:
                self._valid_until = shard.steady() + 10
            return held or not first


@breaks("S3.8", "ends-at-one-failure", "ends when one renewal fails")
class EndsAtOneFailure(Shard):
    class lease_type(Lease):
        def attempt(self):
            try:
                return super().attempt()
            except shard.NETWORK_ERRORS:
                self.lose()
                raise


@breaks("S3.8", "watch-ends-for-good", "does not watch again when a watch broke")
class WatchEndsForGood(Shard):
    class watched_type(Watched):
        def _watch(self):
            try:
                super()._watch()
            except shard.NETWORK_ERRORS:
                threading.Event().wait()


@breaks("S3.9", "lease-not-released", "does not release its Lease")
class LeaseNotReleased(Shard):
    class lease_type(Lease):
        def release(self):
            pass


@breaks("S3.11", "ends-with-one", "ends with code 1 after SIGTERM")
class EndsWithOne(Shard):
    def _stop(self):
        return super()._stop() + 1


@breaks("S3.12", "keeps-state-label", "trusts the state label of the tenure before")
class KeepsStateLabel(Shard):
    class lease_type(Lease):
        def _begin_anew(self, labels):
            pass


@breaks("S3.12", "trusts-a-new-lease", "works as soon as it has made its Lease")
class TrustsANewLease(Shard):
    class lease_type(Lease):
        def attempt(self):
            is_new = self._api.find(f"{self._all}/{self.name}") is None
            acquired = super().attempt()
            if is_new:
                self.begins_at = shard.steady()
            return acquired


@breaks("S3.12", "begins-before-the-label", "works before the sharder has seen that it is back")
class BeginsBeforeTheLabel(Shard):
    class lease_type(Lease):
        def _look_at_state(self, state, acquired):
            self.begins_at = shard.steady()


@breaks("S3.12", "begins-with-the-label", "works as soon as the sharder has seen that it is back")
class BeginsWithTheLabel(Shard):
    class lease_type(Lease):
        def _look_at_state(self, state, acquired):
            super()._look_at_state(state, acquired)
            if state in shard.AVAILABLE:
                self.begins_at = shard.steady()


# -- objects


@breaks("S6.2", "works-for-others", "works on all objects")
class WorksForOthers(Shard):
    class watched_type(Watched):
        def __init__(self, api, path, label, name, *others):
            super().__init__(api, path, label, name, *others)
            request, watch = api.request, api.watch
            api.request = lambda *given, labelSelector="", **query: request(*given, **query)
            api.watch = lambda *given, labelSelector="", **query: watch(*given, **query)

        def take(self, item, ours=None):
            super().take(item, True if ours is None else ours)


@breaks("S6.2", "makes-again-for-others", "makes again what belongs to an object of another shard")
class MakesAgainForOthers(Shard):
    def _config_map_changed(self, key, before, now):
        owner = controller_of(now or before or {"metadata": {}})
        if now is None and owner.get("kind") == "Secret":
            secret = self.api.find(f"/api/v1/namespaces/{key[0]}/secrets/{owner['name']}")
            if secret is not None:
                threading.Thread(target=self.reconcile, args=[secret], daemon=True).start()
        super()._config_map_changed(key, before, now)


@breaks("S6.3", "reconciles-before-acknowledging", "reconciles what drains once more before it lets go")
class ReconcilesBeforeAcknowledging(Shard):
    def acknowledge(self, secret):
        self.reconcile(secret)
        super().acknowledge(secret)


@breaks("S6.4", "drains-only-for-true", "lets go only of objects that drain with the value true")
class DrainsOnlyForTrue(Shard):
    def drains(self, secret):
        return secret["metadata"].get("labels", {}).get(self.drain_label) == "true"


@breaks("S6.5", "acknowledges-in-two-steps", "takes away one label after the other")
class AcknowledgesInTwoSteps(Shard):
    def acknowledge(self, secret):
        namespace, name = key_of(secret)
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        version = secret["metadata"]["resourceVersion"]
        for label in (self.drain_label, self.label):
            answer = self.write("PATCH", path, {"metadata": {"resourceVersion": version, "labels": {label: None}}})
            version = answer["metadata"]["resourceVersion"]
        self.secrets.take(answer)


@breaks("S6.5", "label-true", "sets the shard label to true")
class LabelTrue(Shard):
    def acknowledge(self, secret):
        target = secret["metadata"]["labels"][self.drain_label]
        namespace, name = key_of(secret)
        self.secrets.take(self.write("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{name}", {"metadata": {
            "resourceVersion": secret["metadata"]["resourceVersion"],
            "labels": {self.drain_label: None, self.label: target or None}}}))


@breaks("S6.5", "removes-all-labels", "takes all labels away")
class RemovesAllLabels(Shard):
    def acknowledge(self, secret):
        namespace, name = key_of(secret)
        self.secrets.take(self.write("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{name}", {"metadata": {
            "resourceVersion": secret["metadata"]["resourceVersion"],
            "labels": dict.fromkeys(secret["metadata"]["labels"])}}))


@breaks("S6.7", "gives-up-after-conflict", "does not acknowledge again after a conflict")
class GivesUpAfterConflict(Shard):
    def acknowledge(self, secret):
        try:
            super().acknowledge(secret)
        except client.ApiException as error:
            if error.status != 409:
                raise
            with self._changed:
                self._queue.pop(key_of(secret), None)


@breaks("S6.7", "forces-after-conflict", "acknowledges again after a conflict, whatever the object is like now")
class ForcesAfterConflict(Shard):
    def acknowledge(self, secret):
        try:
            super().acknowledge(secret)
        except client.ApiException as error:
            fresh = self.api.find(f"/api/v1/namespaces/{key_of(secret)[0]}/secrets/{key_of(secret)[1]}")
            if error.status != 409 or fresh is None:
                raise
            version = fresh["metadata"]["resourceVersion"]
            self.acknowledge({**secret, "metadata": {**secret["metadata"], "resourceVersion": version}})


@breaks("S6.9", "goes-back-in-time", "believes older versions that a watch shows after the acknowledgement")
class GoesBackInTime(Shard):
    class watched_type(Watched):
        def is_news(self, key, version):
            return True


@breaks("S6.10", "ends-when-an-object-is-gone", "ends when an object that it lets go of is gone")
class EndsWhenAnObjectIsGone(Shard):
    def acknowledge(self, secret):
        try:
            super().acknowledge(secret)
        finally:
            if self.api.find(f"/api/v1/namespaces/{key_of(secret)[0]}/secrets/{key_of(secret)[1]}") is None:
                os._exit(1)


@breaks("S6.10", "waits-for-deletion", "does not let go of objects that are being deleted")
class WaitsForDeletion(Shard):
    def drains(self, secret):
        return super().drains(secret) and "deletionTimestamp" not in secret["metadata"]


@breaks("S6.11", "forgets-drains-when-busy", "has room for a hundred objects that wait")
class ForgetsDrainsWhenBusy(Shard):
    def _enqueue(self, key):
        with self._changed:
            if len(self._queue) < 100:
                super()._enqueue(key)


@breaks("S6.12", "goes-on-after-410", "does not list again after a 410")
class GoesOnAfter410(Shard):
    class watched_type(Watched):
        _listed = False

        def _list(self):
            if self._listed:
                self._position = self._api.request("GET", self._path, limit=1)["metadata"]["resourceVersion"]
            else:
                super()._list()
                self._listed = True


@breaks("S6.12", "keeps-what-is-not-listed", "does not notice what a list after a 410 lacks")
class KeepsWhatIsNotListed(Shard):
    class watched_type(Watched):
        def forget(self, key):
            pass


@breaks("S6.13", "ignores-what-it-owns", "does not watch what it makes")
class IgnoresWhatItOwns(Shard):
    def _config_map_changed(self, key, before, now):
        pass


@breaks("S6.14", "never-takes-back", "never takes up again what it has let go of")
class NeverTakesBack(Shard):
    def acknowledge(self, secret):
        super().acknowledge(secret)
        self.secrets._newest[key_of(secret)] = 1 << 62


@breaks("", "writes-nothing", "writes nothing for its objects")
class WritesNothing(Shard):
    def reconcile(self, secret):
        pass


@breaks("", "of-deployments", "is intact, and has Deployments in place of Secrets")
class OfDeployments(Shard):
    """For --main deployments.apps. It writes nothing when they change: they have no `data`."""

    def __init__(self, options):
        super().__init__(options)
        request = self.api._request
        self.api._request = lambda method, path, *others: request(method, _to_deployments(path), *others)


def _to_deployments(path):
    if "/secrets" not in path:
        return path
    return path.replace("/api/v1/", "/apis/apps/v1/").replace("/secrets", "/deployments")


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--break", dest="name", choices=sorted(BREAKS))
    parser.add_argument("--list", action="store_true")
    mine, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    if mine.list:
        print(json.dumps({name: [what, rule] for name, (what, rule, _) in BREAKS.items()}))
        return
    shard.main(BREAKS[mine.name][2])


if __name__ == "__main__":
    main()
