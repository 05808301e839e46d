#!/usr/bin/python3
"""How fast objects move, next to bare label patches on the same API server; and what that costs in memory.

The measured operation and the reference alternate, each on objects that nobody has patched before; medians of 5. The
reference is h2load (reference.py) at the best of 8, 16, 32, 64 and 128 in flight. Run alone:

    tests/e2e/run.py --long rebalance_speed
"""

import statistics
import time

import oracle
from environment import CONFIG_MAPS, SECRETS, Environment
from kubeclient import path_of
from processes import wait_until
from reference import Reference, best_in_flight
from shards import SHARDER_IDENTITY, parse_time
from suite import Suite



class Direct(Environment):
    """The API server calls one of the replicas directly: a Service costs nothing, but our balancer in Python does."""

    def __enter__(self):
        super().__enter__()
        url = f"https://127.0.0.1:{self.sharders.replicas[0].port}"
        for replica in self.sharders.replicas:
            replica.config["webhook"]["config"]["clientConfig"]["url"] = url
        self.sharders.start()
        return self


suite = Suite("rebalance_speed", lambda short: Direct(short=short, start=False, audit_log=False), parallel=False)

OBJECTS = 22_000
ROUNDS = 5
NAMES = [f"shard-{number}" for number in range(5)]
MOST_RELEASE, MOST_JOIN = 1.3, 1.5
MOST_GROWTH = 2 * 2**20
LABEL = oracle.shard_label("reference")


class Bench:
    """Fresh objects, moves of them, and bare patches of as many others."""

    def __init__(self, env):
        self.env, self.reference = env, Reference(env.plane)
        self._count = 0

    def _namespace(self, prefix):
        self._count += 1
        return self.env.namespace(f"{prefix}-{self._count}")

    def fresh_paths(self, count):
        """Paths of `count` new Secrets with a label, which no ring selects."""
        namespace = self._namespace("bare")
        body = {"metadata": {"generateName": "s-", "labels": {LABEL: "shard-0"}}, "stringData": {"key": "value"}}
        self.reference.create(path_of("secrets", namespace), body, count)
        return [path_of("secrets", namespace, item["metadata"]["name"])
                for item in self.env.admin.list("secrets", namespace)]

    def bare(self, count, in_flight):
        """Seconds of `count` bare patches of fresh objects."""
        return self.reference.patch_label(self.fresh_paths(count), LABEL, "shard-1", in_flight)

    def ring(self, objects):
        """A ring with fresh objects, assigned: (ring, shards' context entered)."""
        name = f"speed-{self._count}"
        ring = self.env.ring(name, resources=((SECRETS, ()),), namespace=self._namespace("moved"))
        context = ring.shards(*NAMES, duration=60, working=True)
        shards = context.__enter__()
        ring.wait_ready(NAMES)
        body = {"metadata": {"generateName": "s-"}, "stringData": {"key": "value"}}
        self.reference.create(path_of("secrets", ring.namespace), body, objects, in_flight=32)
        wait_until(lambda: shards.agent.report()["objects"] == objects, 60, "the agent has seen all")
        ring.wait_settled(NAMES, timeout=60)
        return ring, shards, context

    def remove(self, ring, context):
        context.__exit__(None, None, None)
        self.env.admin.delete("controllerrings", None, ring.name)
        self.env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}")


def timed(shards, change, counts, timeout=120):
    """Seconds from just before change() until the agent, which follows all objects, sees these counts of objects by
    shard and no drain."""
    shards.agent.mark()
    began = time.time()
    change()
    wait_until(lambda: (lambda report: report["shards"] == counts and not report["draining"])(shards.agent.report()),
               timeout, "every object has its new shard", interval=0.01)
    report = shards.agent.report()
    assert not report["violation_count"], report["violations"]
    return report["last_move"] - began, report["moved"]


def expected_counts(ring, members):
    owners = oracle.Ring(members)
    counts = {}
    for item in ring.items("secrets"):
        owner = owners.owner(f"/Secret/{ring.namespace}/{item['metadata']['name']}")
        counts[owner] = counts.get(owner, 0) + 1
    return counts


