#!/usr/bin/python3
"""The condition WebhookReachable: does the API server accept the certificate that the leader shows (protocol, 5)?"""

import base64
import time

import oracle
import pki
from environment import Environment
from processes import wait_until
from sharder import metric
from suite import Suite

# The caBundle belongs to this test, as it would to cert-manager's cainjector.
INJECTED = {"webhook": {"config": {"clientConfig": {"caBundle": None}}}}
suite = Suite("webhook_trust", lambda short: Environment(short=short, overrides=INJECTED), parallel=False)

MINUTE = 60
NAMES = ["shard-a", "shard-b"]


def inject(env, ring, bundle):
    """Gives the ring's webhook configuration this caBundle (bytes)."""
    name = wait_until(ring.webhook_configuration, 20, "webhook configuration")["metadata"]["name"]
    value = {"value": base64.b64encode(bundle).decode()} if bundle else {}
    env.admin.patch("mutatingwebhookconfigurations", None, name, [
        {"op": "add" if bundle else "remove", "path": "/webhooks/0/clientConfig/caBundle", **value}],
        "application/json-patch+json")


def wait_condition(ring, status, reason, text=""):
    def reached():
        condition = ring.condition("WebhookReachable")
        return ((condition.get("status"), condition.get("reason")) == (status, reason) and
                text in condition["message"] and condition)

    return wait_until(reached, MINUTE, f"WebhookReachable of {ring.name} is {status}, {reason}")


def recorded(env, ring):
    """The Events of the ring about this: [(reason, message, count)]."""
    return [(item["reason"], item["message"], item.get("count", 1)) for item in env.admin.list("events", "default")
            if item["involvedObject"]["name"] == ring.name and item["reason"] == "WebhookNotReachable"]


def show(env, name, hosts, authority=None):
    pair = (authority or env.sharders.authority).issue(name, "/CN=sharder", hosts)
    for replica in env.sharders.replicas:
        replica.volume.publish(pair.certificate.read_bytes(), pair.key.read_bytes())


@suite.case("a caBundle or a certificate that do not fit: WebhookReachable is False within a minute, with one Event, and "
            "True again")
def mismatches(env):
    right = env.sharders.authority.certificate.read_bytes()
    other = pki.Authority(env.plane.folder / "other-ca", "webhook-ca")
    ring = env.ring("trust")
    with ring.shards(*NAMES, duration=60):
        inject(env, ring, right)
        wait_condition(ring, "True", "CertificateTrusted")
        ring.wait_ready(NAMES)
        assert not recorded(env, ring)

        # The configuration changes.
        inject(env, ring, other.certificate.read_bytes())
        wait_condition(ring, "False", "CertificateNotTrusted", "put the CA that issued")
        wait_until(lambda: len(recorded(env, ring)) == 1, 20, "an Event")
        wait_until(lambda: unreachable(env, "trust"), 20, "the metric of each replica")
        assert ring.condition()["status"] == "True", "Ready keeps its meaning"
        wait_until(lambda: oracle.shard_of(env.admin.create(
            "secrets", "trust", {"metadata": {"name": "dry"}}, dryRun="All"), "trust") is None, 20,
            "the API server does not reach the webhook either")
        inject(env, ring, right)
        wait_condition(ring, "True", "CertificateTrusted")
        ring.wait_webhook()

        # The certificate changes.
        show(env, "foreign", ("127.0.0.1",), other)
        wait_condition(ring, "False", "CertificateNotTrusted")
        show(env, "other-name", ("sharder.sharding-system.svc",))
        wait_condition(ring, "False", "NameNotCovered", "for sharder.sharding-system.svc; issue one that is also for 127")
        show(env, "right", ("127.0.0.1",))
        condition = wait_condition(ring, "True", "CertificateTrusted")
        assert condition["observedGeneration"] == ring.condition()["observedGeneration"]
        ring.wait_webhook()
        wait_until(lambda: len(recorded(env, ring)) == 2, 20, "an Event for the other reason")
        assert all(count == 1 for _, _, count in recorded(env, ring)), recorded(env, ring)


def unreachable(env, ring):
    token = env.plane.metrics_token()
    return all(metric(replica.scrape(token), "controller_sharding_webhook_reachable", controllerring=ring) == 0
               for replica in env.sharders.replicas)


@suite.case("garbage in the caBundle is False, none at all with a url is Unknown; a new leader writes nothing anew")
def bundles(env):
    ring = env.ring("bundles")
    inject(env, ring, b"nonsense")
    wait_condition(ring, "False", "InvalidCABundle")
    inject(env, ring, b"")
    before = wait_condition(ring, "Unknown", "NoCABundle")
    version = env.admin.get("controllerrings", None, "bundles")["metadata"]["resourceVersion"]
    events = recorded(env, ring)
    leader = env.sharders.wait_leader()
    leader.process.stop(25)
    wait_until(lambda: env.sharders.leader() not in (None, leader), 60, "another replica leads")
    leader.start().wait_ready()
    until = time.monotonic() + 20
    wait_until(lambda: time.monotonic() > until, 30, "the new leader has looked some times")
    assert ring.condition("WebhookReachable") == before
    assert env.admin.get("controllerrings", None, "bundles")["metadata"]["resourceVersion"] == version
    assert recorded(env, ring) == events


@suite.case("with the Go project's permissions, a caBundle is read again before it is said to be wrong, and while it is")
def unwatched(bare):
    with Environment(short=bare.short, overrides=INJECTED, start=False, may_be_forbidden=True) as env:
        env.plane.forbid_reading_configurations()
        env.sharders.start()
        right = env.sharders.authority.certificate.read_bytes()
        ring = env.ring("unread")
        with ring.shards("shard-a", duration=60) as shards:
            inject(env, ring, right)  # perhaps behind the last apply, whose answer did not show it then
            shards.start("shard-b")  # the configuration is applied, and its answer shows it
            wait_condition(ring, "True", "CertificateTrusted")
            assert not recorded(env, ring)
            inject(env, ring, pki.Authority(env.plane.folder / "other-ca", "webhook-ca").certificate.read_bytes())
            shards.start("shard-c")
            wait_condition(ring, "False", "CertificateNotTrusted")
            inject(env, ring, right)
            wait_condition(ring, "True", "CertificateTrusted")
            wait_until(lambda: len(recorded(env, ring)) == 1, 20, "an Event")


if __name__ == "__main__":
    suite.main()
