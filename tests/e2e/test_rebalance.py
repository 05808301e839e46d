#!/usr/bin/python3
"""Shards come, go and crash, and every object finds its live shard (docs/protocol.md, section 6). Each case has its own
ring and namespace, and shards that acknowledge drains."""

import time

import oracle
from agent import overlaps
from environment import CONFIG_MAPS, SECRETS, Environment
from kubeclient import JSON_PATCH
from processes import Failed, allowed, wait_until
from shards import SHARDER_IDENTITY, parse_time
from suite import Suite

suite = Suite("rebalance", lambda short: Environment(short=short))

NAMES = ["shard-a", "shard-b", "shard-c"]
DURATION = 6  # of Leases that are renewed every second: a slow machine must not lose them
# What a machine that runs other tests too may add; rebalance_speed has the figure of an idle one.
LATE = 4.0
COUNTED = 40  # until drains are counted: every 5 s, and with pauses of 50 times the length of a count
CLUSTER_ROLES = ("rbac.authorization.k8s.io", "clusterroles", "v1", "ClusterRole")
NAMESPACES = ("", "namespaces", "v1", "Namespace")


def check_work(env, shards):
    """No shard lost a main object that it had not let go, and no two worked on one at the same time."""
    report = shards.agent.at_rest(draining=0)
    assert not report["violation_count"], report["violations"]
    history = shards.agent.history(env.plane.folder)
    mains = {name: intervals for name, intervals in history.items() if not name.startswith("configmaps/")}
    assert any(mains.values()), "nobody worked"
    both = overlaps(mains)
    assert not both, f"two shards at once worked on {len(both)}: {both[:3]}"
    assert not shards.lost, shards.lost


def wait_counted(env, what, count, **labels):
    """Until the leader has counted so many, which it does when the answers to its patches come."""
    counted = []

    def right():
        counted[:] = [env.leader_metric(f"controller_sharding_{what}_total", **labels)]
        return counted == [count]

    try:
        wait_until(right, 10, f"{count} {what} are counted")
    except Failed as failed:
        raise Failed(f"{failed}: {counted}") from None


def belonging(ring, before, members, shard):
    """{name: the shard that it had} of the main objects in what versions() said that this member of the ring gets."""
    owners = oracle.Ring(members)
    return {name: had for (resource, name), (_, had) in before.items() if resource == "secrets" and had != shard and
            owners.owner(f"/Secret/{ring.namespace}/{name}") == shard}


@suite.case("a shard is released: its objects move to the shards that the oracle gives, each with one patch, no other")
def released(env):
    names = [f"shard-{number}" for number in range(5)]
    ring = env.ring("released")
    with ring.shards(*names, working=True) as shards:
        ring.wait_ready(names)
        ring.create_secrets(300, owned=100)
        ring.wait_settled(names)
        before, since = ring.versions(), time.time()
        shards.release("shard-2")
        names.remove("shard-2")
        ring.wait_settled(names)
        moved = ring.moved_once(before, since)
        assert moved == {name for name, (_, shard) in before.items() if shard == "shard-2"}, "exactly its objects"
        assert any(resource == "configmaps" for resource, _ in moved), moved
        check_work(env, shards)
        wait_counted(env, "movements", len(moved), controllerring=ring.name, group="")
        assert not env.leader_metric("controller_sharding_drains_total", controllerring=ring.name)


