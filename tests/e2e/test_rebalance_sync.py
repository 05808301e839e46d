#!/usr/bin/python3
"""What the passes over all objects do (docs/protocol.md, section 6), with a syncPeriod of 3 s; and that, when all is
done, nothing is patched any more."""

import time

import oracle
from environment import CONFIG_MAPS, SECRETS, Environment
from processes import wait_until
from suite import Suite

SYNC = 3

suite = Suite("rebalance_sync", lambda short: Environment(
    short=short, overrides={"controller": {"sharder": {"syncPeriod": f"{SYNC}s"}}}), parallel=False)

NAMES = ["shard-a", "shard-b", "shard-c"]


def wait_syncs(env, resources, since, count=2):
    """Until the leader has looked at all objects of these resources `count` times since then."""
    for resource in resources:
        wait_until(lambda resource=resource: sum(
            verb == "list" for verb, _, _ in env.plane.sharder_reads(resource, since)) >= count, (count + 2) * SYNC + 10,
                   f"{count} syncs of {resource}", interval=0.2)


@suite.case("20 shards named like a StatefulSet's, whose tokens collide, and a resource that is main and controlled: "
            "after the last change, through two syncs, not one patch")
def quiet(env):
    names = [f"ctl-{number}" for number in range(20)]
    # ConfigMaps are listed twice: as what Secrets own, and by themselves.
    ring = env.ring("quiet", resources=((SECRETS, (CONFIG_MAPS,)), (CONFIG_MAPS, ())))
    count = 300 if env.short else 1500
    with ring.shards(*names[:18], working=True) as shards:
        ring.wait_ready(names[:18])
        shards.agent.like_go(*names[::2])
        ring.create_secrets(count, owned=count // 3)
        ring.wait_settled(names[:18])
        shards.start(*names[18:])
        shards.release(names[4])
        members = [name for name in names if name != names[4]]
        ring.wait_settled(members, timeout=60)
        shards.start(names[4])  # the last change
        ring.wait_settled(names, timeout=60)
        report = shards.agent.at_rest(draining=0, without=0)
        assert not report["violation_count"], report["violations"]
        since, before = time.time(), ring.versions()
        wait_syncs(env, ("secrets", "configmaps"), since)
        patches = env.plane.sharder_patches(since=since)
        assert not patches, f"{len(patches)} patches after everything was where it belongs: {patches[:5]}"
        assert ring.versions() == before
        assert len({shard for _, shard in before.values()}) == len(names), "each of them has objects"
    env.admin.delete("controllerrings", None, ring.name)


@suite.case("a drain label on an object that is where it belongs, and the label of another living shard, are put right "
            "at the next sync")
def left_over(env):
    ring = env.ring("left-over")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(60, owned=30)
        ring.wait_settled(NAMES)
        shards.agent.acknowledge(False, *NAMES)
        before, since = ring.versions(), time.time()
        touched = set()
        for number in range(10):
            for resource, name in (("secrets", f"s-{number}"), ("configmaps", f"of-s-{number}")):
                env.admin.patch(resource, ring.namespace, name, {"metadata": {"labels": {ring.drain_label: ""}}})
                touched.add((resource, name))
        ring.wait_settled(NAMES, timeout=4 * SYNC + 10)
        patches = env.plane.sharder_patches(ring.namespace, since)
        assert {(patch.resource, patch.name) for patch in patches} == touched and len(patches) == 20, patches
        assert {name: shard for name, (_, shard) in ring.versions().items()} == \
               {name: shard for name, (_, shard) in before.items()}, "none moved"

        # With the label of another living shard: a Secret is drained, a ConfigMap reassigned.
        shards.agent.acknowledge(True, *NAMES)
        shards.agent.mark()
        for number in range(10, 20):
            for resource, name in (("secrets", f"s-{number}"), ("configmaps", f"of-s-{number}")):
                shard = before[resource, name][1]
                other = NAMES[(NAMES.index(shard) + 1) % len(NAMES)]
                env.admin.patch(resource, ring.namespace, name, {"metadata": {"labels": {ring.label: other}}})
        ring.wait_settled(NAMES, timeout=4 * SYNC + 10)
        shards.agent.at_rest(acknowledged=10, draining=0)
        assert {name: shard for name, (_, shard) in ring.versions().items()} == \
               {name: shard for name, (_, shard) in before.items()}
    env.admin.delete("controllerrings", None, ring.name)


@suite.case("a controlled object follows its owner: with another owner it moves at the next sync, without one it stays")
def follows(env):
    ring = env.ring("follows")
    owners = oracle.Ring(NAMES)
    with ring.shards(*NAMES, working=True):
        ring.wait_ready(NAMES)
        ring.create_secrets(40, owned=1)
        ring.wait_settled(NAMES)
        owned = env.admin.get("configmaps", ring.namespace, "of-s-0")
        other = next(item for item in ring.items("secrets")
                     if oracle.shard_of(item, ring.name) != oracle.shard_of(owned, ring.name))
        reference = {**owned["metadata"]["ownerReferences"][0], "name": other["metadata"]["name"],
                     "uid": other["metadata"]["uid"]}
        env.admin.patch("configmaps", ring.namespace, "of-s-0", {"metadata": {"ownerReferences": [reference]}})
        ring.wait_settled(NAMES, timeout=4 * SYNC)
        moved = env.admin.get("configmaps", ring.namespace, "of-s-0")
        assert oracle.shard_of(moved, ring.name) == owners.owner(oracle.controlled_key(moved))
        env.admin.patch("configmaps", ring.namespace, "of-s-0", {"metadata": {"ownerReferences": None}})
        free = env.admin.get("configmaps", ring.namespace, "of-s-0")
        wait_syncs(env, ("configmaps",), time.time())
        assert env.admin.get("configmaps", ring.namespace, "of-s-0") == free, "it has no key, so nobody touches it"


if __name__ == "__main__":
    suite.main()
