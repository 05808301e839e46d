#!/usr/bin/python3
"""Objects are created by 32 clients while shards join, leave and crash: in the end each has the shard that the oracle
gives, and none was without for longer than the protocol's times explain."""

import multiprocessing
import statistics
import time

import load
from agent import overlaps
from environment import Environment
from kubeclient import ApiError
from processes import allowed, wait_until
from suite import Suite

suite = Suite("churn", lambda short: Environment(short=short, audit_log=False), parallel=False)

CLIENTS = 32
# Seconds that what may be moved may wait, where a creation takes the time that it takes on a machine with nothing else to
# do, and so many creations' time where it takes longer: what is slow then is the machine.
PROMPT, PROMPT_CREATIONS = 5, 50


class Creations:
    """Creates Secrets with many clients, at a steady rate, in a process of its own: this one must renew Leases."""

    def __init__(self, ring, count, rate):
        requests = [load.creation("secrets", ring.namespace, {"metadata": {"name": f"s-{number}"}})
                    for number in range(count)]
        self._arguments = (load.Target.of(ring.env.admin), requests, CLIENTS, rate)
        self._pool = multiprocessing.get_context("spawn").Pool(1)
        self._running = None

    def __enter__(self):
        self._running = self._pool.apply_async(load.run, self._arguments)
        return self

    def __exit__(self, *_):
        self._pool.terminate()

    def running(self):
        return not self._running.ready()

    def result(self):
        return self._running.get(300)


def churn(env, name, count, rate, pause, duration):
    ring = env.ring(name)
    names = [f"shard-{number}" for number in range(5)]
    counts, crashed = {"joins": 0, "exits": 0, "crashes": 0}, []
    with ring.shards(*names, duration=duration, renew_every=duration / 4, working=True) as shards:
        ring.wait_ready(names)
        shards.agent.like_go(*(f"shard-{number}" for number in range(0, 1000, 3)))
        shards.agent.mark()
        with Creations(ring, count, rate) as creations:
            fresh = 5
            # A round: one comes, one leaves in order, one comes, one crashes; the one that left comes back.
            steps = []
            while creations.running():
                if not steps:
                    steps = ["join", "exit", "join", "crash", "return"]
                step = steps.pop(0)
                alive = shards.names()
                if step == "join":
                    shards.start(f"shard-{fresh}")
                    fresh += 1
                    counts["joins"] += 1
                elif step == "exit":
                    left = alive[fresh % len(alive)]
                    shards.release(left)
                    counts["exits"] += 1
                elif step == "crash":
                    crashed.append(alive[fresh % len(alive)])
                    shards.crash(crashed[-1])
                    counts["crashes"] += 1
                else:
                    # Who takes its Lease again while its objects move may lose one without being asked (design, 6.3).
                    wait_until(lambda: left not in shards.agent.report()["shards"], 60, f"{left} has nothing left")
                    shards.start(left)
                    counts["joins"] += 1
                next_step = time.monotonic() + pause
                wait_until(lambda: time.monotonic() > next_step or not creations.running(), pause + 5, "the next step",
                           interval=0.1)
            result = creations.result()
        assert not result.failures, f"{len(result.failures)} creations failed: {result.failures[0]}"
        assert len(result.latencies) == count
        ended = time.monotonic()
        members = shards.names()
        ring.wait_settled(members, timeout=4 * duration + 60)
        settled = time.monotonic() - ended
        report = shards.agent.at_rest(objects=count, draining=0, without=0)
        assert not shards.lost, f"these did not renew their Leases in time: {shards.lost}"
        assert not report["violation_count"], f"{report['violation_count']}: {report['violations']}"
        history = shards.agent.history(env.plane.folder)
        both = overlaps(history)
        assert not both, f"two shards at once worked on {len(both)}: {both[:3]}"
        assert counts["crashes"] and counts["exits"], counts
    for resource, item in (("controllerrings", ring.name),
                           ("mutatingwebhookconfigurations", f"controllerring-{ring.name}")):
        try:
            env.admin.delete(resource, None, item)
        except ApiError as error:
            assert error.status == 404, error
    env.figure(f"{count} objects by {CLIENTS} clients", f"{result.summary()}; {counts['joins']} joins, "
               f"{counts['exits']} exits, {counts['crashes']} crashes; {report['moved']} moves, "
               f"{report['acknowledged']} drains acknowledged, "
               f"{report['targeted']} by setting the target; all were right {settled:.2f} s after the last creation")
    # An object may come from one that has crashed to one that has just crashed, and so on: nobody can know that before
    # the Lease may be taken over.
    hops = [name for name in report["longest_without_shards"] if name in crashed]
    env.figure("longest time that an object was without a shard that ran, seconds",
               f"{report['longest_without']:.2f}, on {len(hops)} that had crashed, one after the other (each is taken "
               f"over {2 * duration} s after its last renewal)")
    env.figure("longest time that an object was without though it might have been moved, seconds",
               f"{report['longest_orphaned']:.2f}")
    prompt = max(allowed(PROMPT), PROMPT_CREATIONS * statistics.median(result.latencies))
    longest, orphan = report["longest_without_object"], report["longest_orphaned_object"]
    assert report["longest_without"] <= 2 * duration * len(hops) + prompt, f"{longest}, on {hops}: {history[longest]}"
    assert report["longest_orphaned"] <= prompt, (f"{report['longest_orphaned']:.2f} s: {orphan}, of "
                                                  f"{report['longest_orphaned_shards']}: {history[orphan]}")


@suite.case("2,000 objects are created while shards join, leave and crash")
def short_churn(env):
    churn(env, "churn", 2000, rate=120, pause=1.5, duration=5)


@suite.case("20,000 objects are created while shards join, leave and crash", long=True)
def long_churn(env):
    churn(env, "long-churn", 20_000, rate=350, pause=2, duration=5)


if __name__ == "__main__":
    suite.main()
