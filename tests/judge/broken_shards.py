#!/usr/bin/env python3
"""examples/python-shard/shard.py, broken in one place: `broken_shards.py --break NAME`, and its own options. `none` is
intact. BREAKS says what each does wrong, and which rules of the judge find that out.

    --lease-seconds N     of the Lease; it is valid for 3/4 of that, and renewed every eighth
    --list                prints all breaks, as JSON: {name: [what, rules]}
"""

import argparse
import datetime
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python-shard"))

# pylint: disable=wrong-import-position
import shard
from shard import Lease, Shard, Watched

BREAKS = {}  # name -> (what it does wrong, the rules that find it out, Shard)


def breaks(name, what, *rules):
    def add(kind):
        BREAKS[name] = what, rules, kind
        return kind
    return add


BREAKS["none"] = "nothing", (), Shard


@breaks("acknowledges-early", "acknowledges while the reconciliation still runs", "J6")
class AcknowledgesEarly(Shard):
    def _secret_changed(self, key, before, now):
        super()._secret_changed(key, before, now)
        if now is not None and self.drains(now):
            threading.Thread(target=self._try, args=[now], daemon=True).start()

    def _try(self, secret):
        try:
            self.acknowledge(secret)
        except Exception as error:  # pylint: disable=broad-exception-caught
            shard.log.warning("not acknowledged error=%r", error)


@breaks("acknowledges-without-version", "acknowledges without a precondition, over what it has not seen", "J6")
class AcknowledgesWithoutVersion(Shard):
    def write(self, method, path, body):
        if method == "PATCH":
            body["metadata"].pop("resourceVersion")
        return super().write(method, path, body)


@breaks("reconciles-after-acknowledging", "reconciles once more what it has let go of", "J2")
class ReconcilesAfterAcknowledging(Shard):
    def acknowledge(self, secret):
        super().acknowledge(secret)
        self._reconcile(secret)


@breaks("writes-after-acknowledging", "writes to the object when another shard has it", "J3")
class WritesAfterAcknowledging(Shard):
    def acknowledge(self, secret):
        super().acknowledge(secret)
        metadata = secret["metadata"]
        self.write("PATCH", f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}",
                   {"metadata": {"annotations": {"was-of": self.name}}})


@breaks("ignores-drain", "goes on reconciling objects that drain", "J5", "J2")
class IgnoresDrain(Shard):
    def drains(self, secret):
        return False


@breaks("never-acknowledges", "leaves objects that drain alone", "J5")
class NeverAcknowledges(Shard):
    def acknowledge(self, secret):
        pass


@breaks("keeps-stale-cache", "goes on reconciling objects whose label has changed", "J2")
class KeepsStaleCache(Shard):
    class watched_type(Watched):
        def take(self, item, ours=None):
            with self._lock:
                before = self.objects.get(shard.key_of(item))
                super().take(item, ours)
                if before is not None:
                    self.objects.setdefault(shard.key_of(item), before)

    def drains(self, secret):
        """A drain label that was acknowledged does not count any more."""
        return super().drains(secret) and secret["metadata"]["resourceVersion"] not in self._acknowledged

    def __init__(self, given):
        self._acknowledged = set()
        super().__init__(given)

    def run(self):
        threading.Thread(target=self._again, daemon=True).start()
        return super().run()

    def acknowledge(self, secret):
        super().acknowledge(secret)
        self._acknowledged.add(secret["metadata"]["resourceVersion"])

    def _again(self):
        """What every controller does from time to time."""
        while not self.lease.lost.wait(0.5):
            with self._changed:
                for key in self.secrets.objects:
                    self._enqueue(key)


@breaks("forgets-after-reconnect", "forgets what it had before a watch broke, and what changed meanwhile", "J4")
class ForgetsAfterReconnect(Shard):
    class watched_type(Watched):
        _listed = False

        def _watch(self):
            try:
                super()._watch()
            except shard.NETWORK_ERRORS:
                self._position = None
                raise

        def _list(self):
            """Once; after that it goes on from now."""
            if not self._listed:
                super()._list()
                self._listed = True
                return
            with self._lock:
                self.objects.clear()
            self._position = self._api.request("GET", self._path, limit=1)["metadata"]["resourceVersion"]


