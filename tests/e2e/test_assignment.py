#!/usr/bin/python3
"""Every object gets its shard when it is created, and what that costs (docs/protocol.md, sections 4 and 5).

Two replicas behind a balancer, 5 shards, 32 clients.
"""

import load
import oracle
from environment import Environment
from suite import Suite

SHARDS = [f"controller-{index}" for index in range(5)]
CLIENTS = 32

suite = Suite("assignment", lambda short: Environment(short=short), parallel=False)


def secret(name):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": "value"}}


def owned_config_map(owner):
    """The ConfigMap that a controller would make for a Secret."""
    name = owner["metadata"]["name"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": {"checksum": "0"}, "metadata": {
        "name": f"checksum-{name}", "ownerReferences": [{
            "apiVersion": "v1", "kind": "Secret", "name": name, "uid": owner["metadata"]["uid"],
            "controller": True, "blockOwnerDeletion": True}]}}


def create(env, resource, namespace, bodies):
    result = load.run(load.Target.of(env.admin), [load.creation(resource, namespace, body) for body in bodies], CLIENTS)
    assert not result.failures, f"{len(result.failures)} failed, the first: {result.failures[0]}"
    return result


@suite.case("20,000 Secrets and 5,000 ConfigMaps that some of them own: each has the shard that the oracle gives")
def twenty_thousand(env):
    secrets, config_maps = (1000, 250) if env.short else (20_000, 5_000)
    ring = env.ring("load")
    elsewhere = env.namespace("not-selected")
    with ring.shards(*SHARDS) as shards:
        ring.wait_ready(SHARDS)
        # The same creations in a namespace that the ring does not select, half before and half after.
        without = create(env, "secrets", elsewhere, [secret(f"before-{number}") for number in range(secrets // 8)])
        with_webhook = create(env, "secrets", ring.namespace, [secret(f"s-{number}") for number in range(secrets)])
        after = create(env, "secrets", elsewhere, [secret(f"after-{number}") for number in range(secrets // 8)])
        without.latencies += after.latencies

        created = env.admin.list("secrets", ring.namespace)
        assert len(created) == secrets, len(created)
        owned = create(env, "configmaps", ring.namespace,
                       [owned_config_map(owner) for owner in created[::secrets // config_maps][:config_maps]])
        assert not shards.lost, f"shards lost their Leases under load: {shards.lost}"

    owners = oracle.Ring(SHARDS)
    wrong = oracle.wrong_owners(created, "load", owners, "", "Secret")
    assert not wrong, f"{len(wrong)} of {len(created)} Secrets: {wrong[:5]}"
    maps = [item for item in env.admin.list("configmaps", ring.namespace) if item["metadata"].get("ownerReferences")]
    assert len(maps) == config_maps, len(maps)
    wrong = oracle.wrong_owners(maps, "load", owners)
    assert not wrong, f"{len(wrong)} of {len(maps)} ConfigMaps: {wrong[:5]}"
    unselected = [item for item in env.admin.list("secrets", elsewhere) if oracle.shard_of(item, "load")]
    assert not unselected, f"{len(unselected)} objects outside the selected namespaces have a shard"

    env.figure("creations of Secrets, 32 clients, with the webhook", with_webhook.summary())
    env.figure("the same without it", without.summary())
    env.figure("creations of owned ConfigMaps with the webhook", owned.summary())
    counts = [sum(1 for item in created if oracle.shard_of(item, "load") == shard) for shard in SHARDS]
    env.figure("Secrets a shard", counts)


@suite.case("one client after the other: what the webhook adds to a creation")
def one_client(env):
    ring = env.ring("single")
    elsewhere = env.namespace("single-not-selected")
    count = 100 if env.short else 1000
    target = load.Target.of(env.admin)
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        results = {}
        for title, namespace in (("without", elsewhere), ("with", ring.namespace)):
            requests = [load.creation("secrets", namespace, secret(f"s-{number}")) for number in range(count)]
            results[title] = load.run(target, requests, clients=1)
            assert not results[title].failures, results[title].failures[0]
    for title in ("with", "without"):
        result = results[title]
        env.figure(f"creations of Secrets, 1 client, {title} the webhook",
                   f"median {result.quantile(0.5) * 1000:.2f} ms, p99 {result.quantile(0.99) * 1000:.2f} ms")


if __name__ == "__main__":
    suite.main()
