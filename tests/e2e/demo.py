#!/usr/bin/python3
"""`make run`: the sharder at work. A ring with three shards, objects that are created, and the shard that each got.

Without arguments on a throw-away control plane; with --kubeconfig FILE on that cluster, after asking, in a namespace of
its own that is removed afterwards. Runs until Ctrl-C; without a terminal it ends by itself. Exits non-zero when an
object got no shard, or another than the ring says.
"""

import argparse
import http.client
import itertools
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import yaml

import binaries
import oracle
from control_plane import ROOT, SYSTEM_NAMESPACE, ControlPlane
from kubeclient import Client, Credentials, path_of
from processes import Failed, Process, free_ports, install_signal_handlers, wait_until
from sharder import Sharders
from shards import Shards

SHARDS = ("shard-a", "shard-b", "shard-c")
OBJECTS_WITHOUT_A_TERMINAL = 24


def say(line=""):
    print(line, flush=True)


class ProxyClient(Client):
    """A cluster through `kubectl proxy`, which knows every kind of credentials."""

    def __init__(self, port):
        super().__init__(port, None, Credentials())

    def open_connection(self, timeout):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


class UserCluster:
    """The cluster of --kubeconfig. Takes back what it put there: the CRD if it was not there, namespace and ring."""

    def __init__(self, kubeconfig, name):
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="sharder-run-"))
        self.bin = binaries.find()
        self._source = kubeconfig
        self._installed_crd = False
        self.admin = self._proxy = None
        self.server = ""

    def kubectl(self, *arguments):
        done = subprocess.run([self.bin / "kubectl", f"--kubeconfig={self._source}", *map(str, arguments)],
                              capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise Failed(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def sharder_kubeconfig(self, path):
        """A copy with everything inline."""
        path.touch(mode=0o600)
        path.write_text(self.kubectl("config", "view", "--raw", "--flatten", "--minify"), encoding="utf-8")
        return path

    def ask(self):
        """Says which cluster this is; True when the person at the terminal wants it."""
        view = yaml.safe_load(self.kubectl("config", "view", "--minify"))
        self.server = view["clusters"][0]["cluster"]["server"]
        say(f"cluster:  {self.server}")
        say(f"context:  {view['current-context']}, of {self._source}")
        say(f"will make there: namespace and ControllerRing {self.name}, its webhook configuration, and the CRD")
        say("controllerrings.sharding.timebertt.dev if it is missing. All of it is removed at the end.")
        if not sys.stdin.isatty():
            raise Failed("make run KUBECONFIG=FILE asks before it touches a cluster: run it in a terminal")
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")

    def __enter__(self):
        port = free_ports(1)[0]
        self._proxy = Process("kubectl-proxy", [self.bin / "kubectl", f"--kubeconfig={self._source}", "proxy",
                                                f"--port={port}"], self.folder / "proxy.log")
        self._proxy.start()
        self.admin = ProxyClient(port)
        try:
            wait_until(lambda: self.admin.raw("GET", "/version")[0] == 200, 15, "the cluster answers",
                       alive=self._proxy)
            self._install_crd()
            self.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace",
                                                   "metadata": {"name": self.name}})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        say("cleaning up")
        try:
            for resource, name in (("controllerrings", self.name),
                                   ("mutatingwebhookconfigurations", f"controllerring-{self.name}"),
                                   ("namespaces", self.name)):
                status, _ = self.admin.raw("DELETE", path_of(resource, None, name))
                if status not in (200, 202, 404):
                    say(f"could not delete {resource} {name}: {status}")
            if self._installed_crd:
                self.kubectl("delete", "-k", ROOT / "manifests" / "crd")
        finally:
            self._proxy.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _install_crd(self):
        status, rings = self.admin.raw("GET", path_of("controllerrings"))
        if status == 404:
            self.kubectl("apply", "--server-side", "-k", ROOT / "manifests" / "crd")
            self._installed_crd = True
            wait_until(lambda: self.admin.raw("GET", path_of("controllerrings"))[0] == 200, 20, "the CRD is served")
        elif json.loads(rings)["items"]:
            # Our replica would lead them, beside the sharder that does.
            raise Failed("this cluster has ControllerRings already, and this demonstration would lead them too: "
                         "use a cluster without")

    def webhook_host(self):
        """The address of this machine from which it talks to the API server, and so most likely is reached."""
        url = urllib.parse.urlsplit(self.server)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((url.hostname, url.port or 443))
            return probe.getsockname()[0]


def ring(name, namespace):
    """A ring over Secrets and the ConfigMaps that they own, in one namespace."""
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": {"resources": [{"group": "", "resource": "secrets",
                                    "controlledResources": [{"group": "", "resource": "configmaps"}]}],
                     "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}


