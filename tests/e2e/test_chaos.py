#!/usr/bin/python3
"""The promise of sharding, under chaos: real shards and two replicas of the sharder on a real control plane, while
3,000 objects change and everything fails that can. Afterwards tests/judge reads what the API server and the shards
have noted.

$SHARDER_CHAOS_SEED repeats the faults of a run, as far as they depend on the seed; else it is drawn and printed.
"""

import collections
import contextlib
import heapq
import http.client
import itertools
import os
import random
import signal
import socket
import threading
import time

import api_proxy
import load
from checksum_shards import JUDGED, ChecksumShards, data
from environment import Environment
from kubeclient import ApiError
from processes import Process, free_ports, wait_until
from suite import Suite

suite = Suite("chaos")

OBJECTS = 3000
CHANGES = 40  # a second
DELETIONS = 0.05  # of the changes; an object that is gone is created when its turn comes again
SHARDS = [f"chaos-{number}" for number in range(8)]
FEWEST = 5  # shards, besides those that are absent after a crash
REPLICAS = 2
# Faults are drawn like cards: all of a deck come before the next deck.
DECK = {"join": 6, "leave": 5, "kill": 4, "crash": 3, "freeze": 6, "kill sharder": 2, "stop sharder": 2,
        "kill API server": 1, "stop API server": 1, "latency": 3}
COMES_AGAIN = ("kill sharder", "stop sharder", "kill API server", "stop API server", "latency")  # if it cannot come now
NETWORK_ERRORS = (OSError, http.client.HTTPException, ApiError)


