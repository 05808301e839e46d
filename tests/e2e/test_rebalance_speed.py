#!/usr/bin/python3
"""How fast objects move, next to bare label patches on the same API server; and what that costs in memory.

The measured operation and the reference alternate, each on objects that nobody has patched before; medians of 5 rounds.
A round has a control plane for each kind of shard, whose acknowledgements differ; which comes first alternates. The
reference is the same for both: as many bare patches as the operation has, two for each object that is drained. It is
h2load (reference.py) at the best of 8, 16, 32, 64 and 128 in flight, the mean of two runs just before the operation and
two just after it: of the same patches on the same API server, one run takes up to 1.4 times another. Run alone:

    tests/e2e/run.py --long rebalance_speed
"""

import collections
import statistics
import time
from dataclasses import dataclass

import oracle
from agent import WORKERS
from environment import CONFIG_MAPS, SECRETS, Environment
from kubeclient import path_of
from processes import wait_until
from reference import Reference, best_in_flight
from shards import SHARDER_IDENTITY, parse_time
from suite import Suite


suite = Suite("rebalance_speed", parallel=False)

OBJECTS = 22_000
BARE = OBJECTS // 5  # patches in one run of the reference
BARE_RUNS = 2
ROUNDS = 5
NAMES = [f"shard-{number}" for number in range(5)]
TO_TARGET, LIKE_GO = "to the target", "as Go shards do"  # how shards acknowledge
# Times bare patches; times the same drains and acknowledgements by the reference, whose webhook calls are among them.
MOST_RELEASE, MOST_JOIN = 1.3, 1.2
JOINS = "shard-new"
MOST_GROWTH = 2 * 2**20
RING = "speed"
# After each change of the members the sharder looks at all objects once more, 10 s later (docs/design.md, 5): by then
# that is over, and does not fall into what is measured next.
QUIET_AFTER = 12


class Bench:
    """A control plane with two replicas and a ring of five shards of one kind. Ring and bare patches have the same API
    server, and each round has fresh ones: what earlier rounds left would slow later ones down."""

    def __init__(self, kind=TO_TARGET):
        self.kind = kind
        self.env = Environment(audit_log=False, balanced=False)

    def __enter__(self):
        self.env.__enter__()
        self.reference = Reference(self.env.plane)
        self.ring = self.env.ring(RING, resources=((SECRETS, ()),))
        self._context = self.ring.shards(*NAMES, duration=60, working=True)
        self.shards = self._context.__enter__()
        self.ring.wait_ready(NAMES)
        if self.kind == LIKE_GO:
            self.shards.agent.like_go(*NAMES, JOINS)
        self._changed = time.monotonic()
        self._count = 0
        return self

    def __exit__(self, *exception):
        self._context.__exit__(*exception)
        self.env.__exit__(*exception)

    def bare(self, count, in_flight):
        """Seconds of `count` bare patches of fresh objects. They differ from the ring's in their namespace only, which
        the ring does not select; the label goes from one living shard to another."""
        self._count += 1
        namespace = self.env.namespace(f"bare-{self._count}")
        body = {"metadata": {"generateName": "s-", "labels": {self.ring.label: NAMES[1]}}, "stringData": {"key": "value"}}
        self.reference.create(path_of("secrets", namespace), body, count)
        paths = [path_of("secrets", namespace, item["metadata"]["name"])
                 for item in self.env.admin.list("secrets", namespace)]
        return self.reference.patch_labels(paths, {self.ring.label: NAMES[2]}, in_flight)

    def bares(self, count, in_flight):
        """The mean of some runs of bare(): one may begin and end with a collection of the API server's garbage more than
        the next."""
        return statistics.mean(self.bare(count, in_flight) for _ in range(BARE_RUNS))

    def drain_and_acknowledge(self, members, names, in_flight):
        """Seconds in which the reference itself gives these objects the drain label and then acknowledges: the part of a
        join that the API server and, for Go shards, the webhook have, without leader, shards, lists and watches."""
        target = JOINS if self.kind == TO_TARGET else None
        self.shards.agent.acknowledge(False, *members)
        time.sleep(max(0, self._changed + QUIET_AFTER - time.monotonic()))
        paths = [path_of("secrets", self.ring.namespace, name) for name in names]
        drain = self.reference.patch_labels(paths, {self.ring.drain_label: target or "true"}, in_flight, "drain")
        acknowledge = self.reference.patch_labels(
            paths, {self.ring.drain_label: None, self.ring.label: target}, WORKERS, "acknowledge")
        wanted = set(names)
        left = [item for item in self.ring.items("secrets") if item["metadata"]["name"] in wanted and
                (self.ring.drain_label in item["metadata"]["labels"] or not oracle.shard_of(item, RING) or
                 target not in (None, oracle.shard_of(item, RING)))]
        assert not left, f"{len(left)} were not acknowledged: {left[0]['metadata']}"
        return drain + acknowledge

    def timed(self, change, counts):
        """timed() of a change of the members, from a state of rest."""
        time.sleep(max(0, self._changed + QUIET_AFTER - time.monotonic()))
        self._changed = time.monotonic()
        return timed(self.shards, change, counts)

    def fill(self, objects):
        """The ring's objects, each with its shard."""
        body = {"metadata": {"generateName": "s-"}, "stringData": {"key": "value"}}
        self.reference.create(path_of("secrets", self.ring.namespace), body, objects, in_flight=32)
        wait_until(lambda: self.shards.agent.report()["objects"] == objects, 60, "the agent has seen all")
        self.ring.wait_settled(NAMES, timeout=60)