@suite.case("22,000 objects: one of five shards is released, one joins, next to bare label patches", long=True)
def speed(env):
    bench = Bench(env)
    best, levels = best_in_flight(lambda level: bench.bare(OBJECTS // 5, level))
    env.figure("bare patches a second, by how many are in flight",
               {level: round(OBJECTS // 5 / seconds) for level, seconds in levels.items()})
    releases, joins, release_ratios, join_ratios, bares = [], [], [], [], []
    for number in range(ROUNDS):
        ring, shards, context = bench.ring(OBJECTS)
        try:
            rest = NAMES[1:]
            counts = expected_counts(ring, rest)
            release, moved = timed(shards, lambda shards=shards: shards.release(NAMES[0]), counts)
            before = bench.bare(moved, best)
            joined = rest + ["shard-new"]
            counts = expected_counts(ring, joined)
            join, drained = timed(shards, lambda shards=shards: shards.start("shard-new"), counts)
            after = bench.bare(drained, best)
            wrong = ring.wrong(joined)
            assert not wrong, f"{len(wrong)}: {wrong[:5]}"
        finally:
            bench.remove(ring, context)
        releases.append(release)
        joins.append(join)
        bares += [before / moved, after / drained]
        release_ratios.append(release / before)
        join_ratios.append(join / (2 * after))
        env.figure(f"round {number + 1}", f"released: {moved} moves in {release:.2f} s, bare patches {before:.2f} s; "
                   f"joined: {drained} moves in {join:.2f} s, twice bare patches {2 * after:.2f} s")
    release_ratio, join_ratio = statistics.median(release_ratios), statistics.median(join_ratios)
    env.figure("released, seconds until every object has its new shard (median of 5)",
               f"{statistics.median(releases):.2f}, {release_ratio:.2f} times bare patches ({best} in flight, "
               f"{1 / statistics.median(bares):.0f}/s)")
    env.figure("joined, seconds until every object has its new shard (median of 5)",
               f"{statistics.median(joins):.2f}, {join_ratio:.2f} times twice as many bare patches")
    assert release_ratio <= MOST_RELEASE, f"{release_ratio:.2f} times bare patches: {release_ratios}"
    assert join_ratio <= MOST_JOIN, f"{join_ratio:.2f} times twice the bare patches: {join_ratios}"


@suite.case("a crashed shard's first object moves no earlier than the protocol allows, and within 2 s of when it does",
            long=True)
def first_after_crash(env):
    delays = []
    for number, duration in enumerate((3, 5)):
        ring = env.ring(f"crash-{number}", resources=((SECRETS, ()),))
        with ring.shards(*NAMES, duration=duration, working=True) as shards:
            ring.wait_ready(NAMES)
            ring.create_secrets(1000, clients=16)
            ring.wait_settled(NAMES)
            shards.agent.mark()
            shards.crash(NAMES[2])
            last = parse_time(shards.get(NAMES[2])["spec"]["renewTime"])
            rest = [name for name in NAMES if name != NAMES[2]]
            wait_until(lambda ring=ring, rest=rest: not ring.wrong(rest), 4 * duration + 10, "all have moved",
                       interval=0.2)
            taken = shards.get(NAMES[2])["spec"]
            assert taken["holderIdentity"] == SHARDER_IDENTITY, taken
            first = shards.agent.report()["first_move"] - last
            delays.append(first - 2 * duration)
            assert -0.01 <= delays[-1] <= 2, f"{first:.2f} s after the last renewal, allowed after {2 * duration}"
    env.figure("a crashed shard's first object moves so many seconds after the protocol allows it",
               ", ".join(f"{delay:.2f}" for delay in delays))


class Peak:
    """The largest resident set of a process since it was made, from the kernel's high-water mark."""

    def __init__(self, process):
        self._pid = process.pid
        with open(f"/proc/{self._pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the mark begins anew

    def bytes(self):
        with open(f"/proc/{self._pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


@suite.case("the peak of the resident set through a rebalance does not depend on the number of objects", long=True)
def memory(env):
    bench = Bench(env)
    leader = env.sharders.wait_leader()
    peaks = {}
    for objects in (OBJECTS, 200_000):
        ring = env.ring(f"memory-{objects}", resources=((CONFIG_MAPS, ()),))
        with ring.shards(*NAMES, duration=60, working=True) as shards:
            ring.wait_ready(NAMES)
            body = {"metadata": {"generateName": "c-"}}
            took = bench.reference.create(path_of("configmaps", ring.namespace), body, objects, in_flight=32)
            wait_until(lambda shards=shards: (lambda report: report["objects"] >= objects and not report["without"])(
                shards.agent.report()), 120, "each has a shard", interval=0.2)
            peak = Peak(leader.process)
            began = time.time()
            shards.release(NAMES[0])
            wait_until(lambda shards=shards: not shards.agent.report()["without"], 600, "they have moved", interval=0.1)
            shards.start("shard-new")
            joined = NAMES[1:] + ["shard-new"]
            wait_until(lambda shards=shards: "shard-new" in shards.agent.report()["shards"], 120, "drains begin",
                       interval=0.1)
            wait_until(lambda ring=ring, joined=joined: not ring.wrong(joined), 600, "all is done", interval=1)
            assert env.sharders.leader() is leader
            peaks[objects] = peak.bytes()
            env.figure(f"{objects} objects: peak of the leader's resident set through a release and a join",
                       f"{peaks[objects] / 2**20:.1f} MiB ({time.time() - began:.0f} s; created at "
                       f"{objects / took:.0f}/s)")
            report = shards.agent.report()
            assert not report["violation_count"], report["violations"]
        env.admin.delete("controllerrings", None, ring.name)
        env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}")
    small, large = peaks[OBJECTS], peaks[200_000]
    assert large - small <= MOST_GROWTH, f"{(large - small) / 2**20:.1f} MiB more for 200,000 objects"


if __name__ == "__main__":
    suite.main()