class Changes:
    """Changes, deletes and creates the ring's Secrets all the time, whatever happens to the API server."""

    def __init__(self, ring, seed, threads=4):
        plane = ring.env.plane
        self._client = plane.client(plane.all_powerful_token("changes")).with_timeout(10)
        self._namespace = ring.namespace
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[random.Random(f"{seed} {number}"), number, threads],
                                          daemon=True) for number in range(threads)]
        self.counts = collections.Counter()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """No change is under way any more when it has returned."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def complete(self):
        """Creates what is not there, once all have stopped and the API server is back."""
        wait_until(self._completed, 180, "all objects are there", interval=0.5)

    def _run(self, rng, first, step):
        serials = itertools.count()
        while not self._stop.wait(rng.expovariate(CHANGES / step)):
            number = rng.randrange(first, OBJECTS, step)
            deletes, text = rng.random() < DELETIONS, f"{first} {next(serials)}"
            try:
                self._delete(number) if deletes else self._change(number, text)
            except NETWORK_ERRORS:
                self.counts["failed"] += 1
                self._stop.wait(0.2)

    def _change(self, number, text):
        try:
            self._client.patch("secrets", self._namespace, f"s-{number}", {"data": data(text)})
            self.counts["changed"] += 1
        except ApiError as error:
            if error.status != 404:
                raise
            self._client.create("secrets", self._namespace, secret(number, text))
            self.counts["created anew"] += 1

    def _delete(self, number):
        self._client.delete("secrets", self._namespace, f"s-{number}")
        self.counts["deleted"] += 1

    def _completed(self):
        try:
            there = {item["metadata"]["name"] for item in self._client.list("secrets", self._namespace)}
            missing = [number for number in range(OBJECTS) if f"s-{number}" not in there]
            for number in missing:
                self._client.create("secrets", self._namespace, secret(number, "at the end"))
        except ApiError:
            return False  # it has read no roles yet
        return not missing


def secret(number, text):
    return {"metadata": {"name": f"s-{number}"}, "data": data(text)}


class Latency:
    """A proxy between the API server and all shards and sharders, which delays what passes when it is asked to."""

    def __init__(self, plane):
        self.port, = free_ports(1)
        self._process = Process("latency", [api_proxy.__file__, "delay", self.port, plane.sharder_port],
                                plane.folder / "latency.log")

    def __enter__(self):
        self._process.start()
        wait_until(self._listens, 15, "the proxy listens", alive=self._process)
        self.end()
        return self

    def __exit__(self, *_):
        self._process.kill()

    def begin(self):
        self._process.send_signal(signal.SIGUSR1)

    def end(self):
        self._process.send_signal(signal.SIGUSR2)

    def _listens(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True


class Faults:
    """What fails, and when it is mended. One thread."""

    def __init__(self, env, shards, proxy, seed, pause):
        """`pause`: seconds between two faults, (least, most)."""
        self._env, self._shards, self._proxy, self._pause = env, shards, proxy, pause
        self._rng = random.Random(seed)
        self._deck = []
        self._mends = []  # heap of (when, number, function)
        self._numbers = itertools.count()
        self._frozen, self._absent = set(), set()  # shards
        self._busy = set()  # all else that is at fault now
        self.counts = collections.Counter()
        self.codes = collections.Counter()  # (what was stopped, exit code)

    def run(self, seconds):
        """For so long; on a slow machine up to twice that, until each fault has happened once."""
        began = due = time.monotonic()
        while (passed := time.monotonic() - began) < seconds or (passed < 2 * seconds and len(self.counts) < len(DECK)):
            self._mend(time.monotonic())
            if time.monotonic() >= due:
                self._next()
                due = time.monotonic() + self._rng.uniform(*self._pause)
            time.sleep(0.05)
        self._mend(float("inf"))
        self._env.plane.wait_ready()

    def _mend(self, now):
        while self._mends and self._mends[0][0] <= now:
            heapq.heappop(self._mends)[2]()

    def _later(self, seconds, function):
        heapq.heappush(self._mends, (time.monotonic() + seconds, next(self._numbers), function))

    def _next(self):
        if not self._deck:
            self._deck = [name for name, count in DECK.items() for _ in range(count)]
            self._rng.shuffle(self._deck)
        name = self._deck.pop()
        amount, choice = self._rng.random(), self._rng.random()  # drawn always, so that a seed's cards stay the same
        if getattr(self, "_" + name.lower().replace(" ", "_"))(amount, choice):
            self.counts[name] += 1
            self._shards.notes.note(name)
        elif name in COMES_AGAIN:
            self._deck.insert(0, name)

    def _pick(self, choice):
        """A shard that runs undisturbed, so that the ring keeps some."""
        names = [name for name in self._shards.names() if name not in self._frozen]
        return names[int(choice * len(names))] if len(names) > 2 else None

    def _one_replica(self, choice):
        replica = self._env.sharders.replicas[int(choice * REPLICAS)]
        return None if replica.name in self._busy else replica

    # -- the faults: each takes two numbers from 0 to 1, how much and which, and says whether it has happened

    def _join(self, _, choice):
        names = [name for name in SHARDS if name not in self._shards.names() and name not in self._absent]
        if not names:
            return False
        self._shards.start(names[int(choice * len(names))])
        return True

    def _leave(self, _, choice):
        name = self._pick(choice)
        if name is None or len(self._shards.names()) <= FEWEST:
            return False
        self.codes.update(("a shard", code) for code in self._shards.leave(name).values())
        return True

    def _kill(self, _, choice):
        """A container that is started anew at once."""
        name = self._pick(choice)
        if name is not None:
            self._shards.kill(name, restart=True)
        return name is not None

    def _crash(self, amount, choice):
        """Without a new process for a while, which may be longer than the Lease."""
        name = self._pick(choice)
        if name is None:
            return False
        self._shards.kill(name)
        self._absent.add(name)

        def back():
            self._absent.remove(name)
            self._shards.start(name)

        self._later(4 * amount * self._shards.lease_seconds, back)
        return True

    def _freeze(self, amount, choice):
        """For less than the Lease, or until others have its objects."""
        name = self._pick(choice)
        if name is None or len(self._frozen) >= 2:
            return False
        self._shards.freeze(name)
        self._frozen.add(name)

        def thaw():
            self._shards.thaw(name)
            self._frozen.remove(name)

        self._later(3 * amount * self._shards.lease_seconds, thaw)
        return True

    def _kill_sharder(self, amount, choice):
        replica = self._one_replica(choice)
        if replica is not None:
            replica.process.kill()
            self._absent_for(10 * amount, replica.name, replica.start)
        return replica is not None

    def _stop_sharder(self, amount, choice):
        replica = self._one_replica(choice)
        if replica is not None:
            self.codes["a replica", replica.process.stop(25)] += 1
            self._absent_for(10 * amount, replica.name, replica.start)
        return replica is not None

    def _kill_api_server(self, amount, _):
        return self._api_server_ends(amount, self._env.plane.kill_apiserver)

    def _stop_api_server(self, amount, _):
        return self._api_server_ends(amount, lambda: self._env.plane.stop_apiserver(5))

    def _api_server_ends(self, amount, end):
        if "API server" in self._busy:
            return False
        end()
        self._absent_for(5 * amount, "API server", lambda: self._env.plane.start_apiserver(wait=False))
        return True

    def _latency(self, amount, _):
        if "latency" in self._busy:
            return False
        self._proxy.begin()
        self._absent_for(5 + 15 * amount, "latency", self._proxy.end)
        return True

    def _absent_for(self, seconds, what, mend):
        self._busy.add(what)

        def back():
            mend()
            self._busy.remove(what)

        self._later(seconds, back)


def create(ring, count=OBJECTS):
    result = load.run(load.Target.of(ring.env.admin),
                      [load.creation("secrets", ring.namespace, secret(number, f"first {number}"))
                       for number in range(count)], 8)
    assert not result.failures, result.failures[0]


def chaos(notes, seconds, lease_seconds, pause):
    seed = os.environ.get("SHARDER_CHAOS_SEED") or str(random.SystemRandom().randrange(1_000_000))
    print(f"SHARDER_CHAOS_SEED={seed}", flush=True)
    notes.figure("seed", seed)
    with contextlib.ExitStack() as stack:
        # An API server that has just started refuses everything until it has read its roles.
        env = stack.enter_context(Environment(REPLICAS, controller_manager=True, short=notes.short, start=False,
                                              may_be_forbidden=True, judged=JUDGED))
        latency = stack.enter_context(Latency(env.plane))
        env.plane.sharder_port = latency.port
        env.sharders.start()
        ring = env.ring("chaos")
        shards = stack.enter_context(ChecksumShards(ring, lease_seconds, reconcile_milliseconds=30, port=latency.port))
        shards.start(*SHARDS[:6])
        shards.wait_members()
        create(ring)
        shards.wait_settled()

        print(f"{OBJECTS} objects are reconciled by {len(shards.names())} shards", flush=True)
        faults = Faults(env, shards, latency, seed, pause)
        with Changes(ring, seed) as changes:
            faults.run(seconds)
            changes.stop()
            changes.complete()
        print(f"no more faults: {dict(faults.counts)}", flush=True)
        env.plane.start_controller_manager()  # if it has ended
        began = time.monotonic()
        shards.wait_members(8 * lease_seconds + 60)
        shards.wait_settled(8 * lease_seconds + 120)
        settled = time.monotonic() - began
        memory = shards.resident_megabytes()
        verdict = shards.verdict()

        notes.figure("faults", ", ".join(f"{count} {name}" for name, count in sorted(faults.counts.items())))
        notes.figure("changes", ", ".join(f"{count} {name}" for name, count in sorted(changes.counts.items())))
        notes.figure("processes that ended by themselves, their Lease lost", sum(shards.ends.values()))
        notes.figure("seconds until all was right again at the end", f"{settled:.1f}")
        notes.figure("RSS of the shards at the end, MB", ", ".join(map(str, memory.values())))
        for name, value in verdict.figures.items():
            notes.figure(f"judge: {name}", value)
        undecided = collections.Counter(finding.rule for finding in verdict.undecided)
        notes.figure("judge: undecided",
                     ", ".join(f"{count} {rule}" for rule, count in sorted(undecided.items())) or "none")
        assert verdict.ok, verdict.report()
        assert set(faults.counts) == set(DECK), f"some faults never happened: {faults.counts}"
        for what in ("moves, main", "acknowledgements with target", "main objects deleted", "drains, with target"):
            assert verdict.figures.get(what), f"nothing of this kind happened: {what}\n{verdict.report()}"
        # A shard ends with 1 when its Lease is lost, in order or not; nothing else ends one.
        assert set(shards.ends) <= {1}, shards.ends
        allowed = {("a shard", 0), ("a shard", 1), ("a replica", 0)}
        assert set(faults.codes) <= allowed, faults.codes
        codes = shards.leave(*shards.names())
        assert set(codes.values()) == {0}, codes


@suite.case("3 minutes of faults while 3,000 objects change: the judge finds nothing", short=False)
def three_minutes(notes):
    chaos(notes, 180, lease_seconds=6, pause=(0.5, 4))


@suite.case("a shard's Lease is deleted, and its next process makes it while a slow sharder moves the objects", short=False)
def deleted_lease(_):
    names = [f"deleted-{number}" for number in range(3)]
    with contextlib.ExitStack() as stack:
        env = stack.enter_context(Environment(1, start=False, judged=JUDGED))
        latency = stack.enter_context(Latency(env.plane))
        env.plane.sharder_port = latency.port  # of the sharder alone
        env.sharders.start()
        ring = env.ring("deleted")
        shards = stack.enter_context(ChecksumShards(ring, reconcile_milliseconds=30))
        shards.start(*names)
        shards.wait_members()
        create(ring, 1200)
        shards.wait_settled()
        latency.begin()
        for gap in (0.3, 0.5, 0.7, 0.9, 1.1):  # seconds: the moves begin, are under way, come to their end
            shards.kill(names[0])
            env.admin.delete("leases", ring.namespace, names[0])
            time.sleep(gap)
            shards.start(names[0])
            shards.wait_members()
            shards.wait_settled(120)
        verdict = shards.verdict()
        assert verdict.ok and not verdict.undecided, verdict.report()
        assert verdict.figures["moves, main"] > 300, verdict.figures
        # Of a shard that lives. It notices when it renews, and ends; until then, for 2 s, it may work beside the shards
        # that get its objects (decision 9). It is started anew.
        env.admin.delete("leases", ring.namespace, names[0])
        wait_until(lambda: sum(shards.ends.values()), 20, "the shard has lost its Lease")
        shards.wait_members()
        shards.wait_settled(120)
        latency.end()
        verdict = shards.verdict()
        assert set(verdict.rules()) <= {"J1", "J2"}, verdict.report()
        assert all(f"{names[0]} from " in finding.text for finding in verdict.violations), verdict.report()


@suite.case("30 minutes of faults while 3,000 objects change: the judge finds nothing", long=True)
def thirty_minutes(notes):
    chaos(notes, 1800, lease_seconds=15, pause=(1, 8))


if __name__ == "__main__":
    suite.main()