@suite.case("a shard crashes: its first object moves when its Lease is taken over, not before, and soon after")
def crashed(env):
    ring = env.ring("crashed")
    with ring.shards(*NAMES, duration=DURATION, renew_every=1, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(200, owned=50)
        ring.wait_settled(NAMES)
        before, since = ring.versions(), time.time()
        shards.agent.mark()
        shards.crash("shard-b")
        last = parse_time(shards.get("shard-b")["spec"]["renewTime"])
        ring.wait_settled(["shard-a", "shard-c"], timeout=2 * DURATION + 60)
        taken = shards.get("shard-b")["spec"]
        assert taken["holderIdentity"] == SHARDER_IDENTITY, taken
        moved = ring.moved_once(before, since)
        first = shards.agent.at_rest(moved=len(moved))["first_move"]
        assert parse_time(taken["acquireTime"]) - 0.01 <= first, "before the Lease was taken over"
        assert last + 2 * DURATION - 0.01 <= first <= last + 2 * DURATION + allowed(LATE), f"{first - last:.2f} s after its end"
        assert moved == {name for name, (_, shard) in before.items() if shard == "shard-b"}, "exactly its objects"
        check_work(env, shards)


@suite.case("a shard joins: main objects are drained, acknowledged and moved, none without its shard letting it go; "
            "the webhook is not called for them; what they own follows at once")
def joins(env):
    ring = env.ring("joins")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(300, owned=100)
        ring.wait_settled(NAMES)
        before, since, assigned = ring.versions(), time.time(), env.assignments(ring.name)
        shards.agent.mark()
        shards.start("shard-d")
        ring.wait_settled(NAMES + ["shard-d"])
        moved = ring.moved_once(before, since)
        mains = {name for resource, name in moved if resource == "secrets"}
        assert mains == set(belonging(ring, before, NAMES + ["shard-d"], "shard-d")), "exactly the new shard's objects"
        shards.agent.at_rest(acknowledged=len(mains), targeted=len(mains), moved=len(moved), draining=0)
        assert env.assignments(ring.name) == assigned > 0, "the webhook has assigned some of them"
        check_work(env, shards)
        history = shards.agent.history(env.plane.folder)
        for name in mains:
            intervals = history[f"secrets/{ring.namespace}/{name}"]
            assert [one[3] for one in intervals] == ["acknowledged", ""], (name, intervals)
            assert intervals[1][0] == "shard-d", (name, intervals)
        wait_counted(env, "drains", len(mains), controllerring=ring.name, resource="secrets")
        assert not env.leader_metric("controller_sharding_drains_total", controllerring=ring.name,
                                     resource="configmaps")


@suite.case("both kinds of shard are in one ring: each acknowledges in its way; a shard that is called `true` gets its "
            "objects by the webhook")
def both_kinds(env):
    ring = env.ring("both-kinds")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        shards.agent.like_go("shard-b")
        ring.create_secrets(300)
        ring.wait_settled(NAMES)
        members = list(NAMES)
        for joins, targets in (("shard-d", True), ("true", False), ("shard-e", True)):
            before, since, assigned = ring.versions(), time.time(), env.assignments(ring.name)
            shards.agent.mark()
            shards.start(joins)
            members.append(joins)
            ring.wait_settled(members)
            ring.moved_once(before, since)
            had = belonging(ring, before, members, joins)
            by_webhook = [name for name, shard in had.items() if shard == "shard-b" or not targets]
            assert by_webhook and (targets == (len(by_webhook) < len(had))), (joins, had)
            shards.agent.at_rest(acknowledged=len(had), targeted=len(had) - len(by_webhook), moved=len(had), draining=0)
            assert env.assignments(ring.name) - assigned == len(by_webhook), joins
        check_work(env, shards)


@suite.case("a drain that is never acknowledged stays, shows in the metrics, and blocks nothing else")
def unacknowledged(env):
    ring = env.ring("stubborn")
    labels = {"controllerring": ring.name, "group": "", "resource": "secrets"}
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(300, owned=50)
        ring.wait_settled(NAMES)
        shards.agent.acknowledge(False, "shard-a")
        shards.agent.like_go(*NAMES)
        begun = time.monotonic()
        shards.start("shard-d")
        joined = oracle.Ring(NAMES + ["shard-d"])
        stuck = {item["metadata"]["name"] for item in ring.items("secrets")
                 if oracle.shard_of(item, ring.name) == "shard-a" and
                 joined.owner(f"/Secret/{ring.namespace}/{item['metadata']['name']}") == "shard-d"}
        assert stuck

        def free(item):
            return item["metadata"]["name"] not in stuck

        def drained():
            return {item["metadata"]["name"]: (oracle.shard_of(item, ring.name), oracle.target_of(item, ring.name))
                    for item in ring.items("secrets") if ring.drain_label in item["metadata"]["labels"]}

        ring.wait_settled(NAMES + ["shard-d"], selects=free)
        wait_until(lambda: drained() == dict.fromkeys(stuck, ("shard-a", "shard-d")), 10, "they drain and stay")
        wait_until(lambda: env.leader_metric("controller_sharding_draining_objects", **labels) == len(stuck), COUNTED,
                   "they are counted")
        oldest = env.leader_metric("controller_sharding_oldest_drain_seconds", **labels)
        assert 0 < oldest <= time.monotonic() - begun, oldest
        # Meanwhile a shard goes, one comes, and objects are made.
        shards.release("shard-c")
        ring.wait_settled(["shard-a", "shard-b", "shard-d"], selects=free)
        ring.create_secrets(30, prefix="late")
        ring.wait_settled(["shard-a", "shard-b", "shard-d"], selects=free)
        assert drained() == dict.fromkeys(stuck, ("shard-a", "shard-d"))
        wait_until(lambda: env.leader_metric("controller_sharding_oldest_drain_seconds", **labels) >= oldest + 1,
                   COUNTED, "the oldest drain grows older")
        shards.agent.acknowledge(True, "shard-a")
        ring.wait_settled(["shard-a", "shard-b", "shard-d"])
        wait_until(lambda: env.leader_metric("controller_sharding_draining_objects", **labels) == 0 and
                   env.leader_metric("controller_sharding_oldest_drain_seconds", **labels) == 0, COUNTED,
                   "none drains")
        check_work(env, shards)


@suite.case("a resource added to a ring is sharded at once; one that was removed keeps its labels")
def resources_change(env):
    ring = env.ring("resources", resources=((SECRETS, ()),))
    env.plane.grant_sharding("ring-resources-more", {"": ["configmaps"]})
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(60)
        for number in range(60):
            env.admin.create("configmaps", ring.namespace, {"metadata": {"name": f"c-{number}"}})
        ring.wait_settled(NAMES)
        assert not [item for item in ring.items("configmaps") if oracle.shard_of(item, ring.name)]

        ring.resources = ((SECRETS, ()), (CONFIG_MAPS, ()))
        env.admin.patch("controllerrings", None, ring.name, {"spec": ring.manifest()["spec"]})
        ring.wait_settled(NAMES, timeout=10)

        ring.resources = ((CONFIG_MAPS, ()),)
        env.admin.patch("controllerrings", None, ring.name, {"spec": ring.manifest()["spec"]})
        wait_until(lambda: ring.condition().get("observedGeneration") == 3, 10, "the change is observed")
        before = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in ring.items("secrets")}
        shards.release("shard-b")
        ring.wait_settled(["shard-a", "shard-c"])
        shards.start("shard-d")
        # Nobody acknowledges for ConfigMaps here, which the agent does not watch: those that move drain.
        wait_until(lambda: len([item for item in ring.items("configmaps")
                                if ring.drain_label in item["metadata"]["labels"]]) ==
                   len([line for line in ring.wrong(["shard-a", "shard-c", "shard-d"]) if "belongs" in line]) > 0,
                   10, "they drain")
        after = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in ring.items("secrets")}
        assert before == after, "a resource that was removed is left alone"


