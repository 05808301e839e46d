#!/usr/bin/python3
"""An installation of the Go sharder v0.13 with 2,000 objects is taken over without one patch on an object, and so is one
of ours: by the audit log (tests/testdata/fixtures, docs/protocol.md)."""

import json
import time

import yaml

import load
import oracle
import test_adoption as adoption
from environment import Environment
from kubeclient import path_of
from processes import wait_until
from sharder import merge
from shards import Shards
from suite import Suite
from test_adoption import RING, fixture

suite = Suite("takeover", lambda short: Environment(short=short, start=False), parallel=False)

PAIRS = 1000


def write_many(env, shard_names):
    """PAIRS Secrets, each with a ConfigMap that it owns, where the Go sharder left them."""
    target = load.Target.of(env.admin)
    owners = oracle.Ring(shard_names)

    def labels(name):
        return {oracle.shard_label(RING): owners.owner(f"/Secret/default/{name}")}

    def create(resource, bodies):
        requests = [load.post(path_of(resource, "default", fieldManager="kubectl-create"), json.dumps(body).encode())
                    for body in bodies]
        result = load.run(target, requests, clients=16)
        assert not result.failures, result.failures[0]

    names = [f"many-{number}" for number in range(PAIRS)]
    create("secrets", [{"metadata": {"name": name, "labels": labels(name)}, "stringData": {"k": "v"}}
                       for name in names])
    uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in env.admin.list("secrets", "default")}
    create("configmaps", [{"metadata": {"name": f"of-{name}", "labels": labels(name), "ownerReferences": [{
        "apiVersion": "v1", "kind": "Secret", "name": name, "uid": uids[name], "controller": True}]}}
                          for name in names])


def as_the_go_sharder_ran(replica):
    """Gives the replica the fixture's configuration file, with this test's ports and files, and the arguments that the
    Go sharder had."""
    config = fixture("sharder-config")
    own = replica.config
    merge(config, {"health": own["health"], "metrics": own["metrics"], "controller": {"sharder": {"syncPeriod": "4s"}}})
    config["webhook"]["server"] = own["webhook"]["server"]
    config["webhook"]["config"]["clientConfig"] = own["webhook"]["config"]["clientConfig"]
    replica.config = config
    command = [str(part) for part in replica.process.command]
    replica.process.environment["KUBECONFIG"] = command[command.index("--kubeconfig") + 1]
    replica.process.command = [command[0], f"--config={command[command.index('--config') + 1]}",
                               "--zap-log-level=info", "--zap-encoder=json"]


def wait_looked_twice(env, since):
    """Until the leader has listed both resources twice since then."""
    def lists(resource):
        return sum(verb == "list" for verb, _, _ in env.plane.sharder_reads(resource, since))

    for resource in ("secrets", "configmaps"):
        wait_until(lambda resource=resource: lists(resource) >= 2, 60, f"{resource} were listed twice", interval=0.2)


def check_untouched(env, before, since):
    patches = env.plane.sharder_patches(since=since)
    assert not patches, f"{len(patches)} patches of objects: {patches[:5]}"
    assert adoption.objects(env) == before, "no object changed"


@suite.case("2,000 objects of the Go sharder: its configuration file and arguments, and no patch on an object")
def from_go(env):
    ring = adoption.write_ring(env)
    adoption.write_webhook_configuration(env, ring, f"https://127.0.0.1:{env.sharders.balancer_port}")
    env.shards = Shards(env.admin, RING, "default", duration=15)
    env.shards.__enter__()
    adoption.write_leases(env, env.shards)
    adoption.write_objects(env)
    write_many(env, env.shards.names())
    before = adoption.objects(env)
    assert len(before) >= 2 * PAIRS
    for replica in env.sharders.replicas:
        as_the_go_sharder_ran(replica)
    since = time.time()
    env.sharders.start()
    env.sharders.wait_leader()
    wait_until(lambda: env.admin.get("controllerrings", None, RING)["status"]["availableShards"] ==
               len(env.shards.names()), 20, "status")
    wait_looked_twice(env, since)
    check_untouched(env, before, since)
    # And it works: a new object has its shard, the old ones follow when a shard goes.
    wait_until(lambda: oracle.shard_of(env.admin.create("secrets", "default", {"metadata": {"name": "dry"}},
                                                        dryRun="All"), RING), 20, "the webhook")
    written = yaml.safe_load((env.sharders.replicas[0].folder / "sharder-0.yaml").read_text(encoding="utf-8"))
    assert written["clientConnection"] == {"qps": 2000, "burst": 3000}, written


@suite.case("one replica of ours is replaced by the other, twice: no patch on an object")
def replaced(env):
    before = adoption.objects(env)
    for _ in range(2):
        leader = env.sharders.wait_leader()
        other = next(replica for replica in env.sharders.replicas if replica is not leader)
        since = time.time()
        assert leader.process.stop(30) == 0
        wait_until(lambda other=other: env.sharders.leader() is other, 30, "the other leads")
        leader.start().wait_ready()
        wait_looked_twice(env, since)
        check_untouched(env, before, since)


@suite.case("then a shard goes: its objects move, and no others")
def shard_goes(env):
    before, since = adoption.objects(env), time.time()
    gone = env.shards.names()[0]
    env.shards.release(gone)
    owners = oracle.Ring(env.shards.names())
    wait_until(lambda: not oracle.wrong_owners(
        [item for item in env.admin.list("secrets", "default")], RING, owners, "", "Secret") and
        not oracle.wrong_owners(env.admin.list("configmaps", "default"), RING, owners), 30, "they move", interval=0.2)
    patches = {(patch.resource, patch.name) for patch in env.plane.sharder_patches(since=since)}
    assert patches == {name for name, (_, shard) in before.items() if shard == gone}, "exactly its objects"
    assert not env.shards.lost
    env.shards.__exit__()


if __name__ == "__main__":
    suite.main()
