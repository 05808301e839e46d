#!/usr/bin/python3
"""What a shard costs: memory and CPU of a shard on shard/, beside the same controller in controller-runtime.

    make bench-shards
    tests/bench/shards/measure.py --objects 2000 --idle 10 --seconds 10 --only cpp-whole

On a real control plane, with Secrets and a ConfigMap for each, all with the shard's label. No sharder runs: a shard
does not need one while nothing moves. Each program runs alone, one after the other:

    start     until every Secret was reconciled; nothing has to be written then
    idle      nothing changes, the Lease is renewed
    changes   Secrets change at a steady rate; each leads to a write of its ConfigMap, which is checked at the end

whole: checksum-controller, caches of whole objects. metadata: note-copier, caches of metadata alone. Both languages
leave managedFields out of their caches, have 5 workers and Leases of the same times. Needs go, and the programs of
`cmake --build --preset bench --target checksum-controller note_copier`.
"""

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

# pylint: disable=wrong-import-position
import binaries
import load
from control_plane import ControlPlane
from kubeclient import ApiError, Credentials, path_of
from processes import Failed, Process, free_ports, install_signal_handlers, wait_until
from sharder import metric

NAMESPACE, RING, SHARD = "bench", "bench", "bench-0"
SHARD_LABEL = f"shard.alpha.sharding.timebertt.dev/{RING}"
GO_SOURCES = Path(__file__).resolve().parent / "controller_runtime"
BUILD = ROOT / "build" / "bench"
CHECKSUM_CONTROLLER = BUILD / "examples" / "checksum-controller" / "checksum-controller"
NOTE_COPIER = BUILD / "tests" / "bench" / "shards" / "note_copier"
GO_PROGRAM = BUILD / "tests" / "bench" / "shards" / "controller-runtime"
PROGRAMS = {"cpp-whole": [CHECKSUM_CONTROLLER], "go-whole": [GO_PROGRAM],
            "cpp-metadata": [NOTE_COPIER], "go-metadata": [GO_PROGRAM, "--metadata-only=true"]}
PATIENCE = 1800  # seconds for anything; a machine may be busy


# --- objects

