#!/usr/bin/python3
"""The API server or etcd is away for a while: replicas stay ready, answer from memory, and recover by themselves
(docs/design.md, section 6, invariants 9 and 11)."""

import socket
import threading
import time

from environment import Environment
from processes import allowed, wait_until
from shards import lease
from suite import Suite

# An API server that has just started refuses everything until it has read its roles.
suite = Suite("outage", lambda short: Environment(short=short, may_be_forbidden=True), parallel=False)

NAMES = ["shard-a", "shard-b", "shard-c"]
MAX_BACKOFF = 2.0
RECOVERED = MAX_BACKOFF + 4.0  # and what the API server itself needs after it says that it is ready
SEEN = 120  # whatever happened to the server


def survive(env, name, seconds, begin, end):
    """Goes through an outage; seconds from its end until every replica has seen a change that came after it."""
    ring = env.ring(name)
    with ring.shards(*NAMES, duration=90, renew_every=10) as shards:
        ring.wait_ready(NAMES)
        env.sharders.wait_leader()
        begin()
        try:
            away = time.monotonic() + seconds
            while time.monotonic() < away:
                for replica in env.sharders.replicas:
                    status, text = replica.health("/readyz")
                    assert status == 200, f"{replica.name} is not ready: {text}"
                    assert replica.health("/healthz")[0] == 200
                ring.wait_members(NAMES, timeout=2)
                time.sleep(0.1)
        finally:
            end()
        env.plane.wait_ready()
        back = time.monotonic()
        shards.start("shard-new")
        ring.wait_members(NAMES + ["shard-new"], timeout=20)
        recovered = time.monotonic() - back
        ring.wait_ready(NAMES + ["shard-new"], timeout=40)  # a leader leads again: status, webhook
        leading = time.monotonic() - back
        assert not shards.lost, shards.lost
        assert recovered <= allowed(RECOVERED), f"recovered after {recovered:.1f} s"
    env.figure(f"{name}: away for {seconds} s", f"replicas see changes {recovered:.2f} s after its return, a leader "
               f"has acted after {leading:.2f} s")


@suite.case("API server killed and started again; meanwhile they try it with pauses of 2 s at most")
def apiserver_killed(env):
    knocks = Knocks(env.plane.port)

    def begin():
        env.plane.kill_apiserver()
        knocks.start()

    def end():
        knocks.stop()
        env.plane.start_apiserver(wait=False)

    seconds = 14
    survive(env, "apiserver-killed", seconds, begin, end)
    settled = [moment for moment in knocks.times if moment > knocks.times[0] + 5]  # pauses have grown by then
    gaps = [later - earlier for earlier, later in zip(settled, settled[1:])]
    assert gaps and max(gaps) <= MAX_BACKOFF + allowed(1), f"longest pause {max(gaps, default=99):.1f} s"
    rate = len(settled) / (settled[-1] - settled[0])
    assert rate < 40, f"{rate:.0f} connections a second hammer an API server that is down"
    env.figure("connections a second of two replicas to an API server that is down", f"{rate:.1f}")


class Knocks:
    """Takes the place of an API server: accepts connections, closes them, notes when they came."""

    def __init__(self, port):
        self._port, self._listener = port, None
        self.times = []

    def start(self):
        self._listener = wait_until(lambda: socket.create_server(("127.0.0.1", self._port)), 10, "the port is free")
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.times.append(time.monotonic())
            connection.close()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@suite.case("etcd killed and started again")
def etcd_killed(env):
    survive(env, "etcd-killed", 6, env.plane.kill_etcd, env.plane.start_etcd)


@suite.case("etcd and API server killed and started again", short=False)
def both_killed(env):
    def begin():
        env.plane.kill_apiserver()
        env.plane.kill_etcd()

    def end():
        env.plane.start_etcd()
        env.plane.start_apiserver(wait=False)

    survive(env, "both-killed", 6, begin, end)


@suite.case("etcd paused", short=False)
def etcd_paused(env):
    survive(env, "etcd-paused", 8, env.plane.etcd.pause, env.plane.etcd.resume)


@suite.case("etcd's data is restored from an older copy: what it shows now is seen within two minutes", short=False)
def etcd_restored(env):
    ring = env.ring("etcd-restored")
    with ring.shards(*NAMES, duration=90, renew_every=10) as shards:
        ring.wait_ready(NAMES)
        copy = env.plane.copy_etcd()
        # The copy does not know it, and the restored server soon has versions past its own: no silence tells.
        env.admin.create("leases", ring.namespace, lease(ring.name, "shard-forgotten", duration=3600))
        ring.wait_members(NAMES + ["shard-forgotten"])
        env.plane.restore_etcd(copy)
        back = time.monotonic()
        shards.start("shard-new")
        ring.wait_members(NAMES + ["shard-new"], timeout=SEEN)
        seen = time.monotonic() - back
        ring.wait_ready(NAMES + ["shard-new"], timeout=SEEN)
        leading = time.monotonic() - back
        assert not shards.lost, shards.lost
    env.figure("etcd-restored", f"replicas see the restored data {seen:.1f} s after its return, a leader has acted after "
               f"{leading:.1f} s")


if __name__ == "__main__":
    suite.main()
