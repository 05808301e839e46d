#!/usr/bin/python3
"""`make run`: the sharder at work with real shards, processes of examples/checksum-controller. One joins, one leaves in
order, one crashes, one hangs for longer than its Lease, and at last all are restarted one after the other. After each
step it shows who has what, how many objects moved and how long that took, and checks that each object is where the ring
(oracle.py) says.

Without arguments on an embedded API server (tests/apiserver/), with --real on etcd and kube-apiserver, with
--kubeconfig FILE on that cluster (user_cluster.py), after asking, with fewer objects and in a namespace of its own that
is removed afterwards. In a terminal it shows a live table and runs until Ctrl-C; else it prints lines and ends after
the last step. Exits non-zero when an object ends without a live shard, or with another than the ring says.
"""

import argparse
import base64
import collections
import concurrent.futures
import hashlib
import http.client
import json
import os
import secrets
import sys
import threading
import time

import binaries
import oracle
from control_plane import ControlPlane
from embedded_cluster import EmbeddedCluster
from kubeclient import ApiError
from processes import Failed, free_ports, install_signal_handlers, wait_until
from real_shards import Placements, RealShards
from screen import Screen, columns, table
from sharder import Sharders
from shards import state
from user_cluster import UserCluster, say, undisturbed

SHARDS = ("shard-a", "shard-b", "shard-c")
OBJECTS, OBJECTS_IN_YOUR_CLUSTER = 2000, 200  # half of them are Secrets, the others the ConfigMaps that the shards make
OFTEN = {"controller": {"sharder": {"syncPeriod": "5s"}}}  # so that the page's counts of objects are new; usually 5m
# Of a shard, so that crashes do not take long; shards usually have 15. Somebody's cluster may be slow for a while, and a
# shard whose Lease is lost ends.
LEASE_SECONDS, LEASE_SECONDS_IN_YOUR_CLUSTER = 3, 10


def ring(name, namespace):
    """A ring over the Secrets of one namespace and the ConfigMaps that belong to them."""
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": {"resources": [{"group": "", "resource": "secrets",
                                    "controlledResources": [{"group": "", "resource": "configmaps"}]}],
                     "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}


def secret(number):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"object-{number}"},
            "data": {"value": base64.b64encode(f"value {number}".encode()).decode()}}


def is_ours(item):
    """Of all that is in the namespace: what the demonstration and its shards made."""
    return item["metadata"]["name"].startswith(("object-", "checksums-object-"))


