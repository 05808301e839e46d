#!/usr/bin/python3
"""SIGTERM (docs/design.md, invariant 10), and ports that are turned off (docs/protocol.md, 7)."""

import socket
import time

from admission import Webhook, secret_review
from environment import Environment
from processes import wait_until
from suite import Suite

SHUTDOWN_DELAY = 4

suite = Suite("shutdown", lambda short: Environment(
    short=short, replicas=2, overrides={"shutdownDelay": f"{SHUTDOWN_DELAY}s"}), parallel=False)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


@suite.case("SIGTERM: leading ends at once, admissions go on for shutdownDelay with Connection: close, exit 0")
def in_order(env):
    leader = env.sharders.wait_leader()
    identity = env.sharders.holder()
    ring = env.ring("stopping")
    with ring.shards("shard-a", duration=60):
        ring.wait_ready(["shard-a"])
        kept_alive, fresh = (Webhook(leader.port, leader.ca_file) for _ in range(2))
        assert kept_alive.shard(ring.name, secret_review("stopping", "before")) == "shard-a"
        assert kept_alive._connection is not None  # pylint: disable=protected-access
        began = time.monotonic()
        leader.process.send_signal(15)
        wait_until(lambda: leader.health("/readyz")[0] == 503, SHUTDOWN_DELAY, "/readyz is 503")
        assert "shutting down" in leader.health("/readyz")[1], leader.health("/readyz")
        answered = 0
        while time.monotonic() - began < SHUTDOWN_DELAY - 1:
            # The connection from before, and new ones: each is answered once more, and closed.
            for webhook in (kept_alive, fresh):
                assert webhook.shard(ring.name, secret_review("stopping", f"s-{answered}")) == "shard-a"
                assert webhook._connection is None, "no Connection: close"  # pylint: disable=protected-access
                answered += 1
            time.sleep(0.05)
        wait_until(lambda: env.sharders.holder() != identity, 10, "the leadership is released", alive=leader.process)
        assert leader.process.alive(), "it was released only at the end"
        assert leader.process.wait(30) == 0
        ended = time.monotonic() - began
        assert ended >= SHUTDOWN_DELAY, f"it ended {ended:.1f} s after SIGTERM"
    leader.start().wait_ready()
    env.figure(f"SIGTERM with shutdownDelay {SHUTDOWN_DELAY}: seconds until the exit, admissions answered meanwhile",
               f"{ended:.1f}, {answered}")


@suite.case('bind address "0" turns the metrics and the health port off')
def turned_off(env):
    replica = env.sharders.replicas[1]
    assert replica.process.stop(30) == 0
    ports = {name: replica.config[name]["bindAddress"] for name in ("metrics", "health")}
    for name in ports:
        replica.config[name]["bindAddress"] = "0"
    replica.start()
    wait_until(lambda: listens(replica.port), 20, "the webhook port is open", alive=replica.process)
    try:
        # They would have been bound before or with the webhook port: health, webhook, metrics.
        webhook = Webhook(replica.port, replica.ca_file)
        assert webhook.send("no-such-ring", secret_review("default", "s"))["allowed"] is True
        assert not listens(replica.metrics_port) and not listens(replica.health_port)
    finally:
        for name, address in ports.items():
            replica.config[name]["bindAddress"] = address
        assert replica.process.stop(30) == 0
        replica.start().wait_ready()


if __name__ == "__main__":
    suite.main()
