#!/usr/bin/python3
"""Upgrades, an outage that the operator wants, and removal: what is left afterwards, and the command that takes the labels
off users' objects (docs/install/remove.md)."""

import time

from whole import Whole  # first: it finds the modules of tests/e2e
from installation import CRD

import documents
import oracle
from cluster import SYSTEM_NAMESPACE
from processes import wait_until
from suite import Suite

NAMES = ["shard-a", "shard-b", "shard-c"]
suite = Suite("kind: removal", Whole, parallel=False)


def _ready(ring, shards=3):
    wait_until(lambda: ring.status().get("availableShards") == shards and ring.condition().get("status") == "True", 40,
               f"{ring.name} is ready")
    ring.wait_webhook(40)


@suite.case("kustomize: the sharder is scaled to 0 and back; what was created meanwhile is assigned on its return, and removal "
            "leaves nothing but the labels")
def kustomize(env):
    env.installation.apply("self-managed")
    installed = time.time()
    ring = env.ring("kustomized")
    with ring.shards(*NAMES, working=True):
        _ready(ring)
        env.figure("pods after installation", env.installation.footprint())
        ring.create_secrets(50)
        env.installation.scale(0)
        ring.create_secrets(50, prefix="meanwhile")
        assert not any(oracle.shard_of(item, ring.name) for item in ring.items("secrets")
                       if item["metadata"]["name"].startswith("meanwhile")), "assigned by nobody"
        env.installation.scale(2)
        ring.wait_settled(NAMES, 60)
        _ready(ring)
        env.check_permissions(installed)
        env.installation.remove_rings()
        env.installation.delete()
    _check_removed(env, ring)


@suite.case("Helm: removal in the documented order leaves nothing but the labels, and a documented command removes those")
def helm(env):
    env.installation.helm("install", rings=[])
    installed = time.time()
    ring = env.ring("helmed")
    with ring.shards(*NAMES, working=True):
        _ready(ring)
        ring.create_secrets(50)
        env.check_permissions(installed)
        env.installation.remove_rings()
        env.installation.helm("uninstall", "--wait")
        env.plane.kubectl("delete", "crd", CRD, "--timeout=60s")
        env.plane.kubectl("delete", "namespace", SYSTEM_NAMESPACE, "--timeout=100s")
    _check_removed(env, ring)


def _check_removed(env, ring):
    env.installation.wait_nothing_left()
    assert all(oracle.shard_of(item, ring.name) for item in ring.items("secrets")), "labels on users' objects stay"
    *_, labels = documents.blocks("install/remove.md", "kind")
    documents.run(labels, env.plane.kubeconfig, env.plane.kubectl_program.parent, replace=[
        ("ring=my-controller resource=deployments.apps", f"ring={ring.name} resource=secrets")])
    left = [item["metadata"]["labels"] for item in ring.items("secrets") if item["metadata"].get("labels")]
    assert not left, left[:3]
    env.plane.kubectl("delete", "namespace", ring.namespace, "--timeout=60s")
    env.namespace(SYSTEM_NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})


if __name__ == "__main__":
    suite.main()
