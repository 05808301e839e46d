#!/usr/bin/python3
"""What sharderctl takes, beside kubectl that gets the same objects: time to the first line, time in all, CPU time, peak
of memory, size of the program.

    make bench-ctl
    tests/bench/ctl/measure.py --objects 2000 --runs 1

On a real control plane, with Secrets that 5 shards have. No sharder runs: nothing is asked of it. The programs take
turns, and the median of the runs is printed; in brackets, how many times what the first program of a table takes.

kubectl sends 5 requests a second at most, after the first 10: a list in pages of 500 waits for that, and so do many
objects by their names. With --chunk-size=0, a list is one request.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

# pylint: disable=wrong-import-position
import binaries
import load
import oracle
from control_plane import ControlPlane
from processes import Failed, install_signal_handlers
from shards import lease

NAMESPACE = RING = "bench"
SHARDS = [f"bench-{number}" for number in range(5)]
SHARDERCTL = ROOT / "build" / "bin" / "sharderctl"
SOME = 100  # objects that are named on the command line
COLUMNS = {"first": "first line, ms", "whole": "whole, ms", "cpu": "CPU, ms", "peak": "peak, MiB"}


def prepare(plane, count):
    """The ring, its shards, and their objects."""
    plane.install_manifests()
    plane.admin.create("namespaces", None, {"metadata": {"name": NAMESPACE}})
    plane.admin.create("controllerrings", None, {
        "apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": RING},
        "spec": {"resources": [{"group": "", "resource": "secrets"}]}})
    for name in SHARDS:
        plane.admin.create("leases", NAMESPACE, lease(RING, name, duration=3600))
    ring = oracle.Ring(SHARDS)
    label = oracle.shard_label(RING)
    done = load.run(load.Target.of(plane.admin), [load.creation("secrets", NAMESPACE, {
        "metadata": {"name": name, "labels": {label: ring.owner(oracle.main_key("", "Secret", NAMESPACE, name))}},
        "stringData": {"password": "x" * 200}}) for name in (f"s-{number}" for number in range(count))], clients=8)
    if done.failures:
        raise Failed(f"{len(done.failures)} requests failed, one: {done.failures[0]}")


def commands(kubectl, count):
    """{what is compared: {command: words}}; the first one is what the others are compared to."""
    label = oracle.shard_label(RING)
    some = [f"secret/s-{number}" for number in range(min(SOME, count))]
    one, here = some[:1], ["-n", NAMESPACE]
    return {
        f"{count:,} objects": {
            "kubectl get -A -L --chunk-size=0": [kubectl, "get", "secrets", "-A", "-L", label, "--chunk-size=0"],
            "kubectl get -A -L": [kubectl, "get", "secrets", "-A", "-L", label],
            "kubectl get -A -o json": [kubectl, "get", "secrets", "-A", "-o", "json"],
            "sharderctl status": [SHARDERCTL, "status", RING],
            "sharderctl plan --add": [SHARDERCTL, "plan", RING, "--add"]},
        "one object": {
            "kubectl get -o yaml": [kubectl, "get", *one, *here, "-o", "yaml"],
            "sharderctl explain": [SHARDERCTL, "explain", *one, *here]},
        f"{len(some)} objects by name": {
            "kubectl get": [kubectl, "get", *some, *here],
            "sharderctl explain": [SHARDERCTL, "explain", *some, *here]}}


def measure(plane, words):
    """One run of it."""
    done = subprocess.run([sys.executable, Path(__file__).with_name("run_once.py"), *words], capture_output=True,
                          text=True, check=True, timeout=600,
                          env={**os.environ, "KUBECONFIG": str(plane.kubeconfig), "HOME": str(plane.folder)})
    found = json.loads(done.stdout)
    if found["code"] not in (0, 1) or not found["bytes"]:  # 1: without a sharder there are findings
        raise Failed(f"{words[:4]}: {found}: {done.stderr[-500:]}")
    return {name: value * (1 if name == "peak" else 1000) for name, value in found.items() if name in COLUMNS}


def compare(plane, programs, runs):
    """{command: {column: median}} of programs that take turns, after a first run that is not counted."""
    found = {name: [] for name in programs}
    for number in range(runs + 1):
        for name, words in programs.items():
            figures = measure(plane, words)
            if number:
                found[name].append(figures)
    return {name: {column: statistics.median(one[column] for one in several) for column in COLUMNS}
            for name, several in found.items()}


def table(title, rows):
    """Each figure, and how many times that of the first row it is."""
    base = next(iter(rows.values()))
    yield f"| {title} | {' | '.join(COLUMNS.values())} |"
    yield "| --- |" + " ---: |" * len(COLUMNS)
    for name, figures in rows.items():
        cells = [f"{figures[column]:.0f}" + ("" if figures is base else f" ({figures[column] / base[column]:.2g})")
                 for column in COLUMNS]
        yield f"| {name} | {' | '.join(cells)} |"


def megabytes(program, folder):
    """Of a copy without symbols, as packages have it."""
    copy = folder / "stripped"
    subprocess.run(["strip", "-o", copy, program], check=True)
    return copy.stat().st_size / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--objects", type=int, default=20_000, help="Secrets")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    install_signal_handlers()
    with ControlPlane(say=print) as plane:
        prepare(plane, options.objects)
        kubectl = plane.bin / "kubectl"
        for title, programs in commands(kubectl, options.objects).items():
            print("\n".join(table(title, compare(plane, programs, options.runs))), flush=True)
        for program in (kubectl, SHARDERCTL):
            print(f"{program.name}: {megabytes(program, plane.folder):.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except (Failed, binaries.Unavailable, subprocess.CalledProcessError) as error:
        sys.exit(f"measure.py: {error}")
