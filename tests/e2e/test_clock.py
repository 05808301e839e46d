#!/usr/bin/python3
"""A leader whose wall clock is wrong (docs/protocol.md, section 9: take-overs trust only the monotonic clock).

libfaketime moves CLOCK_REALTIME of all replicas and leaves CLOCK_MONOTONIC and CLOCK_BOOTTIME alone.
"""

import time

from environment import Environment
from processes import faketime_environment, wait_until
from shards import SHARDER_IDENTITY, parse_time, state
from suite import Suite

suite = Suite("clock")

DURATION = 6
NAMES = ["shard-a", "shard-b", "shard-c"]


@suite.case("a leader 60 s ahead takes no living shard's Lease, and a crashed one's in due time", short=False)
def ahead(bare):
    with Environment(short=bare.short, variables=faketime_environment("+60s")) as env:
        ring = env.ring("ahead")
        with ring.shards(*NAMES, duration=DURATION, renew_every=2) as shards:
            ring.wait_ready(NAMES)
            wait_until(lambda: state(shards.get("shard-a")) == "uncertain", 10, "by its clock all are long expired")
            watched = time.monotonic()
            while time.monotonic() < watched + 4 * DURATION:
                assert not shards.lost, f"taken over while it renewed: {shards.lost}"
                ring.wait_members(NAMES, timeout=2)
                time.sleep(0.2)
            assert all(shards.get(name)["spec"]["leaseTransitions"] == 0 for name in NAMES)

            shards.crash("shard-b")
            last = parse_time(shards.get("shard-b")["spec"]["renewTime"])
            wait_until(lambda: shards.get("shard-b")["spec"]["holderIdentity"] == SHARDER_IDENTITY, 4 * DURATION,
                       "the crashed one is taken over")
            taken = time.time() - last  # by our clock: the Lease has the leader's
            assert taken >= DURATION, f"taken over {taken:.2f} s after its last renewal"
            ring.wait_members(["shard-a", "shard-c"], timeout=5)
            assert not shards.lost, shards.lost
        bare.figure(f"leader 60 s ahead, Lease of {DURATION} s",
                    f"living shards kept theirs for {4 * DURATION} s; a crashed one's was taken over {taken:.1f} s after "
                    f"its last renewal (protocol: at least {DURATION})")


@suite.case("a leader 60 s behind sees a crash late, and takes nothing from the living", short=False)
def behind(bare):
    with Environment(short=bare.short, variables=faketime_environment("-60s")) as env:
        ring = env.ring("behind")
        with ring.shards(*NAMES, duration=DURATION, renew_every=2) as shards:
            ring.wait_ready(NAMES)
            shards.crash("shard-b")
            end = time.monotonic() + 3 * DURATION
            while time.monotonic() < end:
                ring.wait_members(NAMES, timeout=2)  # its Lease is valid for a minute more, by the leader's clock
                time.sleep(0.2)
            shards.release("shard-c")
            ring.wait_members(["shard-a", "shard-b"], timeout=5)
            assert not shards.lost, shards.lost


if __name__ == "__main__":
    suite.main()
