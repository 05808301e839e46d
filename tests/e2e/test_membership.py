#!/usr/bin/python3
"""Leases and the states that the leader gives them (docs/protocol.md, section 3), each ring with its own shards.

The Leases are short (3 s), so that their times, which all follow from the Lease's own duration, are too.
"""

import time

from environment import Environment
from kubeclient import Recorder
from processes import allowed, wait_until
from shards import RING_LABEL, SHARDER_IDENTITY, STATE_LABEL, lease, micro_time, parse_time, state
from suite import Suite

suite = Suite("membership", lambda short: Environment(short=short))

DURATION = 3
LATE = 4.0  # what a busy machine may add to a state's time
ORPHANED_AFTER = 60
LASTING = 3600  # of a Lease that nobody renews, and that is not to expire or to be taken over during the test
NAMES = ["shard-a", "shard-b", "shard-c"]


def first(changes, condition, what):
    """When the first version of the object came that meets the condition, seconds since the epoch."""
    for moment, kind, item in changes:
        if condition(kind, item):
            return moment
    raise AssertionError(f"never: {what}; states: {[(kind, state(item)) for _, kind, item in changes]}")


def first_state(changes, wanted):
    return first(changes, lambda kind, item: state(item) == wanted and kind != "DELETED", wanted)


def wait_recorded(leases, name, condition, what):
    """Until the recorder, whose watch is a little behind, has a version of this Lease that meets the condition."""
    wait_until(lambda: any(condition(kind, item) for _, kind, item in leases.changes(name)), 10, f"recorded: {what}")


def wait_deleted(leases, shards, name, timeout):
    """Until the Lease is gone, for the recorder too."""
    wait_until(lambda: shards.get(name) is None, timeout, f"the Lease {name} is deleted", interval=0.2)
    wait_recorded(leases, name, lambda kind, _: kind == "DELETED", "the deletion")


def assert_around(actual, expected, what, late=LATE):
    """`expected` seconds are protocol.md's; never earlier (10 ms for rounding), and not much later."""
    assert expected - 0.01 <= actual <= expected + allowed(late), f"{what} after {actual:.2f} s, protocol.md says {expected} s"


@suite.case("a shard that exits gracefully leaves the ring at once; its Lease is deleted a minute after it expired",
            short=False)
def graceful_exit(env):
    ring = env.ring("graceful")
    with Recorder(env.admin, "leases", ring.namespace) as leases, ring.shards(*NAMES, duration=DURATION) as shards:
        ring.wait_ready(NAMES)
        released = time.time()
        shards.release("shard-b")
        ring.wait_members(["shard-a", "shard-c"], timeout=5)
        gone = time.time() - released
        wait_until(lambda: ring.status() == {**ring.status(), "shards": 3, "availableShards": 2}, 5, "status")
        wait_deleted(leases, shards, "shard-b", 75)
        wait_until(lambda: ring.status()["shards"] == 2, 5, "status without it")
        changes = leases.changes("shard-b")
        # client-go releases with a duration of 1 s.
        times = {"dead": first_state(changes, "dead"), "orphaned": first_state(changes, "orphaned"),
                 "deleted": first(changes, lambda kind, _: kind == "DELETED", "deleted")}
        after = {what: moment - released for what, moment in times.items()}
        assert 0 <= after["dead"] <= allowed(LATE), after
        assert_around(after["orphaned"], 1 + ORPHANED_AFTER, "orphaned")
        assert_around(after["deleted"], 1 + ORPHANED_AFTER, "deleted")
        assert not shards.lost and shards.names() == ["shard-a", "shard-c"]
        env.figure("graceful exit, seconds after the release (protocol)",
                   f"out of every replica's ring {gone:.2f} (0), dead {after['dead']:.2f} (0), orphaned "
                   f"{after['orphaned']:.2f} (61), deleted {after['deleted']:.2f} (61)")


