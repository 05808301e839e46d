#!/usr/bin/python3
"""Serving certificates that are swapped as the kubelet does it, under load (docs/design.md, section 7)."""

import json
import socket
import ssl
import threading
import time

import admission
import load
from environment import Environment
from processes import wait_until
from suite import Suite

suite = Suite("certificates", lambda short: Environment(short=short), parallel=False)

NAMES = ["shard-a", "shard-b", "shard-c"]
RATE = 200


def served(replica, authority):
    """The certificate that the webhook port shows, DER."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with socket.create_connection(("127.0.0.1", replica.port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            return connection.getpeercert(binary_form=True)


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def pairs(env, count):
    """New pairs of the authority that the webhook configurations name: [(certificate, key)]."""
    made = [env.sharders.authority.issue(f"pair-{number}", "/CN=sharder", ("127.0.0.1",)) for number in range(count)]
    return [(pair.certificate.read_bytes(), pair.key.read_bytes()) for pair in made]


def admissions(ring, count):
    """Every second one on a connection of its own, because only a handshake meets the new certificate."""
    requests = []
    for number in range(count):
        request = admission.request_bytes(ring.name, admission.secret_review(ring.namespace, f"s-{number}"))
        if number % 2:
            request = request.replace(b"\r\nHost:", b"\r\nConnection: close\r\nHost:", 1)
        requests.append(request)
    return requests


@suite.case("100 swaps of the certificate files under 200 admissions/s: none fails")
def swaps(env):
    count = 10 if env.short else 100
    replica = env.sharders.replicas[0]
    ring = env.ring("swaps")
    fresh = pairs(env, 5)
    with ring.shards(*NAMES, duration=60):
        ring.wait_ready(NAMES)
        seconds = count * 0.2 + 2
        results = []
        sender = threading.Thread(target=lambda: results.append(load.run(
            admission.target(replica), admissions(ring, int(RATE * seconds)), clients=16, rate=RATE, keep_bodies=True)))
        sender.start()
        seen = set()
        for number in range(count):
            replica.volume.publish(*fresh[number % len(fresh)])
            time.sleep(0.2)
            seen.add(served(replica, env.sharders.authority))
        sender.join()
        result = results[0]
        assert not result.failures, f"{len(result.failures)} failed: {result.failures[:3]}"
        for body in result.bodies:
            response = json.loads(body)["response"]
            assert response["allowed"] and "patch" in response, response
        last = der(fresh[(count - 1) % len(fresh)][0])
        wait_until(lambda: served(replica, env.sharders.authority) == last, 10, "the last certificate is served")
        assert len(seen) > 1, "certificates changed meanwhile"
    env.figure(f"{count} certificate swaps", result.summary())


@suite.case("a pair that is no pair is refused and the old one stays, a good one is then taken")
def bad_pair(env):
    replica = env.sharders.replicas[1]
    (first, first_key), (second, second_key) = pairs(env, 2)
    replica.volume.publish(first, first_key)
    wait_until(lambda: served(replica, env.sharders.authority) == der(first), 10, "the new certificate")
    for certificate, key in ((second, first_key), (b"nonsense", first_key), (second, b""), (b"", b"")):
        lines = len(replica.log().splitlines())
        replica.volume.publish(certificate, key)
        wait_until(lambda lines=lines: any('"level":"error"' in line or '"level":"warn' in line
                                           for line in replica.log().splitlines()[lines:]), 15, "a log line says so")
        assert served(replica, env.sharders.authority) == der(first)
    replica.volume.publish(second, second_key)
    wait_until(lambda: served(replica, env.sharders.authority) == der(second), 10, "the good pair")


if __name__ == "__main__":
    suite.main()
