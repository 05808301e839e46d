#!/usr/bin/python3
"""Marks of ours on rings and shards (docs/protocol.md, section 12): cordoned shards, a grace period, a pass on demand.

What the API server's audit log has of Secrets and Leases is in the order of their resourceVersions, so it shows what was
true at any instant."""

import time

import oracle
from agent import overlaps
from cluster import stored_objects
from environment import Environment
from processes import allowed, wait_until
from shards import SHARDER_IDENTITY, labels_of_stopped, parse_time, state
from suite import Suite

suite = Suite("cordon", lambda short: Environment(short=short, judged={"": ["secrets"]}))

PREFIX = "sharder.alpha.sharding.timebertt.dev/"
NAMES = ["shard-a", "shard-b", "shard-c"]
LATE = 10.0  # what a busy machine may add


def mark(env, resource, namespace, name, **marks):
    """Sets annotations of ours; None takes one away."""
    annotations = {PREFIX + key.replace("_", "-"): value for key, value in marks.items()}
    env.admin.patch(resource, namespace, name, {"metadata": {"annotations": annotations}})


def cordon(ring, *names, cordoned="true"):
    for name in names:
        mark(ring.env, "leases", ring.namespace, name, cordoned=cordoned)


def writes(ring):
    """[(resource, name, object)] of all Secrets and Leases of the ring's namespace as they were stored, in order."""
    ring.env.plane.flush_audit_log()
    return [(resource, item["metadata"]["name"], item) for _, resource, item in
            stored_objects(ring.env.plane.audit_events(), ring.namespace, "secrets", "leases")]


def moves(ring, before=None):
    """How many shard labels were changed after the objects had one; `before`: only until this returns True of a Lease's
    version."""
    has, count = {}, 0
    for resource, name, item in writes(ring):
        if resource == "leases":
            if before is not None and before(name, item):
                break
            continue
        label = oracle.shard_of(item, ring.name)
        count += has.get(name, label) != label
        has[name] = label
    return count


def with_label(ring, label, shard):
    return [item["metadata"]["name"] for item in ring.items("secrets")
            if item["metadata"].get("labels", {}).get(label) == shard]


def wait_condition(ring, kind, reason):
    wait_until(lambda: ring.condition(kind).get("reason") == reason, 20, f"{kind}: {reason}")


@suite.case("scale 5 to 4 with a cordon: no object has the label of the stopped shard at any instant")
def scale_down(env):
    names = [f"shard-{number}" for number in range(5)]
    ring = env.ring("scaled")
    with ring.shards(*names, working=True) as shards:
        ring.wait_ready(names)
        ring.create_secrets(400)
        ring.wait_settled(names)
        before, since = ring.versions(), time.time()
        cordon(ring, "shard-4")
        ring.wait_members(names[:4])
        ring.create_secrets(100, prefix="new")
        ring.wait_settled(names[:4])
        assert not with_label(ring, ring.drain_label, "shard-4")
        drained = {name for name, (_, shard) in before.items() if shard == "shard-4"}
        after = ring.versions()
        assert {name for name in before if after[name] != before[name]} == drained, "exactly its objects have moved"
        assert not [name for name, (_, shard) in after.items() if shard == "shard-4"], "nothing new comes to it"
        wait_condition(ring, "ShardsCordoned", "CordonedShardsDrain")
        assert ring.status()["availableShards"] == 5
        for replica in env.sharders.replicas:
            text = replica.scrape(env.plane.metrics_token())
            assert f'controller_sharding_shard_cordoned{{namespace="{ring.namespace}",shard="shard-4"' in text
        assert env.leader_metric("controller_sharding_shard_cordoned", controllerring=ring.name, shard="shard-4") == 1
        assert env.leader_metric("controller_sharding_shard_cordoned", controllerring=ring.name, shard="shard-3") == 0
        report = shards.agent.at_rest(draining=0)
        assert not report["violation_count"], report["violations"]
        shards.release("shard-4")
        wait_until(lambda: state(shards.get("shard-4")) == "dead", 20, "the leader has seen it")
        with_label_of_stopped = labels_of_stopped(writes(ring), ring.name, "shard-4")
        assert not with_label_of_stopped, with_label_of_stopped[:5]
        assert ring.versions() == after
        patches = len(env.plane.sharder_patches(ring.namespace, since))
        assert patches == len(drained), f"{patches} patches, for {len(drained)} drains"
        both = overlaps(shards.agent.history(env.plane.folder))
        assert not both, both[:3]
        assert not shards.lost