@suite.case("another namespaceSelector, and labels of a namespace, count at once; what leaves the ring keeps its labels")
def selector_changes(env):
    first, second, third = (env.namespace(f"selected-{number}") for number in range(3))
    ring = env.ring("selected", namespace=first)
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        for namespace in (first, second, third):
            for number in range(20):
                env.admin.create("secrets", namespace, {"metadata": {"name": f"s-{number}"}})

        def secrets(namespace):
            return env.admin.list("secrets", namespace)

        def settled(namespace, shard_names):
            return not oracle.wrong_owners(secrets(namespace), ring.name, oracle.Ring(shard_names), "", "Secret")

        ring.wait_settled(NAMES)
        assert not any(oracle.shard_of(item, ring.name) for item in secrets(second) + secrets(third))
        env.admin.patch("controllerrings", None, ring.name, {"spec": {"namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": second}}}})
        wait_until(lambda: settled(second, NAMES), 10, "the other namespace is sharded")
        left = secrets(first)
        env.admin.patch("controllerrings", None, ring.name, {"spec": {"namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": None, "sharded": "yes"}}}})
        wait_until(lambda: ring.condition().get("observedGeneration") == 3, 10, "the change is observed")
        env.admin.patch("namespaces", None, third, {"metadata": {"labels": {"sharded": "yes"}}})
        wait_until(lambda: settled(third, NAMES), 10, "the namespace that now has the label is sharded")
        left += secrets(second)
        shards.release("shard-b")
        wait_until(lambda: settled(third, ["shard-a", "shard-c"]), 10, "its objects move")
        assert secrets(first) + secrets(second) == left, "what left the ring is as it was"


@suite.case("a ring that is deleted has nothing moved any more")
def ring_deleted(env):
    ring, witness = env.ring("doomed"), env.ring("witness")
    with ring.shards(*NAMES, working=True) as shards, witness.shards(*NAMES, working=True) as others:
        for one in (ring, witness):
            one.wait_ready(NAMES)
            one.create_secrets(100, owned=20)
            one.wait_settled(NAMES)

        def has_gauges():
            env.sharders.wait_leader()
            return env.leader_metric("controller_sharding_draining_objects", controllerring=ring.name) is not None

        wait_until(has_gauges, 10, "it has gauges")
        before = ring.versions()
        env.admin.delete("controllerrings", None, ring.name)
        env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}")  # garbage collection
        # Rings and Leases come by two watches: the leader is to know of the deletion before it knows of the shards.
        wait_until(lambda: not has_gauges(), 10, "its gauges are gone")
        shards.release("shard-b")
        others.release("shard-b")
        shards.start("shard-d")
        others.start("shard-d")
        witness.wait_settled(["shard-a", "shard-c", "shard-d"])
        others.release("shard-a")  # and once more, so that slower work for the other ring would show
        witness.wait_settled(["shard-c", "shard-d"])
        assert ring.versions() == before
        assert not has_gauges()


