#!/usr/bin/python3
"""The page `On kind`, block by block, but for those that make the cluster and delete it."""

from whole import Whole  # first: it finds the modules of tests/e2e
import images

import binaries
import documents
import oracle
from processes import wait_until
from programs import HELM_VERSION
from suite import Suite

RING = NAME = "checksums"
DEMO = "demo"
PAGE = "getting-started/kind.md"


class Newcomer(Whole):
    """A cluster without a sharder."""

    def __exit__(self, *exception):
        self.plane.kubectl("delete", "clusterrole,clusterrolebinding", f"sharding:ring:{RING}", "--ignore-not-found")
        self.plane.kubectl("delete", "namespace", DEMO, "--ignore-not-found", "--timeout=100s", check=False)
        super().__exit__(*exception)


suite = Suite("kind: documents", Newcomer, parallel=False)


@suite.case("each block of `On kind` does what the page says")
def on_kind(env):
    build, install, ring, create, scale, fail = documents.blocks(PAGE, "kind")
    helm = binaries.tool("helm.sh/helm/v3", HELM_VERSION, "cmd/helm")

    def run(block, timeout=300):
        return documents.run(block, env.plane.kubeconfig, env.plane.kubectl_program.parent, helm.parent,
                             environment=images.build_environment(), timeout=timeout)

    def shards():
        return sorted({oracle.shard_of(item, RING) for item in env.admin.list("secrets", DEMO)} - {None})

    def available(count):
        return env.admin.get("controllerrings", None, NAME).get("status", {}).get("availableShards") == count

    run(build, timeout=2400)  # compiles all, unless docker has it from the images that other files use
    env.plane.load("sharder:demo", "checksum-controller:demo")
    run(install)
    run(ring)
    wait_until(lambda: available(3), 60, "three shards")
    run(create)
    secrets = env.admin.list("secrets", DEMO)
    assert len(secrets) == 30 and all(oracle.shard_of(item, RING) for item in secrets), "each Secret has its shard"
    wait_until(lambda: {item["metadata"]["name"] for item in env.admin.list("configmaps", DEMO)} >=
               {f"checksums-object-{number}" for number in range(1, 31)}, 60, "each Secret has its ConfigMap")
    run(scale)
    wait_until(lambda: available(5) and len(shards()) == 5, 90, "all five have objects")
    run(fail)
    wait_until(lambda: available(5), 120, "another pod has taken its place")


if __name__ == "__main__":
    suite.main()