def timed(shards, change, counts, timeout=120):
    """Seconds from just before change() until the agent, which follows all objects, has seen the last of them where it
    belongs, `counts` by shard; seconds until the first; how many moved."""
    shards.agent.mark()
    began = time.time()
    change()
    wait_until(lambda: (lambda report: report["shards"] == counts and not report["draining"])(shards.agent.report()),
               timeout, "every object has its new shard", interval=0.1)  # the agent notes the times
    report = shards.agent.report()
    assert not report["violation_count"], report["violations"]
    return report["last_move"] - began, report["first_move"] - began, report["moved"]


def expected_counts(ring, names, members):
    """How many of the ring's main objects with these names each member has."""
    owners = oracle.Ring(members)
    group, _, _, kind = ring.resources[0][0]
    return collections.Counter(owners.owner(oracle.main_key(group, kind, ring.namespace, name)) for name in names)


def names_of(ring):
    return [item["metadata"]["name"] for item in ring.items(ring.resources[0][0][1])]


@dataclass(frozen=True)
class Measured:
    """Seconds of a release and a join, and how many times those of the same number of bare patches they are."""
    release: float
    join: float
    release_ratio: float
    join_ratio: float
    alone_ratio: float  # of drain_and_acknowledge()
    paces: tuple  # seconds of a bare patch

    @staticmethod
    def on(bench, best, figure):
        """Fills the ring, releases a shard, and has another one join, with bare patches before, between and after."""
        ring, shards = bench.ring, bench.shards
        bench.fill(OBJECTS)
        rest, names = NAMES[1:], names_of(ring)
        bare = [bench.bares(BARE, best)]
        counts = expected_counts(ring, names, rest)
        release, first, moved = bench.timed(lambda: shards.release(NAMES[0]), counts)
        bare.append(bench.bares(BARE, best))
        joined = rest + [JOINS]
        counts = expected_counts(ring, names, joined)
        join, first_joined, drained = bench.timed(lambda: shards.start(JOINS), counts)
        report = shards.agent.report()
        assert report["acknowledged"] == drained, report
        assert report["targeted"] == (drained if bench.kind == TO_TARGET else 0), report
        bare.append(bench.bares(BARE, best))
        wrong = ring.wrong(joined)
        assert not wrong, f"{len(wrong)}: {wrong[:5]}"
        alone = bench.drain_and_acknowledge(joined, names[:drained], best)
        paces = tuple(seconds / BARE for seconds in bare)
        bare_release = moved * statistics.mean(paces[:2])
        bare_join = 2 * drained * statistics.mean(paces[1:])
        figure(f"released: {moved} moves in {release:.2f} s (first {first:.2f}), bare patches {bare_release:.2f} s; "
               f"joined: {drained} moves in {join:.2f} s (first {first_joined:.2f}), twice bare patches "
               f"{bare_join:.2f} s")
        return Measured(release, join, release / bare_release, join / bare_join, alone / bare_join, paces)


@suite.case("22,000 objects: one of five shards is released, one joins, next to bare label patches; with both kinds of "
            "shard", long=True)
