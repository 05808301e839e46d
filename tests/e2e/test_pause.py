#!/usr/bin/python3
"""An API server that stands still for 40 s: longer than any Lease, and yet no shard loses its own on its return
(docs/protocol.md, section 9: only time in which the leader's watch was healthy counts)."""

import time

from environment import Environment
from kubeclient import Recorder
from processes import wait_until
from shards import SHARDER_IDENTITY
from suite import Suite

suite = Suite("pause", lambda short: Environment(short=short))

PAUSE = 40
NAMES = ["shard-a", "shard-b", "shard-c", "shard-d", "shard-e"]


@suite.case("API server paused for 40 s: no take-over on its return of shards that renew at once", short=False)
def paused(env):
    ring = env.ring("pause")
    with Recorder(env.admin, "leases", ring.namespace) as leases, ring.shards(*NAMES, duration=15) as shards:
        ring.wait_ready(NAMES)
        env.sharders.wait_leader()
        env.plane.apiserver.pause()
        try:
            end = time.monotonic() + PAUSE
            while time.monotonic() < end:
                for replica in env.sharders.replicas:
                    assert replica.ready(), replica.health("/readyz")
                ring.wait_members(NAMES, timeout=2)
                time.sleep(0.5)
        finally:
            env.plane.apiserver.resume()
        back = time.time()
        env.plane.wait_ready()
        wait_until(env.sharders.leader, 30, "somebody leads again")
        leads = time.time() - back
        end = time.monotonic() + 20  # longer than leaseDuration: whoever would take over has done so
        while time.monotonic() < end:
            assert not shards.lost, f"taken over: {shards.lost}"
            ring.wait_members(NAMES, timeout=5)
            time.sleep(0.2)
        taken = [item["metadata"]["name"] for _, _, item in leases.history
                 if item["spec"].get("holderIdentity") == SHARDER_IDENTITY]
        assert not taken, f"taken over: {taken}"
        assert all(shards.get(name)["spec"]["leaseTransitions"] == 0 for name in NAMES)
        ring.wait_ready(NAMES)
        # And one that does not come back is taken over as ever.
        shards.crash("shard-e")
        wait_until(lambda: shards.get("shard-e")["spec"]["holderIdentity"] == SHARDER_IDENTITY, 60, "a real crash")
        ring.wait_ready(NAMES[:-1])
        assert not shards.lost, shards.lost
    env.figure(f"API server paused for {PAUSE} s", f"no take-over of {len(NAMES)} living shards (protocol: none); "
               f"a leader again {leads:.1f} s after its return")


if __name__ == "__main__":
    suite.main()