def owned_config_map(secret):
    metadata = secret["metadata"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": f"checksum-{metadata['name']}",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": metadata["name"], "uid": metadata["uid"],
                             "controller": True}]}}


class Objects:
    """Creates pairs of a Secret and the ConfigMap that it owns, and looks at the shards that they got."""

    def __init__(self, client, ring_name, namespace):
        self._client, self._ring, self._namespace = client, ring_name, namespace
        self._owners = oracle.Ring(SHARDS)
        self.counts = dict.fromkeys(SHARDS, 0)
        self.wrong = 0

    def create_pair(self, number):
        secret = self._client.create("secrets", self._namespace, {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"object-{number}"}})
        config_map = self._client.create("configmaps", self._namespace, owned_config_map(secret))
        wanted = self._owners.owner(oracle.main_key("", "Secret", self._namespace, f"object-{number}"))
        for kind, item in (("secret", secret), ("configmap", config_map)):
            shard = oracle.shard_of(item, self._ring)
            self.counts[shard or "none"] = self.counts.get(shard or "none", 0) + 1
            note = "" if shard == wanted else f"   WRONG: the ring says {wanted}"
            self.wrong += shard != wanted
            say(f"  {kind:<9} {item['metadata']['name']:<22} -> {shard or 'no shard'}{note}")

    def summary(self):
        say()
        total = sum(self.counts.values())
        for shard, count in sorted(self.counts.items()):
            say(f"  {shard:<10} {count:>5} objects  {'#' * round(40 * count / max(1, total))}")
        say(f"  {total} objects, {self.wrong} without their shard")


def show(cluster, name, namespace, webhook_host, election_namespace):
    """Runs the demonstration; the exit code."""
    sharders = Sharders(cluster, count=1, hosts=("127.0.0.1", "localhost") + tuple({webhook_host} - {"127.0.0.1"}),
                        overrides={"leaderElection": {"resourceNamespace": election_namespace}})
    replica = sharders.replicas[0]
    replica.config["webhook"]["server"]["bindAddress"] = f"{webhook_host}:{replica.port}"
    replica.config["webhook"]["config"]["clientConfig"]["url"] = f"https://{webhook_host}:{replica.port}"
    cluster.admin.create("controllerrings", None, ring(name, namespace))
    try:
        with Shards(cluster.admin, name, namespace) as shards:
            say(f"shards:   {', '.join(SHARDS)}, each with a Lease")
            shards.start(*SHARDS)
            sharders.start()
            say(f"sharder:  {replica.process.pid}, log {replica.process.log}")
            wait_until(lambda: ready_with(cluster.admin, name, len(SHARDS)), 30, "the ring is ready",
                       alive=replica.process)
            say(f"ring:     {name} is Ready, {len(SHARDS)} of {len(SHARDS)} shards available")
            objects = Objects(cluster.admin, name, namespace)
            create_until_told(objects)
            objects.summary()
    finally:
        sharders.stop()
    return 1 if objects.wrong else 0


def ready_with(client, name, shards):
    status = client.get("controllerrings", None, name).get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return ready and status.get("availableShards") == shards


def create_until_told(objects):
    forever = sys.stdout.isatty() and sys.stdin.isatty()
    say()
    say("creating Secrets, each with a ConfigMap that it owns" + ("; Ctrl-C ends it" if forever else ""))
    try:
        for number in itertools.count(1) if forever else range(1, OBJECTS_WITHOUT_A_TERMINAL // 2 + 1):
            objects.create_pair(number)
            time.sleep(0.5 if forever else 0.05)
    except KeyboardInterrupt:
        say()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", help="run on this cluster instead of a throw-away control plane")
    parser.add_argument("--webhook-host", help="address under which that cluster's API server reaches this machine")
    arguments = parser.parse_args()
    install_signal_handlers()
    if not arguments.kubeconfig:
        say("starting a throw-away control plane: etcd and kube-apiserver on loopback ports")
        with ControlPlane(say=say) as plane:
            plane.install_manifests()
            say(f"look at it: kubectl --kubeconfig {plane.kubeconfig} get controllerrings,secrets --show-labels")
            return show(plane, "demo", "default", "127.0.0.1", SYSTEM_NAMESPACE)
    name = f"sharder-run-{secrets.token_hex(3)}"
    cluster = UserCluster(arguments.kubeconfig, name)
    if not cluster.ask():
        say("nothing was touched")
        return 0
    with cluster:
        return show(cluster, name, name, arguments.webhook_host or cluster.webhook_host(), election_namespace=name)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, binaries.Unavailable) as failed:
        sys.exit(f"make run: {failed}")
    except KeyboardInterrupt:
        sys.exit("make run: ended before it was done")