class Demonstration:
    """The steps, and what they print. `members`: the shards that are, or ought to be, in the ring. Use as a context
    manager: meanwhile it watches, and draws the table in a terminal."""

    def __init__(self, client, name, namespace, shards):
        self._client, self._name, self._namespace, self._shards = client, name, namespace, shards
        self.members = set(SHARDS)
        self._placements = [Placements(client, resource, namespace, name, is_ours)
                            for resource in ("secrets", "configmaps")]
        self._states = {}  # of the Leases
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="look", daemon=True)
        self.screen = Screen(self.rows)
        self.say = self.screen.say

    def __enter__(self):
        for placements in self._placements:
            placements.__enter__()
        self.screen.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_):
        with undisturbed():
            self._stop.set()
            self._thread.join(10)
            self.screen.__exit__()
            for placements in self._placements:
                placements.__exit__()

    # -- the table

    def _look(self):
        """Twice a second: the shards' own figures, and the states of their Leases."""
        client = self._client.with_timeout(5)
        while not self._stop.wait(0.5):
            for shard in self._shards.all().values():
                shard.scrape()
            try:
                self._states = self._read_states(client)
            except (OSError, http.client.HTTPException, ApiError):
                pass  # the next look shows them

    def rows(self):
        counts = self._counts()
        total = max(1, sum(counts.values()))
        rows = []
        for name, shard in self._shards.all().items():
            process, lease = shard.state(), self._states.get(name) or "gone"
            speed = "-" if shard.speed is None else f"{shard.speed:.0f}"
            rows.append((name, process if lease == "ready" and process != "running" else lease, counts[name],
                         shard.earlier_drains + shard.drains, speed, counts[name] / total))
        if counts[None]:
            rows.append(("no shard", "", counts[None], "", "", counts[None] / total))
        return rows

    def _counts(self):
        return collections.Counter(shard for placements in self._placements for shard in placements.now()[0].values())

    def show(self):
        """The table, as lines that stay; in a terminal, where it is anyway, in one line."""
        if self.screen.terminal:
            counts = self._counts()
            self.say(f"  now: {', '.join(f'{name} {counts[name]}' for name in sorted(self.members))}")
        else:
            self._refresh()
            for line in table(self.rows(), columns()):
                self.say(f"    {line}")

    def _refresh(self):
        for shard in self._shards.all().values():
            shard.scrape()
        self._states = self._read_states(self._client)

    def _read_states(self, client):
        return {item["metadata"]["name"]: state(item) for item in client.list("leases", self._namespace)}

    # -- the steps

    def create(self, count):
        self.say()
        self.say(f"creating {count // 2} Secrets; their shards make a ConfigMap for each")
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for future in [pool.submit(self._client.create, "secrets", self._namespace, secret(number))
                           for number in range(count // 2)]:
                future.result()
        took = time.monotonic() - began
        self._wait_settled(count // 2)
        self.say(f"  {count // 2} Secrets in {took:.1f} s ({count / 2 / took:.0f} a second), the last ConfigMap after "
                 f"{time.monotonic() - began:.1f} s; each object has its shard")
        self.show()

    def step(self, title, change, joins=(), leaves=()):
        """Changes the shards, waits until all objects are where they belong, and says how that went."""
        self.say()
        self.say(title)
        for placements in self._placements:
            placements.mark()
        began = time.time()
        change()
        self.members = (self.members | set(joins)) - set(leaves)
        self._wait_settled()
        self._say_moves(began)
        self.show()

    def _say_moves(self, began):
        moved = sum(placements.moved for placements in self._placements)
        acknowledged = sum(placements.acknowledged for placements in self._placements)
        first = min((one.first_move for one in self._placements if one.first_move), default=began) - began
        last = max((one.last_move for one in self._placements if one.last_move), default=began) - began
        self.say(f"  {moved} objects moved, the first after {first:.2f} s, the last after {last:.2f} s; {acknowledged} "
                 f"drains acknowledged")

    def restart_all(self):
        """One after the other, as a StatefulSet does it."""
        for name in sorted(self.members):
            self._shards.terminate(name)
            self.wait_in_ring(self.members - {name})
            self._shards.start(name)
            self.wait_in_ring(self.members)
            self._wait_settled()

    def wait_in_ring(self, members):
        wait_until(lambda: self._available() == members, 60, f"{sorted(members)} are in the ring")

    def _available(self):
        return {item["metadata"]["name"] for item in self._client.list("leases", self._namespace)
                if item["spec"].get("holderIdentity") == item["metadata"]["name"]}

    # -- what has to be

    def _wait_settled(self, secrets_there=None):
        """Until the watches show each object where it belongs, and then by lists, which are the truth."""
        owners = oracle.Ring(self.members)

        def settled():
            self._shards.check()
            mains, owned = (placements.now() for placements in self._placements)
            count = len(mains[0]) if secrets_there is None else secrets_there
            return (len(mains[0]) == len(owned[0]) == count and not mains[1] and not owned[1] and all(
                shard == owners.owner(oracle.main_key("", "Secret", self._namespace, name.removeprefix("checksums-")))
                for objects, _ in (mains, owned) for name, shard in objects.items()))

        wait_until(settled, 60, "every object has its shard", interval=0.05)
        wrong = self.wrong()
        if wrong:
            raise Failed(f"{len(wrong)} objects are not as they ought to be: {wrong[:5]}")

    def wrong(self):
        """What is not as it ought to be, a line an object."""
        owners = oracle.Ring(self.members)
        mains = [item for item in self._client.list("secrets", self._namespace) if is_ours(item)]
        owned = [item for item in self._client.list("configmaps", self._namespace) if is_ours(item)]
        wrong = oracle.wrong_owners(mains, self._name, owners, "", "Secret")
        wrong += oracle.wrong_owners(owned, self._name, owners)
        wrong += [f"{item['metadata']['name']} drains" for item in mains + owned
                  if oracle.drain_label(self._name) in item["metadata"].get("labels", {})]
        data = {item["metadata"]["name"]: item.get("data", {}) for item in owned}
        wrong += [f"checksums-{item['metadata']['name']} is missing or wrong" for item in mains
                  if data.get(f"checksums-{item['metadata']['name']}") != checksums(item)]
        return wrong


def checksums(item):
    """What its shard has to write into the ConfigMap of a Secret."""
    return {key: hashlib.sha256(base64.b64decode(value)).hexdigest() for key, value in item.get("data", {}).items()}


def show(cluster, name, namespace, sharders, shards, objects):
    """Runs the demonstration; the exit code."""
    cluster.admin.create("controllerrings", None, ring(name, namespace))
    forever = sys.stdout.isatty() and sys.stdin.isatty()
    for replica in sharders.replicas:
        replica.config["status"] = {"bindAddress": f"127.0.0.1:{free_ports(1)[0]}"}
    try:
        shards.start(*SHARDS)
        sharders.start()
        for replica in sharders.replicas:
            say(f"sharder:  process {replica.process.pid}, log {replica.process.log}")
        wait_until(lambda: ready_with(cluster.admin, name, len(SHARDS)), 30, "the ring is ready",
                   alive=sharders.replicas[0].process)
        say(f"ring:     {name} over Secrets and their ConfigMaps is Ready")
        say(f"shards:   {', '.join(SHARDS)}: processes of checksum-controller, each with a Lease of "
            f"{shards.lease_seconds} s")
        say(f"page:     {wait_until(lambda: page_of_leader(sharders), 30, 'a replica leads')}")
        wait_until(lambda: oracle.shard_of(cluster.admin.create(
            "secrets", namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dry-run"}},
            dryRun="All"), name), 20, "the API server calls the webhook")
        with Demonstration(cluster.admin, name, namespace, shards) as demonstration:
            run_steps(demonstration, shards, objects)
            demonstration.say()
            if forever:
                demonstration.say("it goes on until Ctrl-C: look at it, or change something")
                wait_for_interrupt(sharders, shards)
            wrong = demonstration.wrong()
            if wrong:
                demonstration.say(f"WRONG: {len(wrong)} objects are not where they belong: {wrong[:5]}")
            else:
                demonstration.say("every object has the live shard that the ring gives")
    finally:
        with undisturbed():
            shards.stop()
            sharders.stop()
    return 1 if wrong else 0


def page_of_leader(sharders):
    """The address of its page; None while nobody leads."""
    for replica in sharders.replicas:
        address = replica.config["status"]["bindAddress"]
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/status.json")
            with connection.getresponse() as response:
                if json.loads(response.read())["leads"]:
                    return f"http://{address}/status"
        finally:
            connection.close()
    return None


def run_steps(demonstration, shards, objects):
    demonstration.create(objects)
    demonstration.step("shard-d joins: it drains what belongs to it from the others, which let go",
                       lambda: shards.start("shard-d"), joins=["shard-d"])
    demonstration.step("shard-b leaves in order (SIGTERM): it releases its Lease and ends with 0",
                       lambda: shards.terminate("shard-b"), leaves=["shard-b"])
    demonstration.step(f"shard-c crashes (SIGKILL): its Lease is taken over {2 * shards.lease_seconds} s after it was "
                       "renewed", lambda: shards.crash("shard-c"), leaves=["shard-c"])
    demonstration.step("shard-d hangs (SIGSTOP) for longer than its Lease: that is taken over too",
                       lambda: shards.hang("shard-d"), leaves=["shard-d"])
    demonstration.step("shard-d goes on (SIGCONT): it ends with 1, because its Lease is lost, and is started anew",
                       lambda: (shards.go_on("shard-d"), shards.start("shard-d")), joins=["shard-d"])
    demonstration.step("shard-b and shard-c are started anew", lambda: shards.start("shard-b", "shard-c"),
                       joins=["shard-b", "shard-c"])
    demonstration.step("all shards are restarted, one after the other", demonstration.restart_all)


def wait_for_interrupt(sharders, shards):
    try:
        while all(replica.process.alive() for replica in sharders.replicas):
            shards.check()
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
            cluster.grant_sharding("demo", {"": ["secrets", "configmaps"]})
        say(f"cluster:  {'etcd and kube-apiserver' if real else 'the embedded API server'} on "
            f"https://{cluster.admin.host}:{cluster.admin.port}, ready after {time.monotonic() - began:.1f} s")
        cluster.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace",
                                                  "metadata": {"name": "demo"}})
        say("look at it, in another terminal:")
        say(f"          export KUBECONFIG={cluster.kubeconfig}")
        say("          kubectl get controllerrings")
        say("          kubectl get leases -n demo -L alpha.sharding.timebertt.dev/state")
        say(f"          kubectl get secrets,configmaps -n demo -L {oracle.shard_label('demo')}")
        sharders = Sharders(cluster, overrides=OFTEN)
        shards = RealShards(cluster.kubeconfig, "demo", "demo", sharders.folder, LEASE_SECONDS)
        return show(cluster, "demo", "demo", sharders, shards, OBJECTS)


def demonstrate_there(kubeconfig, yes, webhook_host):
    """On somebody's cluster."""
    name = f"sharder-run-{secrets.token_hex(3)}"
    cluster = UserCluster(kubeconfig, name)
    if not cluster.ask(yes):
        say("nothing was touched")
        return 0
    with cluster:
        sharders = Sharders(cluster, address=cluster.reached_at(webhook_host),
                            overrides={"leaderElection": {"resourceNamespace": name}, **OFTEN})
        # The way to this cluster may lead through a proxy.
        proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        for replica in sharders.replicas:
            replica.process.environment.update(proxies)
        sharders.write_kubeconfig()
        cluster.install_crd()
        shards = RealShards(sharders.kubeconfig, name, name, sharders.folder, LEASE_SECONDS_IN_YOUR_CLUSTER, proxies)
        return show(cluster, name, name, sharders, shards, OBJECTS_IN_YOUR_CLUSTER)


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