@suite.case("a cordoned shard that does not acknowledge keeps its objects, until it dies; then they move at once")
def silent(env):
    ring = env.ring("silent")
    with ring.shards(*NAMES, duration=6, renew_every=1, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(150)
        ring.wait_settled(NAMES)
        its = set(with_label(ring, ring.label, "shard-b"))
        shards.agent.acknowledge(False, "shard-b")
        cordon(ring, "shard-b")
        wait_until(lambda: len([item for item in ring.items("secrets")
                                if oracle.target_of(item, ring.name)]) == len(its), 20, "all are asked for")
        ring.wait_members(["shard-a", "shard-c"])
        # Past the second pass, which comes 10 s after the change, and a change of the ring meanwhile.
        shards.start("shard-d")
        time.sleep(12)
        assert set(with_label(ring, ring.label, "shard-b")) == its, "nothing is taken from it"
        shards.crash("shard-b")
        ring.wait_settled(["shard-a", "shard-c", "shard-d"], timeout=60)
        assert not labels_before_take_over(ring, "shard-b")
        report = shards.agent.at_rest(draining=0)
        assert not report["violation_count"], report["violations"]


def labels_before_take_over(ring, shard):
    """Objects that lose the label of this shard while it holds its Lease, although it acknowledges nothing."""
    has, held, cordoned, found = {}, False, False, []
    for resource, name, item in writes(ring):
        if resource == "leases" and name == shard:
            held = item["spec"].get("holderIdentity") == shard
            cordoned = PREFIX + "cordoned" in item["metadata"].get("annotations", {})
        elif resource == "secrets":
            label = oracle.shard_of(item, ring.name)
            if held and cordoned and has.get(name) == shard and label != shard:
                found.append(name)
            has[name] = label
    return found


@suite.case("a ring never loses its last members by cordons, and each cordon ends with its mark")
def all_cordoned(env):
    ring = env.ring("all-cordoned")
    with ring.shards("shard-a", "shard-b", working=True) as shards:
        ring.wait_ready(["shard-a", "shard-b"])
        ring.create_secrets(60)
        cordon(ring, "shard-a")
        ring.wait_settled(["shard-b"])
        cordon(ring, "shard-b")
        wait_condition(ring, "ShardsCordoned", "AllShardsCordoned")
        ring.wait_settled(["shard-a", "shard-b"])
        ring.create_secrets(20, prefix="new")
        ring.wait_settled(["shard-a", "shard-b"])
        cordon(ring, "shard-b", cordoned=None)
        ring.wait_settled(["shard-b"])
        cordon(ring, "shard-a", cordoned=None)
        ring.wait_settled(["shard-a", "shard-b"])
        wait_condition(ring, "ShardsCordoned", "NoneCordoned")
        assert not shards.lost


def restart_all(env, ring, names, moved=False):
    """A rolling restart under the same names, and the objects of the ring before it; `moved`: each shard comes back after
    its objects have moved to the others."""
    with ring.shards(*names, working=True) as shards:
        ring.wait_ready(names)
        ring.create_secrets(400)
        ring.wait_settled(names)
        before, since = ring.versions(), time.time()
        for name in names:
            shards.release(name)
            wait_until(lambda name=name: state(shards.get(name)) == "dead", 20, "the leader has seen it go")
            if moved:
                ring.wait_settled([other for other in names if other != name])
            shards.start(name)
            wait_until(lambda name=name: state(shards.get(name)) == "ready", 20, "the leader has seen it come")
            if moved:
                ring.wait_settled(names)
        ring.wait_settled(names)
        assert not shards.lost
        return before, len(env.plane.sharder_patches(ring.namespace, since))


@suite.case("12 shards restart one after another under their names, with a grace period: no shard label is patched")
def restarts(env):
    ring = env.ring("restarted")
    mark(env, "controllerrings", None, ring.name, grace_period="1m")
    before, patches = restart_all(env, ring, [f"shard-{number}" for number in range(12)])
    assert ring.versions() == before, "no object has changed"
    assert not patches and not moves(ring), (patches, moves(ring))
    env.figure("patches in a rolling restart of 12 shards with grace, 400 objects", patches)


@suite.case("12 shards restart one after another under their names, without a grace period: each object moves away and back")
def restarts_without_grace(env):
    ring = env.ring("moved")
    before, patches = restart_all(env, ring, [f"shard-{number}" for number in range(12)], moved=True)
    shards = {name: shard for name, (_, shard) in before.items()}
    assert {name: shard for name, (_, shard) in ring.versions().items()} == shards
    # One patch when its shard stops, and one that asks the shard that has it meanwhile.
    assert (moves(ring), patches) == (2 * 400, 2 * 400), (moves(ring), patches)
    env.figure("patches in a rolling restart of 12 shards without grace, 400 objects", patches)


@suite.case("a shard that does not come back is failed over when its grace is over, not sooner; until then it gets objects")
def grace_is_over(env):
    ring = env.ring("grace")
    mark(env, "controllerrings", None, ring.name, grace_period="12s")
    with ring.shards(*NAMES, duration=6, renew_every=1, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(150)
        ring.wait_settled(NAMES)
        shards.release("shard-b")
        released = time.time()
        wait_until(lambda: state(shards.get("shard-b")) == "dead", 10, "the leader has seen it")
        ring.create_secrets(30, prefix="new")
        assert [name for name in with_label(ring, ring.label, "shard-b") if name.startswith("new-")]
        assert env.leader_metric("controller_sharding_shard_in_grace", controllerring=ring.name, shard="shard-b") == 1
        assert ring.status()["availableShards"] == 3
        check_failed_over(ring, shards, "shard-b", released + 12, ["shard-a", "shard-c"])
        # One that crashes is taken over one grace period later than else.
        shards.crash("shard-c")
        last = parse_time(shards.get("shard-c")["spec"]["renewTime"])
        check_failed_over(ring, shards, "shard-c", last + 6 + 12, ["shard-a"])


def check_failed_over(ring, shards, shard, earliest, rest):
    def taken_over(name, item):
        return name == shard and item["spec"].get("holderIdentity") == SHARDER_IDENTITY

    moved = moves(ring)
    wait_until(lambda: taken_over(shard, shards.get(shard)), 40, f"the Lease of {shard} is taken over")
    taken = parse_time(shards.get(shard)["spec"]["acquireTime"])
    assert earliest - 0.05 <= taken <= earliest + allowed(LATE), f"{taken - earliest:.2f} s after the grace"
    ring.wait_settled(rest)
    assert moves(ring, taken_over) == moved < moves(ring), "nothing moves before it"


@suite.case("a cordon ends the grace of a shard that is removed for good; a grace period that cannot be read is none")
def no_grace(env):
    ring = env.ring("no-grace")
    mark(env, "controllerrings", None, ring.name, grace_period="1h")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(60)
        ring.wait_settled(NAMES)
        shards.release("shard-b")
        wait_until(lambda: state(shards.get("shard-b")) == "dead", 10, "the leader has seen it")
        ring.wait_members(NAMES)
        cordon(ring, "shard-b")
        ring.wait_settled(["shard-a", "shard-c"])
        mark(env, "controllerrings", None, ring.name, grace_period="soon")
        wait_condition(ring, "GracePeriodValid", "InvalidDuration")
        assert '"soon"' in ring.condition("GracePeriodValid")["message"], ring.condition("GracePeriodValid")
        shards.release("shard-c")
        ring.wait_settled(["shard-a"])
        mark(env, "controllerrings", None, ring.name, grace_period=None)
        wait_condition(ring, "GracePeriodValid", "Valid")


@suite.case("another text of rebalance-requested-at: what only a pass finds is found now")
def rebalance(env):
    ring = env.ring("rebalanced")
    with ring.shards(*NAMES, working=True):
        ring.wait_ready(NAMES)
        ring.create_secrets(30)
        ring.wait_settled(NAMES)
        wait_until(lambda: len(env.plane.sharder_reads("secrets")) > 0, 20, "the first pass")
        time.sleep(12)  # past the second pass
        for text in ("once", "again"):
            env.admin.patch("secrets", ring.namespace, "s-0", {"metadata": {"labels": {ring.label: next(
                name for name in NAMES if name != oracle.Ring(NAMES).owner(f"/Secret/{ring.namespace}/s-0"))}}})
            time.sleep(2)
            assert ring.wrong(NAMES), "nobody looks so soon"
            mark(env, "controllerrings", None, ring.name, rebalance_requested_at=text)
            ring.wait_settled(NAMES, timeout=30)


if __name__ == "__main__":
    suite.main()
