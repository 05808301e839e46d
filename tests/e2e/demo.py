#!/usr/bin/python3
"""`make run`: the sharder at work. 2,000 objects on three shards; one joins, one leaves in order, one crashes; after each
step it shows who has what, how many objects moved and how long that took.

Without arguments on an embedded API server (tests/apiserver/), with --real on etcd and kube-apiserver, with --kubeconfig
FILE on that cluster (user_cluster.py), after asking, with fewer objects and in a namespace of its own that is removed
afterwards. Runs until Ctrl-C; without a terminal it ends after the last step. Exits non-zero when an object ends without a live shard, or with
another than the ring says.
"""

import argparse
import collections
import concurrent.futures
import os
import secrets
import sys
import time

import binaries
import oracle
from agent import Agent
from control_plane import ControlPlane
from embedded_cluster import EmbeddedCluster
from kubeclient import ApiError, path_of
from processes import Failed, install_signal_handlers, wait_until
from sharder import Sharders
from shards import Shards
from user_cluster import UserCluster, say, undisturbed

SHARDS = ("shard-a", "shard-b", "shard-c")
OBJECTS, OBJECTS_IN_YOUR_CLUSTER = 2000, 200
KINDS = {"secrets": "Secret", "configmaps": "ConfigMap"}
LEASE_SECONDS = 3  # so that the crash does not take long; shards usually have 15


def ring(name, namespace):
    """A ring over Secrets and ConfigMaps in one namespace."""
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": {"resources": [{"group": "", "resource": resource} for resource in KINDS],
                     "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}