def speed(env):
    with Bench() as bench:
        best, levels = best_in_flight(lambda level: bench.bare(BARE, level))
    env.figure("bare patches a second, by how many are in flight",
               {level: round(BARE / seconds) for level, seconds in levels.items()})
    measured = {TO_TARGET: [], LIKE_GO: []}
    for number in range(ROUNDS):
        for kind in (TO_TARGET, LIKE_GO) if number % 2 == 0 else (LIKE_GO, TO_TARGET):
            with Bench(kind) as bench:
                name = f"round {number + 1}, acknowledged {kind}"
                measured[kind].append(Measured.on(bench, best, lambda value, name=name: env.figure(name, value)))
    every = measured[TO_TARGET] + measured[LIKE_GO]
    release_ratio = statistics.median(one.release_ratio for one in every)
    env.figure(f"released, seconds until every object has its new shard (median of {len(every)})",
               f"{statistics.median(one.release for one in every):.2f}, {release_ratio:.2f} times bare patches "
               f"({best} in flight, {1 / statistics.median(pace for one in every for pace in one.paces):.0f}/s)")
    join_ratios, beside_alone = {}, {}
    for kind, rounds in measured.items():
        ratios = sorted(one.join_ratio for one in rounds)
        join_ratios[kind] = statistics.median(ratios)
        env.figure(f"joined, acknowledged {kind}, seconds until every object has its new shard (median of {ROUNDS})",
                   f"{statistics.median(one.join for one in rounds):.2f}, {join_ratios[kind]:.2f} times twice as many "
                   f"bare patches ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        beside_alone[kind] = statistics.median(one.join_ratio / one.alone_ratio for one in rounds)
        env.figure(f"drained and acknowledged {kind} by the reference, without leader, shards, lists and watches "
                   f"(median of {ROUNDS})",
                   f"{statistics.median(one.alone_ratio for one in rounds):.2f} times twice as many bare patches; "
                   f"joined: {beside_alone[kind]:.2f} times that")
    assert release_ratio <= MOST_RELEASE, f"{release_ratio:.2f} times bare patches"
    slow = {kind: ratio for kind, ratio in beside_alone.items() if ratio > MOST_JOIN}
    assert not slow, f"times the drains and acknowledgements of the reference: {slow}"
    assert join_ratios[TO_TARGET] < join_ratios[LIKE_GO], join_ratios


@suite.case("a crashed shard's first object moves no earlier than the protocol allows, and within 2 s of when it does",
            long=True)
def first_after_crash(env):
    delays = []
    with Environment(audit_log=False, balanced=False) as own:
        for number, duration in enumerate((3, 5, 3, 5)):
            ring = own.ring(f"crash-{number}", resources=((SECRETS, ()),))
            with ring.shards(*NAMES, duration=duration, working=True) as shards:
                ring.wait_ready(NAMES)
                ring.create_secrets(1000, clients=16)
                ring.wait_settled(NAMES)
                shards.agent.mark()
                shards.crash(NAMES[2])
                last = parse_time(shards.get(NAMES[2])["spec"]["renewTime"])
                ring.wait_settled([name for name in NAMES if name != NAMES[2]], timeout=4 * duration + 10)
                taken = shards.get(NAMES[2])["spec"]
                assert taken["holderIdentity"] == SHARDER_IDENTITY, taken
                delays.append(shards.agent.report()["first_move"] - last - 2 * duration)
                assert -0.01 <= delays[-1] <= 2, f"{delays[-1]:.2f} s after the protocol allows it"
    env.figure("a crashed shard's first object moves so many seconds after the protocol allows it",
               ", ".join(f"{delay:.2f}" for delay in delays))


class Peak:
    """The largest resident set of a process from now on, as the kernel notes it."""

    def __init__(self, process):
        self._pid = process.pid
        with open(f"/proc/{self._pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def bytes(self):
        with open(f"/proc/{self._pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def peak_of(env, objects):
    """Peak of the leader's resident set through a release and a join with that many objects, on a control plane and
    with replicas of their own."""
    with Environment(audit_log=False, balanced=False) as own:
        reference = Reference(own.plane)
        leader = own.sharders.wait_leader()
        ring = own.ring("memory", resources=((CONFIG_MAPS, ()),))
        with ring.shards(*NAMES, duration=60, working=True) as shards:
            ring.wait_ready(NAMES)
            took = reference.create(path_of("configmaps", ring.namespace), {"metadata": {"generateName": "c-"}}, objects,
                                    in_flight=32)
            wait_until(lambda: (lambda report: report["objects"] == objects and not report["without"])(
                shards.agent.report()), 120, "each has a shard", interval=0.2)
            rest, names = NAMES[1:], names_of(ring)
            peak = Peak(leader.process)
            before = peak.bytes()
            released, _, _ = timed(shards, lambda: shards.release(NAMES[0]), expected_counts(ring, names, rest), 600)
            joined, _, drained = timed(shards, lambda: shards.start("shard-new"),
                                       expected_counts(ring, names, rest + ["shard-new"]), 900)
            assert drained > objects / 8, drained
            assert own.sharders.leader() is leader, "another replica leads now"
            result = peak.bytes()
            report = shards.agent.report()
            assert not report["violation_count"], report["violations"]
    env.figure(f"{objects} objects: peak of the leader's resident set through a release and a join",
               f"{result / 2**20:.1f} MiB, {before / 2**20:.1f} before (release {released:.0f} s, join {joined:.0f} s; "
               f"created at "
               f"{objects / took:.0f}/s)")
    return result


@suite.case("the peak of the resident set through a rebalance does not depend on the number of objects", long=True)
def memory(env):
    # Both have more moves at a time than wait in memory (4,000 a resource), so only the number of objects differs.
    small, large = peak_of(env, 60_000), peak_of(env, 200_000)
    assert large - small <= MOST_GROWTH, f"{(large - small) / 2**20:.1f} MiB more for 200,000 objects"


if __name__ == "__main__":
    suite.main()
