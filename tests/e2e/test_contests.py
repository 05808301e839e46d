#!/usr/bin/python3
"""Webhook configurations that others change, once or again and again, and rings of which one resource is not served."""

import contextlib
import threading
import time

import oracle
from environment import CONFIG_MAPS, SECRETS, Environment
from kubeclient import RESOURCES, ApiError
from processes import wait_until
from suite import Suite

SECONDS = 40  # for so long a contest is counted
SERVICE_ACCOUNTS = ("", "serviceaccounts", "v1", "ServiceAccount")
POD_METRICS = ("metrics.k8s.io", "pods", "v1beta1", "PodMetrics")
RESOURCES["apiservices"] = ("/apis/apiregistration.k8s.io/v1", False)

# What AKS adds to the namespaceSelector of every webhook.
ENFORCED = [{"key": "control-plane", "operator": "NotIn", "values": ["true"]},
            {"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]}]

suite = Suite("contests", lambda short: Environment(short=short))


@contextlib.contextmanager
def insisting(ring, manager, change):
    """A controller that changes the ring's webhook as soon as change(webhook) finds something to change."""
    stop = threading.Event()

    def insist():
        while not stop.wait(0.05):
            item = ring.webhook_configuration()
            if item and change(item["webhooks"][0]):
                with contextlib.suppress(ApiError):  # a conflict: the next turn sees what changed
                    ring.env.admin.update("mutatingwebhookconfigurations", None, item["metadata"]["name"], item,
                                          fieldManager=manager)

    thread = threading.Thread(target=insist)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def enforce(webhook):
    expressions = webhook["namespaceSelector"].setdefault("matchExpressions", [])
    missing = [one for one in ENFORCED if one not in expressions]
    expressions += missing
    return bool(missing)


def fail_closed(webhook):
    changed = webhook["failurePolicy"] != "Fail"
    webhook["failurePolicy"] = "Fail"
    return changed


def applies(ring):
    """How often the sharder sent the ring's configuration; all that came before this call is counted."""
    ring.env.plane.sharder_patches()  # waits for the audit log
    return sum(verb == "patch" and resource == "mutatingwebhookconfigurations" and
               name == f"controllerring-{ring.name}" for verb, resource, _, name in ring.env.plane.sharder_requests())


def events(ring):
    return [event for event in ring.env.admin.list("events", "default")
            if event["involvedObject"]["name"] == ring.name]


def told(ring):
    """How many Events the ring has, each as often as it was counted."""
    return sum(event.get("count", 1) for event in events(ring))


@suite.case("a manager that narrows every namespaceSelector gets its way, and objects their shards, without a contest")
def narrowed(env):
    ring = env.ring("narrowed", selector={"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["narrowed", "narrowed-system"]}]})
    env.namespace("narrowed-system", {"control-plane": "true"})
    with ring.shards("shard-a", "shard-b", duration=60):
        ring.wait_ready(["shard-a", "shard-b"])
        before = applies(ring)
        with insisting(ring, "admissionsenforcer", enforce):
            time.sleep(SECONDS)
            count = applies(ring) - before
            env.figure(f"a selector that is narrowed by force: patches, Events in {SECONDS} s", (count, told(ring)))
            assert count <= 8, count
            assert told(ring) == 1, events(ring)
            assert events(ring)[0]["reason"] == "FieldConflict", events(ring)
            assert "admissionsenforcer" in events(ring)[0]["message"], events(ring)
            expressions = ring.webhook_configuration()["webhooks"][0]["namespaceSelector"]["matchExpressions"]
            assert len(expressions) == 3, expressions
            assert ring.condition()["status"] == "True", ring.condition()
            # Where the webhook is not called the leader assigns.
            owner = oracle.Ring(["shard-a", "shard-b"]).owner
            env.admin.create("secrets", "narrowed-system", {"metadata": {"name": "s"}})
            wait_until(lambda: oracle.shard_of(env.admin.get("secrets", "narrowed-system", "s"), ring.name) ==
                       owner("/Secret/narrowed-system/s"), 20, "assigned without the webhook")
            # A wider selector of the ring's own is applied, and narrowed again.
            env.admin.patch("controllerrings", None, ring.name, {"spec": {"namespaceSelector": {
                "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}}})
            wait_until(lambda: ring.webhook_configuration()["webhooks"][0]["namespaceSelector"]["matchExpressions"] == [
                {"key": "kubernetes.io/metadata.name", "operator": "Exists"}, *ENFORCED], 20, "the wider selector")


@suite.case("with a manager that insists on another field, repairs have growing pauses, and one Event tells")
def contested(env):
    ring = env.ring("contested")
    with ring.shards("shard-a", duration=60):
        ring.wait_ready(["shard-a"])
        before = applies(ring)
        with insisting(ring, "intruder", fail_closed):
            time.sleep(SECONDS)
            count = applies(ring) - before
            env.figure(f"failurePolicy is changed by force: patches, Events in {SECONDS} s", (count, told(ring)))
            assert count <= 24, count
            assert told(ring) == 1, events(ring)


@suite.case("a resource whose API server is away keeps the ring's other resources from nothing, and is told")
def not_served(env):
    env.admin.create("apiservices", None, {
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {"group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": True,
                 "groupPriorityMinimum": 100, "versionPriority": 100,
                 "service": {"namespace": "kube-system", "name": "metrics-server", "port": 443}}})
    try:
        ring = env.ring("partial", ((SECRETS, ()), (SERVICE_ACCOUNTS, ()), (POD_METRICS, ())))
        with ring.shards("shard-a", duration=60):
            wait_until(lambda: "metrics.k8s.io" in ring.condition().get("message", ""), 30, "the reason is told")
            assert ring.condition()["status"] == "False", ring.condition()
            assert len(ring.webhook_configuration()["webhooks"][0]["rules"]) == 3, "made all the same"
            wait_until(lambda: events(ring), 20, "an Event")
            made = wait_until(lambda: assigned(env, ring), 20, "the webhook assigns")
            assert oracle.shard_of(made, ring.name) == "shard-a", made
            more = [*ring.manifest()["spec"]["resources"], {"group": CONFIG_MAPS[0], "resource": CONFIG_MAPS[1]}]
            env.plane.grant_sharding("ring-partial-more", {"": ["configmaps"]})
            env.admin.patch("controllerrings", None, ring.name, {"spec": {"resources": more}})
            wait_until(lambda: len(ring.webhook_configuration()["webhooks"][0]["rules"]) == 4, 20,
                       "a change of the spec is applied")
            env.admin.delete("apiservices", None, "v1beta1.metrics.k8s.io")
            env.admin.patch("controllerrings", None, ring.name, {"spec": {"resources": [
                one for one in more if one["group"] == ""]}})
            wait_until(lambda: ring.condition()["status"] == "True", 30, "Ready without it")
    finally:
        with contextlib.suppress(ApiError):
            env.admin.delete("apiservices", None, "v1beta1.metrics.k8s.io")


def assigned(env, ring):
    """A Secret as the webhook would make it; None while it gets no shard."""
    made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": "dry"}}, dryRun="All")
    return made if oracle.shard_of(made, ring.name) else None


if __name__ == "__main__":
    suite.main()
