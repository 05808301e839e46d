#!/usr/bin/python3
"""A rolling restart of 12 shards with stable names, as a StatefulSet does it: with a grace period, without one, and with
the Go project's sharder. How many labels are patched, and how long an object has no shard that works."""

import collections
import http.client
import sys
import time

import load
import oracle
from checksum_shards import JUDGED, ChecksumShards
from cluster import ROOT, SHARDER, stored_objects
from environment import Environment
from processes import wait_until
from shards import parse_time
from suite import Suite

sys.path.append(str(ROOT / "tests" / "e2e" / "kind"))
from images import GO_PROJECT, go_sharder  # pylint: disable=wrong-import-position

suite = Suite("rolling_restart")

SHARDS = [f"shard-{number}" for number in range(12)]
OBJECTS = 1200
AWAY = 5  # seconds from when a process has ended to the start of the next one: the pod is deleted and made anew
REST = 5
GRACE_PERIOD = "sharder.alpha.sharding.timebertt.dev/grace-period"


class Witness:
    """When each shard of `shards` worked: from when it is ready to when it is asked to end."""

    def __init__(self, shards):
        self._shards = shards
        self.works = collections.defaultdict(list)  # name -> [[begin, end or None], ...], seconds since the epoch

    def wait_works(self, name):
        wait_until(lambda: self._is_ready(name), 40, f"{name} is ready", interval=0.02)
        self.works[name].append([time.time(), None])

    def leave(self, name):
        self.works[name][-1][1] = time.time()
        assert self._shards.leave(name) == {name: 0}, self._shards.process(name).log_end()

    def _is_ready(self, name):
        command = self._shards.process(name).command
        host, _, port = command[command.index("--health-bind-address") + 1].rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def states(ring, since):
    """{Secret: [(when, shard, whether it drains), ...]} by the audit log, from the last state before `since` on."""
    ring.env.plane.flush_audit_log()
    found = collections.defaultdict(list)
    for event, _, item in stored_objects(ring.env.plane.audit_events(), ring.namespace, "secrets"):
        found[item["metadata"]["name"]].append((parse_time(event["stageTimestamp"]), oracle.shard_of(item, ring.name),
                                                ring.drain_label in item["metadata"].get("labels", {})))
    history = {}
    for name, ordered in found.items():
        first = max(index for index, (when, _, _) in enumerate(ordered) if when <= since or index == 0)
        history[name] = ordered[first:]
    return history


def gaps(history, works, since, until):
    """The times, in seconds, in which an object had no shard that works: it had none, or its shard did not work, or it
    was asked to let go of it."""
    found, began = [], None
    for (when, shard, drains), (end, _, _) in zip(history, [*history[1:], (until, None, None)]):
        at, end = max(when, since), max(end, since)
        for begin, stop in [] if drains or not shard else works[shard]:
            begin, stop = max(begin, at), min(stop or until, end)
            if begin >= stop:
                continue
            if begin > at and began is None:
                began = at
            if began is not None:
                found.append(begin - began)
                began = None
            at = stop
        if at < end and began is None:
            began = at
    return found if began is None else [*found, until - began]


def patches(ring, since):
    """How many label patches of each kind there were, of main objects and of controlled ones."""
    kinds = {ring.label: "shard label", ring.drain_label: "drain label"}
    counts = {f"{whose} patches of a {kind}": 0 for whose in ("the sharder's", "the shards'") for kind in kinds.values()}
    ring.env.plane.flush_audit_log()
    for event in ring.env.plane.audit_events(since):
        reference, body = event.get("objectRef", {}), event.get("requestObject")
        if (event["verb"] == "patch" and reference.get("namespace") == ring.namespace and
                reference.get("resource") in ("secrets", "configmaps") and event["responseStatus"]["code"] == 200):
            labels = ((body or {}).get("metadata") or {}).get("labels", {})
            if labels is None:  # takes all away, as the Go sharder writes it where there is one alone
                labels = {ring.label: None}
            whose = "the sharder's" if event["user"]["username"] == SHARDER else "the shards'"
            for label, kind in kinds.items():
                counts[f"{whose} patches of a {kind}"] += label in labels
    return counts