def text(seed, size):
    """Text that does not repeat itself, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).hexdigest(size)[:size]


def encoded(value):
    return base64.b64encode(value.encode()).decode()


def metadata(name, index):
    return {"name": name, "namespace": NAMESPACE,
            "labels": {SHARD_LABEL: SHARD, "app.kubernetes.io/name": f"app-{index % 100}",
                       "app.kubernetes.io/managed-by": "bench", "team": f"team-{index % 10}"},
            "annotations": {"note": "first", "example.com/source": f"git.example.com/config/app-{index % 100}"}}


def secret(index):
    """0.9 kB in the cache, and as much again in managedFields."""
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata(f"secret-{index:05}", index),
            "data": {"username": encoded(f"user-{index}"), "password": encoded(text(f"password-{index}", 24)),
                     "key": encoded(text(f"key-{index}", 240))}}


def checksums(one):
    return {key: hashlib.sha256(base64.b64decode(value)).hexdigest() for key, value in one["data"].items()}


def config_map(one, index):
    """As both controllers want it, so that their first reconciliations have nothing to write."""
    name = one["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": one["metadata"]["uid"], "controller": True,
             "blockOwnerDeletion": True}
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": checksums(one),
            "metadata": {**metadata(f"checksums-{name}", index), "ownerReferences": [owner]}}


class Cluster:
    """The control plane and the objects of the one shard."""

    def __init__(self, plane, count):
        self.plane, self.count = plane, count
        self._token = plane.all_powerful_token("bench")
        self._target = load.Target(plane.admin.host, plane.admin.port, str(plane.ca_file))
        self.kubeconfig = plane.write_kubeconfig(plane.folder / "shard.kubeconfig", Credentials(token=self._token))

    def prepare(self):
        """Makes what is missing: a folder that is kept has its objects already."""
        with contextlib.suppress(ApiError):
            self.plane.admin.create("namespaces", None, {"metadata": {"name": NAMESPACE}})
        had = {one["metadata"]["name"] for one in self.list("secrets")}
        self._make("secrets", [one for one in map(secret, range(self.count)) if one["metadata"]["name"] not in had])
        had = {one["metadata"]["name"] for one in self.list("configmaps")}
        maps = (config_map(one, index) for index, one in enumerate(self.list("secrets")))
        self._make("configmaps", [one for one in maps if one["metadata"]["name"] not in had])

    def list(self, resource):
        return self.plane.admin.list(resource, NAMESPACE, labelSelector=f"{SHARD_LABEL}={SHARD}")

    def change(self, indices, rate, kind, mark):
        """Patches these Secrets, `rate` a second. What that has to lead to: {ConfigMap: (key, ..., value)}."""
        requests, wanted = [], {}
        for index in indices:
            name, value = f"secret-{index:05}", text(f"{mark}-{index}", 24)
            if kind == "whole":
                body = {"data": {"password": encoded(value)}}
                wanted[f"checksums-{name}"] = ("data", "password", hashlib.sha256(value.encode()).hexdigest())
            else:
                body = {"metadata": {"annotations": {"note": value}}}
                wanted[f"checksums-{name}"] = ("metadata", "annotations", "note", value)
            requests.append(self._request("PATCH", path_of("secrets", NAMESPACE, name), body,
                                          "application/merge-patch+json"))
        self._run(requests, rate)
        return wanted

    def shows(self, wanted):
        """Whether the ConfigMaps are as they have to be."""
        maps = {one["metadata"]["name"]: one for one in self.list("configmaps")}

        def reached(name, path):
            value = maps[name]
            for part in path[:-1]:
                value = value[part]
            return value == path[-1]

        return all(reached(name, path) for name, path in wanted.items())

    def _make(self, resource, objects):
        path = path_of(resource, NAMESPACE)
        self._run([self._request("POST", path, one, "application/json") for one in objects], None)

    def _request(self, method, path, body, content_type):
        payload = json.dumps(body).encode()
        return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._token}\r\n"
                f"User-Agent: kubectl/v1.36.3\r\nContent-Type: {content_type}\r\nAccept: application/json\r\n"
                f"Content-Length: {len(payload)}\r\n\r\n").encode() + payload

    def _run(self, requests, rate):
        if requests:
            done = load.run(self._target, requests, clients=16, rate=rate, timeout=PATIENCE)
            if done.failures:
                raise Failed(f"{len(done.failures)} requests failed, one: {done.failures[0]}")


# --- programs

class Shard:
    """One program as the shard of the ring. Use as a context manager."""

    def __init__(self, name, cluster, lease_seconds):
        self._port, health = free_ports(2)
        self.process = Process(name, [*PROGRAMS[name], "--kubeconfig", cluster.kubeconfig, "--controllerring", RING,
                                      "--shard-name", SHARD, "--lease-namespace", NAMESPACE, "--lease-seconds",
                                      lease_seconds, "--metrics-bind-address", f"127.0.0.1:{self._port}",
                                      "--health-bind-address", f"127.0.0.1:{health}"],
                               cluster.plane.folder / f"{name}.log")

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.stop(60)  # releases its Lease

    def has_reconciled(self, count):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            with connection.getresponse() as response:
                figures = response.read().decode()
        finally:
            connection.close()
        return ((metric(figures, "controller_runtime_reconcile_total", result="success") or 0) >= count
                and metric(figures, "workqueue_depth") == 0)

    def thread_seconds(self):
        """CPU seconds of the threads that live, in nanoseconds: Process.cpu_seconds() counts in steps of 10 ms."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    def memory(self, name):
        """MiB: VmRSS, VmHWM (its peak so far), RssAnon (without files)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise LookupError(name)


def measure(name, cluster, options, mark):
    """{column: value} of one program."""
    figures = {}
    with Shard(name, cluster, options.lease_seconds) as shard:
        process = shard.process
        wait_until(lambda: shard.has_reconciled(cluster.count), PATIENCE, "all are reconciled", 0.5, process)
        figures["start: CPU s"] = process.cpu_seconds()
        figures["peak MiB"] = shard.memory("VmHWM")
        before = shard.thread_seconds()
        time.sleep(options.idle)  # what is measured
        figures["idle: CPU ms/min"] = (shard.thread_seconds() - before) * 60e3 / options.idle
        figures["RSS MiB"] = shard.memory("VmRSS")
        figures["anonymous MiB"] = shard.memory("RssAnon")
        before = process.cpu_seconds()
        changes = min(options.rate * options.seconds, cluster.count)
        wanted = cluster.change(range(changes), options.rate, name.split("-")[1], mark)
        wait_until(lambda: cluster.shows(wanted), PATIENCE, "the ConfigMaps have followed", 1, process)
        figures["change: CPU ms"] = (process.cpu_seconds() - before) * 1e3 / changes
        figures["RSS after MiB"] = shard.memory("VmRSS")
        figures["peak after MiB"] = shard.memory("VmHWM")
    return figures


def build_go():
    """The Go program, with a toolchain that is new enough."""
    GO_PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    binaries.build(GO_SOURCES, GO_PROGRAM)


def table(rows):
    columns = list(rows[0][1])
    lines = [["", *columns], *([name, *(f"{figures[column]:.1f}" for column in columns)] for name, figures in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("| " + " | ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                                       for i, (cell, width) in enumerate(zip(line, widths))) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--objects", type=int, default=20_000, help="Secrets, and as many ConfigMaps")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--only", default=",".join(PROGRAMS), help="programs, separated by commas")
    parser.add_argument("--idle", type=int, default=60, help="seconds")
    parser.add_argument("--rate", type=int, default=100, help="changes a second")
    parser.add_argument("--seconds", type=int, default=30, help="how long objects change")
    parser.add_argument("--lease-seconds", type=int, default=15, help="more, when the machine is busy")
    parser.add_argument("--folder", help="keep the cluster's data here, and use what is there")
    options = parser.parse_args()
    install_signal_handlers()
    names = options.only.split(",")
    if any(name.startswith("go-") for name in names):
        build_go()
    if options.folder:
        os.makedirs(options.folder, exist_ok=True)
    rows = []
    with ControlPlane(folder=options.folder, say=print) as plane:
        cluster = Cluster(plane, options.objects)
        cluster.prepare()
        print(f"{len(cluster.list('secrets'))} Secrets and {len(cluster.list('configmaps'))} ConfigMaps", flush=True)
        for run in range(options.runs):
            for name in names:
                rows.append((name, measure(name, cluster, options, f"{time.time()}-{run}")))
                print(f"{name}: {rows[-1][1]}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    try:
        main()
    except (Failed, binaries.Unavailable, subprocess.CalledProcessError) as error:
        sys.exit(f"measure.py: {error}")
