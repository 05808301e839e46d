#!/usr/bin/python3
"""etcd is full: it takes no writes, reads work (docs/operations.md, "When something fails")."""

import time

from environment import Environment
from kubeclient import ApiError
from processes import wait_until
from suite import Suite
from test_rebalance_refusals import log_lines

# Nobody can renew then, so the leader of an election would lose its leadership: this one leads without.
ALONE = {"leaderElection": {"leaderElect": False}}
QUOTA = 24 << 20

suite = Suite("full_etcd", lambda short: Environment(replicas=1, short=short, overrides=ALONE, etcd_bytes=QUOTA))

NAMES = ["shard-a", "shard-b", "shard-c"]


@suite.case("etcd takes no writes, reads work: ready, one warning tells what patches of Leases meet, and they are few; "
            "when it takes them again, all is well", short=False)
def full(env):
    ring = env.ring("full")
    replica = env.sharders.replicas[0]
    with ring.shards(*NAMES, duration=6, renew_every=1):
        ring.wait_ready(NAMES)
        fill(env, ring.namespace)
        since = time.time()
        wait_until(lambda: log_lines(env, '"warn', ring.name, "cannot set a shard lease's state label", "500"), 60,
                   "the log tells of the Leases")
        told = time.time() - since
        for _ in range(30):
            assert replica.ready(), replica.health("/readyz")
            time.sleep(1)
        said = log_lines(env, '"warn', ring.name, "shard leases cannot be cared for")
        assert len(said) == 1, said
        patches = [request for request in env.plane.sharder_requests() if request[:3] == ("patch", "leases", 500)]
        env.plane.enlarge_etcd()
        ring.wait_ready(NAMES, timeout=60)
        wait_until(lambda: log_lines(env, ring.name, "shard leases can be cared for again"), 60, "the log says so")
        env.figure("etcd takes no writes", f"told after {told:.1f} s; {len(patches)} Lease patches of three shards")


def fill(env, namespace):
    """Until etcd refuses more."""
    for number in range(100):
        try:
            env.admin.create("configmaps", namespace, {"metadata": {"name": f"large-{number}"},
                                                       "data": {"large": "x" * 1000000}})
        except ApiError as error:
            assert error.status == 500 and "space" in error.message, error
            return
    raise AssertionError("etcd is not full")


if __name__ == "__main__":
    suite.main()