@suite.case("cluster-scoped objects are assigned and move")
def cluster_scoped(env):
    # A role may be patched only by somebody who has all that it permits, or may escalate.
    ring = env.ring("roles", resources=((CLUSTER_ROLES, ()),), verbs=("list", "watch", "patch", "escalate"))
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_settled(NAMES, timeout=30)
        assert len(ring.items("clusterroles")) > 50
        shards.release("shard-b")
        ring.wait_settled(["shard-a", "shard-c"], timeout=30)
        shards.start("shard-d")
        ring.wait_settled(["shard-a", "shard-c", "shard-d"], timeout=30)
        report = shards.agent.at_rest(draining=0)
        assert not report["violation_count"] and report["acknowledged"] > 0, report


@suite.case("of the resource namespaces itself, those are sharded whose own labels the selector matches")
def namespaces(env):
    ring = env.ring("tenants", resources=((NAMESPACES, ()),), selector={"matchLabels": {"tenant": "yes"}})

    def tenant(item):
        return item["metadata"].get("labels", {}).get("tenant") == "yes"

    with ring.shards(*NAMES, working=True) as shards:
        for number in range(30):
            env.namespace(f"tenant-{number}", {"tenant": "yes"})
        env.namespace("no-tenant", {"tenant": "no"})
        ring.wait_settled(NAMES, selects=tenant)
        shards.release("shard-c")
        ring.wait_settled(["shard-a", "shard-b"], selects=tenant)
        shards.start("shard-d")
        ring.wait_settled(["shard-a", "shard-b", "shard-d"], selects=tenant)
        env.admin.patch("namespaces", None, "no-tenant", {"metadata": {"labels": {"tenant": "yes"}}})
        ring.wait_settled(["shard-a", "shard-b", "shard-d"], selects=tenant)
        others = [item["metadata"]["name"] for item in ring.items("namespaces")
                  if not tenant(item) and oracle.shard_of(item, ring.name)]
        assert not others, others
        check_work(env, shards)


@suite.case("a shard label that no shard ever had, and an empty one, are put right within seconds")
def odd_labels(env):
    ring = env.ring("odd")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(30, owned=30)
        ring.wait_settled(NAMES)
        escaped = ring.label.replace("/", "~1")
        for number in range(10):
            for resource, prefix in (("secrets", "s"), ("configmaps", "of-s")):
                env.admin.patch(resource, ring.namespace, f"{prefix}-{number}", [
                    {"op": "replace", "path": f"/metadata/labels/{escaped}",
                     "value": ("nobody", "", "shard-z")[number % 3]}], JSON_PATCH)
        began = time.monotonic()
        ring.wait_settled(NAMES, timeout=10)
        took = time.monotonic() - began
        # The drain label goes in the same patch.
        since = time.time()
        for number in range(10, 20):
            env.admin.patch("secrets", ring.namespace, f"s-{number}", {"metadata": {"labels": {
                ring.label: "nobody", ring.drain_label: "true"}}})
        ring.wait_settled(NAMES, timeout=10)
        patches = env.plane.sharder_patches(ring.namespace, since)
        assert len(patches) == 10 and {patch.code for patch in patches} == {200}, patches
        assert not shards.lost
        env.figure("20 odd labels, seconds until they are right", f"{took:.2f}")


@suite.case("objects that are being deleted move like others")
def being_deleted(env):
    ring = env.ring("finalized")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        shards.agent.like_go(*NAMES)
        for number in range(60):
            env.admin.create("secrets", ring.namespace, {"metadata": {"name": f"s-{number}",
                                                                      "finalizers": ["e2e.test/held"]}})
        ring.wait_settled(NAMES)
        for number in range(60):
            env.admin.delete("secrets", ring.namespace, f"s-{number}")
        shards.release("shard-a")
        ring.wait_settled(["shard-b", "shard-c"])
        shards.start("shard-d")
        ring.wait_settled(["shard-b", "shard-c", "shard-d"])
        items = ring.items("secrets")
        assert len(items) == 60 and all("deletionTimestamp" in item["metadata"] for item in items)
        check_work(env, shards)
        for item in items:
            env.admin.patch("secrets", ring.namespace, item["metadata"]["name"], {"metadata": {"finalizers": None}})


@suite.case("no shard is left: objects keep their labels; when one comes, it gets them all")
def no_shard(env):
    ring = env.ring("empty")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(60, owned=20)
        ring.wait_settled(NAMES)
        shards.release("shard-a", "shard-b")
        ring.wait_settled(["shard-c"])
        before = ring.versions()
        shards.release("shard-c")
        wait_until(lambda: ring.status().get("availableShards") == 0, 10, "none is available")
        env.admin.create("secrets", ring.namespace, {"metadata": {"name": "later"}})
        assert {name: version for name, version in ring.versions().items() if name[1] != "later"} == before
        shards.start("shard-e")
        ring.wait_settled(["shard-e"])
        check_work(env, shards)


if __name__ == "__main__":
    suite.main()