@suite.case("a shard that crashes is expired, uncertain, taken over, dead, and its Lease deleted", short=False)
def crash(env):
    ring = env.ring("crash")
    with Recorder(env.admin, "leases", ring.namespace) as leases, ring.shards(*NAMES, duration=DURATION) as shards:
        ring.wait_ready(NAMES)
        shards.crash("shard-b")
        last = parse_time(shards.get("shard-b")["spec"]["renewTime"])
        while time.time() < last + DURATION + 1.5:  # expired, and in the ring all the same
            ring.wait_members(NAMES, timeout=2)
            time.sleep(0.1)
        wait_until(lambda: shards.get("shard-b")["spec"]["holderIdentity"] == SHARDER_IDENTITY, 15, "take-over")
        ring.wait_members(["shard-a", "shard-c"], timeout=5)
        taken = shards.get("shard-b")["spec"]
        assert taken["leaseDurationSeconds"] == 2 * DURATION and taken["leaseTransitions"] == 1, taken
        assert taken["acquireTime"] == taken["renewTime"], taken
        wait_deleted(leases, shards, "shard-b", 90)
        changes = leases.changes("shard-b")
        times = {wanted: first_state(changes, wanted) - last for wanted in ("expired", "uncertain", "dead", "orphaned")}
        times["taken over"] = parse_time(taken["renewTime"]) - last
        times["deleted"] = first(changes, lambda kind, _: kind == "DELETED", "deleted") - last
        protocol = {"expired": DURATION, "uncertain": 2 * DURATION, "taken over": 2 * DURATION, "dead": 2 * DURATION,
                    "orphaned": times["taken over"] + 2 * DURATION + ORPHANED_AFTER,
                    "deleted": times["taken over"] + 2 * DURATION + ORPHANED_AFTER}
        for what, expected in protocol.items():
            assert_around(times[what], expected, what)
        steps = []  # as the Lease's versions show them, each once
        for _, kind, item in changes:
            for step in (state(item), "taken over" if item["spec"]["holderIdentity"] == SHARDER_IDENTITY else None):
                if step is not None and step not in steps and kind != "DELETED":
                    steps.append(step)
        assert steps[-5:] == ["expired", "uncertain", "taken over", "dead", "orphaned"], steps
        assert not shards.lost, shards.lost
        env.figure(f"crash, Lease of {DURATION} s, seconds after the last renewal (protocol)", ", ".join(
            f"{what} {times[what]:.2f} ({expected:.1f})" for what, expected in protocol.items()))


@suite.case("a crashed shard comes back: before the take-over nothing has changed, after it the shard joins anew")
def comes_back(env):
    ring = env.ring("return")
    with Recorder(env.admin, "leases", ring.namespace) as leases, ring.shards(*NAMES, duration=DURATION) as shards:
        ring.wait_ready(NAMES)
        shards.crash("shard-a")
        wait_until(lambda: state(shards.get("shard-a")) == "expired", DURATION + LATE, "expired")
        shards.start("shard-a")
        wait_until(lambda: state(shards.get("shard-a")) == "ready", LATE, "ready again")
        version = shards.get("shard-a")["metadata"]["resourceVersion"]
        wait_recorded(leases, "shard-a", lambda _, item: item["metadata"]["resourceVersion"] == version, "ready again")
        assert not any(item["spec"]["holderIdentity"] == SHARDER_IDENTITY for _, _, item in leases.changes("shard-a"))

        shards.crash("shard-b")
        wait_until(lambda: state(shards.get("shard-b")) == "dead", 3 * DURATION + LATE, "dead")
        ring.wait_members(["shard-a", "shard-c"], timeout=5)
        shards.start("shard-b")  # acquires when the sharder's 2 x 3 s have passed
        wait_until(lambda: state(shards.get("shard-b")) == "ready", 2 * DURATION + LATE, "ready again")
        joined = time.time() - shards.acquired["shard-b"]
        ring.wait_members(NAMES, timeout=5)
        assert not shards.lost, shards.lost

        shards.release("shard-c")
        wait_until(lambda: state(shards.get("shard-c")) == "dead", LATE, "dead")
        shards.start("shard-c")
        wait_until(lambda: state(shards.get("shard-c")) == "ready", LATE, "ready again")
        ring.wait_members(NAMES, timeout=5)
        env.figure("return, seconds from acquiring the Lease to the state ready (protocol)", f"{joined:.2f} (0)")


@suite.case("a new shard joins the ring of every replica")
def joins(env):
    ring = env.ring("join")
    with ring.shards("shard-a", duration=DURATION) as shards:
        ring.wait_ready(["shard-a"])
        began = time.time()
        shards.start("shard-b")
        ring.wait_members(["shard-a", "shard-b"], timeout=5)
        env.figure("join, seconds until every replica assigns to the new shard", f"{time.time() - began:.2f}")
        names = ["shard-a", "shard-b"] + [f"shard-{number}" for number in range(20)]
        shards.start(*names[2:])
        ring.wait_ready(names)
        env.admin.delete("leases", ring.namespace, "shard-b")  # comes back at once by itself
        wait_until(lambda: (shards.get("shard-b") or {}).get("spec", {}).get("holderIdentity") == "shard-b", 5, "back")
        ring.wait_ready(names)