class Demonstration:
    """The steps, and what they print. `shards` are in the ring already."""

    def __init__(self, client, name, namespace, shards):
        self._client, self._name, self._namespace, self._shards = client, name, namespace, shards
        self._members = set(SHARDS)

    def create(self, count):
        say()
        say(f"creating {count} objects: Secrets and ConfigMaps")
        began = time.monotonic()

        def create(number):
            for resource in KINDS:
                self._client.create(resource, self._namespace, {
                    "apiVersion": "v1", "kind": KINDS[resource], "metadata": {"name": f"object-{number}"}})

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for future in [pool.submit(create, number) for number in range(count // len(KINDS))]:
                future.result()
        took = time.monotonic() - began
        self._wait_settled()
        say(f"  {count} objects in {took:.1f} s ({count / took:.0f} a second), each has its shard")
        self.show()

    def step(self, title, change, joins=(), leaves=()):
        """Changes the shards, waits until all objects are where they belong, and says how that went."""
        say()
        say(title)
        self._shards.agent.mark()
        began = time.time()
        change()
        self._members = (self._members | set(joins)) - set(leaves)
        self._wait_settled()
        report = self._shards.agent.report()
        last, first = ((report[key] or began) - began for key in ("last_move", "first_move"))
        say(f"  {report['moved']} objects moved, the first after {first:.2f} s, the last after {last:.2f} s; "
            f"{report['acknowledged']} drains acknowledged")
        self.show()

    def show(self):
        counts = self._shards.agent.report()["shards"]
        total = sum(counts.values())
        for shard in sorted(self._members | set(counts)):
            count = counts.get(shard, 0)
            say(f"    {shard or 'no shard':<10} {count:>6} objects {100 * count / max(1, total):>5.1f} %  "
                f"{'#' * round(60 * count / max(1, total))}")

    def wrong(self):
        """What is not as it ought to be, a line an object."""
        owners = oracle.Ring(self._members)
        return [line for resource, kind in KINDS.items()
                for line in oracle.wrong_owners(self._client.list(resource, self._namespace), self._name, owners, "",
                                                kind)]

    def _wait_settled(self):
        owners = oracle.Ring(self._members)
        expected = collections.Counter(
            owners.owner(oracle.main_key("", kind, self._namespace, item["metadata"]["name"]))
            for resource, kind in KINDS.items() for item in self._client.list(resource, self._namespace))

        def settled():
            report = self._shards.agent.report()
            return report["shards"] == expected and not report["draining"]

        wait_until(settled, 60, "every object has its shard")


def show(cluster, name, namespace, sharders, objects):
    """Runs the demonstration; the exit code."""
    cluster.admin.create("controllerrings", None, ring(name, namespace))
    agent = Agent(cluster.admin, name, [path_of(resource, namespace) for resource in KINDS])
    forever = sys.stdout.isatty() and sys.stdin.isatty()
    try:
        with Shards(cluster.admin, name, namespace, duration=LEASE_SECONDS, renew_every=LEASE_SECONDS / 4,
                    agent=agent) as shards:
            shards.start(*SHARDS)
            sharders.start()
            for replica in sharders.replicas:
                say(f"sharder:  process {replica.process.pid}, log {replica.process.log}")
            wait_until(lambda: ready_with(cluster.admin, name, len(SHARDS)), 30, "the ring is ready",
                       alive=sharders.replicas[0].process)
            say(f"ring:     {name} over Secrets and ConfigMaps is Ready; shards: {', '.join(SHARDS)}, each with a Lease "
                f"of {LEASE_SECONDS} s")
            wait_until(lambda: oracle.shard_of(cluster.admin.create(
                "secrets", namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dry-run"}},
                dryRun="All"), name), 20, "the API server calls the webhook")
            demonstration = Demonstration(cluster.admin, name, namespace, shards)
            run_steps(demonstration, shards, objects)
            say()
            if forever:
                say("it goes on until Ctrl-C: look at it, or change something")
                wait_for_interrupt(sharders)
            wrong = demonstration.wrong()
            if wrong:
                say(f"WRONG: {len(wrong)} objects are not where they belong: {wrong[:5]}")
            else:
                say("every object has the live shard that the ring gives")
    finally:
        with undisturbed():
            sharders.stop()
    return 1 if wrong else 0


def run_steps(demonstration, shards, objects):
    demonstration.create(objects)
    demonstration.step("shard-d joins: it drains what belongs to it from the others, which let go",
                       lambda: shards.start("shard-d"), joins=["shard-d"])
    demonstration.step("shard-b leaves in order: it releases its Lease", lambda: shards.release("shard-b"),
                       leaves=["shard-b"])
    demonstration.step(f"shard-c crashes: its Lease is taken over {2 * LEASE_SECONDS} s after the last renewal",
                       lambda: shards.crash("shard-c"), leaves=["shard-c"])


def wait_for_interrupt(sharders):
    try:
        while all(replica.process.alive() for replica in sharders.replicas):
            time.sleep(0.5)
        raise Failed("a replica of the sharder ended by itself\n" +
                     "\n".join(replica.process.log_end() for replica in sharders.replicas))
    except KeyboardInterrupt:
        say()


def ready_with(client, name, shards):
    status = client.get("controllerrings", None, name).get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return ready and status.get("availableShards") == shards


def demonstrate_here(real):
    """On a control plane of our own."""
    began = time.monotonic()
    with ControlPlane() if real else EmbeddedCluster() as cluster:
        if real:
            cluster.install_manifests()
            cluster.grant_sharding("demo", {"": list(KINDS)})
        say(f"cluster:  {'etcd and kube-apiserver' if real else 'the embedded API server'} on "
            f"https://{cluster.admin.host}:{cluster.admin.port}, ready after {time.monotonic() - began:.1f} s")
        cluster.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
        say("look at it, in another terminal:")
        say(f"          export KUBECONFIG={cluster.kubeconfig}")
        say("          kubectl get controllerrings")
        say("          kubectl get leases -n demo -L alpha.sharding.timebertt.dev/state")
        say(f"          kubectl get secrets,configmaps -n demo -L {oracle.shard_label('demo')}")
        return show(cluster, "demo", "demo", Sharders(cluster), OBJECTS)


def demonstrate_there(kubeconfig, yes, webhook_host):
    """On somebody's cluster."""
    name = f"sharder-run-{secrets.token_hex(3)}"
    cluster = UserCluster(kubeconfig, name)
    if not cluster.ask(yes):
        say("nothing was touched")
        return 0
    with cluster:
        sharders = Sharders(cluster, address=cluster.reached_at(webhook_host),
                            overrides={"leaderElection": {"resourceNamespace": name}})
        for replica in sharders.replicas:
            # The way to this cluster may lead through a proxy.
            replica.process.environment.update((key, value) for key, value in os.environ.items()
                                               if key.lower().endswith("_proxy"))
        cluster.install_crd()
        return show(cluster, name, name, sharders, OBJECTS_IN_YOUR_CLUSTER)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", help="run on this cluster")
    parser.add_argument("--yes", action="store_true", help="do not ask whether that cluster may be used")
    parser.add_argument("--webhook-host", metavar="HOST[:PORT]",
                        help="where that cluster's API server reaches this machine; by default that is found out")
    parser.add_argument("--real", action="store_true", help="run on etcd and kube-apiserver on loopback ports")
    arguments = parser.parse_args()
    install_signal_handlers()
    if arguments.kubeconfig:
        return demonstrate_there(arguments.kubeconfig, arguments.yes, arguments.webhook_host)
    return demonstrate_here(arguments.real)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, ApiError, binaries.Unavailable) as failed:
        sys.exit(f"make run: {failed}")
    except KeyboardInterrupt:
        sys.exit("make run: ended before it was done")