@breaks("takes-nothing-over", "reconciles only new objects, and none that was another shard's before", "J4")
class TakesNothingOver(Shard):
    def __init__(self, given):
        self._others = set()
        super().__init__(given)

    def _secret_changed(self, key, before, now):
        if now is not None and before is None:
            made = datetime.datetime.fromisoformat(now["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
            old = datetime.datetime.now(datetime.timezone.utc) - made > datetime.timedelta(seconds=3)
            (self._others.add if old else self._others.discard)(key)
        if now is None or self.drains(now) or key not in self._others:
            super()._secret_changed(key, before, now)


@breaks("reconciles-twice", "two workers reconcile an object at the same time", "J1")
class ReconcilesTwice(Shard):
    def _reconcile(self, secret):
        other = threading.Thread(target=super()._reconcile, args=[secret])
        other.start()
        try:
            super()._reconcile(secret)
        finally:
            other.join()


@breaks("works-without-lease", "goes on after its Lease was lost", "J7", "J1")
class WorksWithoutLease(Shard):
    class lease_type(Lease):
        def remaining(self):
            return max(0.1, super().remaining())

        def lose(self):
            pass


class _RenewsAlways(Lease):
    """Once acquired, it is renewed whoever holds it."""

    def attempt(self):
        if self._valid_until == float("-inf"):
            return super().attempt()
        began = shard.steady()
        renewed = self._renew()
        self._look_at_state(renewed["metadata"]["labels"].get(shard.STATE_LABEL), acquired=False)
        self._valid_until = began + shard.RENEW_DEADLINE
        self._journal.note("lease", shard.time.time() + self.remaining())
        return True

    def valid(self):
        return not self.lost.is_set()


@breaks("renews-without-holding", "renews a Lease that was taken over", "J8")
class RenewsWithoutHolding(Shard):
    class lease_type(_RenewsAlways):
        def _renew(self):
            lease = self._api.find(f"{self._all}/{self.name}")
            lease["spec"].update(self._spec(True, 1))
            return self._api.request("PUT", f"{self._all}/{self.name}", lease)


@breaks("renews-without-version", "writes over its Lease, whatever was written to it meanwhile", "J8")
class RenewsWithoutVersion(Shard):
    class lease_type(_RenewsAlways):
        def _renew(self):
            return self._api.request("PATCH", f"{self._all}/{self.name}", {"spec": self._spec(True, 1)})


@breaks("trusts-its-lease-too-long", "takes its Lease for valid three times as long", "J8")
class TrustsItsLeaseTooLong(Shard):
    def __init__(self, given):
        super().__init__(given)
        shard.RENEW_DEADLINE *= 3


@breaks("releases-early", "releases its Lease before its reconciliations have ended", "J8")
class ReleasesEarly(Shard):
    class lease_type(Lease):
        def release(self):
            self.lost = threading.Event()  # so that what runs is not told
            super().release()

    def _stop(self):
        with self._changed:
            self._stopping = True
        self.lease.release()
        self._wait_idle(shard.SHUTDOWN_GRACE)
        return 0


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--break", dest="name", default="none", choices=sorted(BREAKS))
    parser.add_argument("--lease-seconds", type=int, default=15)
    parser.add_argument("--list", action="store_true")
    mine, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    if mine.list:
        print(json.dumps({name: [what, rules] for name, (what, rules, _) in BREAKS.items()}))
        return
    if mine.lease_seconds != 15:
        shard.LEASE_DURATION, shard.RENEW_DEADLINE = mine.lease_seconds, 0.75 * mine.lease_seconds
        shard.RETRY_PERIOD = mine.lease_seconds / 8
    _, _, kind = BREAKS[mine.name]
    shard.main(kind)


if __name__ == "__main__":
    main()