@suite.case("nonsense in Leases is treated as protocol.md says")
def nonsense(env):
    ring = env.ring("nonsense")
    long_name = "a" * 64  # no label value
    with ring.shards("good", duration=15) as shards:
        def odd(name, **spec):
            body = lease("nonsense", name, duration=LASTING)
            body["spec"] = {key: value for key, value in {**body["spec"], **spec}.items() if value is not None}
            env.admin.create("leases", ring.namespace, body)

        odd("no-renew-time", renewTime=None)
        odd("no-acquire-time", acquireTime=None)
        odd("no-duration", leaseDurationSeconds=None)
        odd("no-holder", holderIdentity=None)
        odd("other-holder", holderIdentity="somebody else")
        odd("far-future", renewTime="9999-12-31T23:59:59.999999Z")
        odd("year-one", renewTime="0001-01-02T00:00:00.000000Z", leaseDurationSeconds=LASTING)
        odd("huge-duration", leaseDurationSeconds=2**31 - 1)
        odd(long_name)
        body = lease("nonsense", "no-spec")
        del body["spec"]
        env.admin.create("leases", ring.namespace, body)
        body = lease("nonsense", "odd-state", duration=LASTING)
        body["metadata"]["labels"][STATE_LABEL] = "nonsense"
        env.admin.create("leases", ring.namespace, body)

        # Times that are missing: expired now, for ever.
        expected = {"good": "ready", "no-renew-time": "expired", "no-acquire-time": "expired",
                    "no-duration": "expired", "no-holder": "dead", "other-holder": "dead", "far-future": "ready",
                    "huge-duration": "ready", "no-spec": "dead", "odd-state": "ready"}
        for name, wanted in expected.items():
            wait_until(lambda name=name, wanted=wanted: state(shards.get(name)) == wanted, 10, f"{name} is {wanted}")
        # year-one is long uncertain, but the leader itself must see no renewal for its duration before it takes it.
        members = ["good", "no-renew-time", "no-acquire-time", "no-duration", "far-future", "huge-duration",
                   "odd-state", "year-one"]
        ring.wait_members(members)
        events = wait_until(lambda: [event for event in env.admin.list("events") if long_name in event["message"] or
                                     event["involvedObject"].get("name") == long_name], 10, "an Event")
        assert events[0]["type"] == "Warning", events
        assert all(replica.ready() for replica in env.sharders.replicas)
        assert not shards.lost


@suite.case("one Lease name in two namespaces: two shards in the status, one in the ring, available if either is")
def same_name(env):
    ring = env.ring("twins")
    other = env.namespace("twins-other")
    with ring.shards("twin", "single", duration=15) as shards:
        ring.wait_ready(["twin", "single"])
        env.admin.create("leases", other, lease("twins", "twin", duration=LASTING))
        wait_until(lambda: ring.status()["shards"] == 3, 5, "three Leases")
        ring.wait_members(["twin", "single"])
        shards.release("twin")
        wait_until(lambda: state(shards.get("twin")) == "dead", 5, "one of them is dead")
        ring.wait_members(["twin", "single"])
        env.admin.patch("leases", other, "twin", {"spec": {"holderIdentity": ""}})
        ring.wait_members(["single"])


@suite.case("Leases without the ring label, and of rings that do not exist, are left alone")
def foreign(env):
    namespace = env.namespace("foreign")
    past = time.time() - 600
    body = lease("no-such-ring", "stray", acquired=past)
    env.admin.create("leases", namespace, body)
    body = lease("x", "unlabelled", acquired=past)
    del body["metadata"]["labels"]
    env.admin.create("leases", namespace, body)
    before = {name: env.admin.get("leases", namespace, name) for name in ("stray", "unlabelled")}
    time.sleep(6)
    for name, item in before.items():
        assert env.admin.get("leases", namespace, name) == item, name
    # The ring appears: now its Lease is one of its shards.
    with Recorder(env.admin, "leases", namespace) as leases:
        env.ring("no-such-ring", namespace="foreign")
        # Not for ever: the leader takes it over soon.
        wait_recorded(leases, "stray", lambda _, item: state(item) == "uncertain", "uncertain")
    labels = [state(item) for _, _, item in leases.changes("stray") if state(item)]
    assert labels[0] == "uncertain", labels


@suite.case("state labels are written by the manager sharder, take-overs are PUTs, times have six decimals")
def on_the_wire(env):
    ring = env.ring("wire")
    with ring.shards("shard-a", duration=DURATION) as shards:
        ring.wait_ready(["shard-a"])
        wait_until(lambda: state(shards.get("shard-a")) == "ready", 10, "the state label")
        managers = {entry["manager"]: entry for entry in shards.get("shard-a")["metadata"]["managedFields"]}
        assert managers["sharder"]["operation"] == "Update", managers
        assert managers["sharder"]["fieldsV1"] == {"f:metadata": {"f:labels": {f"f:{STATE_LABEL}": {}}}}, managers
        shards.crash("shard-a")
        wait_until(lambda: state(shards.get("shard-a")) == "dead", 3 * DURATION + LATE, "dead")
        raw = env.admin.text(f"/apis/coordination.k8s.io/v1/namespaces/{ring.namespace}/leases/shard-a")
        taken = shards.get("shard-a")
        assert taken["metadata"]["labels"][RING_LABEL] == "wire"
        assert len(taken["spec"]["renewTime"]) == len(micro_time()), taken["spec"]
        assert SHARDER_IDENTITY in raw


if __name__ == "__main__":
    suite.main()