def wait_rest(shards):
    """Until each object has a shard, none drains, and nothing has changed for a while; when that began. Not whether it is
    the right shard: names such as shard-1 and shard-11 have tokens in common, and the Go sharder decides anew each time
    who has them."""
    ring, last, since = shards.ring, None, 0.0

    def rests():
        nonlocal last, since
        now = ring.versions()
        if now != last:
            last, since = now, time.time()
        return (time.time() >= since + REST and all(shard in SHARDS for _, shard in now.values()) and
                not any(ring.drain_label in item["metadata"]["labels"] for item in ring.items("secrets")) and
                not shards.wrong_checksums())

    wait_until(rests, 400, f"the objects of {ring.name} rest", interval=0.5)
    return since


def restart_all(env, grace):
    """({what: figure}, the judge's verdict, what is not where it belongs at the end) of one run."""
    ring = env.ring("restarted")
    if grace:
        env.admin.patch("controllerrings", None, ring.name, {"metadata": {"annotations": {GRACE_PERIOD: grace}}})
    with ChecksumShards(ring) as shards:
        witness = Witness(shards)
        shards.start(*SHARDS)
        for name in SHARDS:
            witness.wait_works(name)
        wait_until(lambda: ring.status().get("availableShards") == len(SHARDS), 60, "the sharder has seen all shards")
        ring.wait_webhook(60)
        bodies = [load.creation("secrets", ring.namespace, {"metadata": {"name": f"s-{number}"}})
                  for number in range(OBJECTS)]
        result = load.run(load.Target.of(env.admin), bodies, clients=8)
        assert not result.failures, result.failures[0]
        wait_rest(shards)
        before, since = ring.versions(), time.time()
        for name in reversed(SHARDS):
            witness.leave(name)
            time.sleep(AWAY)  # it is away
            shards.start(name)
            witness.wait_works(name)
        took = time.time() - since
        until = max(wait_rest(shards), since + took)
        history = states(ring, since)
        assert len(history) == OBJECTS, len(history)
        moved = [sum(one != other for one, other in zip(names, names[1:]))
                 for names in ([shard for _, shard, _ in one if shard] for one in history.values())]
        without = [gaps(one, witness.works, since, until) for one in history.values()]
        counts = patches(ring, since)
        if grace:
            assert ring.versions() == before, "no object has changed"
            assert not sum(counts.values()) and not sum(moved), (counts, moved)
        else:
            assert min(moved) > 0, "each object's shard was away once"
        verdict = shards.verdict()
        figures = {**counts, "moves of Secrets": sum(moved), "most moves of one Secret": max(moved),
                   "longest time in which a Secret had no shard that works, s": round(max(map(max, without)), 2),
                   "mean of all such times of a Secret together, s": round(sum(map(sum, without)) / OBJECTS, 2),
                   "seconds for the restart": round(took, 1),
                   "seconds until all is settled": round(until - since, 1),
                   "what the judge found": ", ".join(sorted(set(verdict.rules()))) or "nothing"}
        return figures, verdict, ring.wrong(SHARDS)


def as_the_go_sharder(replica):
    """Before it is started. Its webhook has a fixed port."""
    arguments = [str(part) for part in replica.process.command]
    replica.process.environment["KUBECONFIG"] = arguments[arguments.index("--kubeconfig") + 1]
    replica.process.command = [str(go_sharder()), f"--config={arguments[arguments.index('--config') + 1]}"]
    replica.config["webhook"]["server"].pop("bindAddress")  # this and the next are ours
    replica.config.pop("shutdownDelay")
    replica.config["webhook"]["config"]["clientConfig"]["url"] = "https://127.0.0.1:9443"


@suite.case("12 shards restart one after another, with grace, without, and with the Go sharder", long=True)
def compared(figures_of):
    for title, grace, is_go in (("with grace", "1m", False), ("without grace", None, False),
                                (f"Go sharder {GO_PROJECT[1]}", None, True)):
        with Environment(1, judged=JUDGED, start=False, may_be_forbidden=is_go) as env:
            if is_go:
                as_the_go_sharder(env.sharders.replicas[0])
            env.sharders.start()
            figures, verdict, wrong = restart_all(env, grace)
            assert is_go or (verdict.ok and not verdict.undecided and not wrong), (wrong, verdict.report())
        for what, value in figures.items():
            figures_of.figure(f"{title}: {what}", value)


if __name__ == "__main__":
    suite.main()
