#!/usr/bin/python3
"""How fast this API server takes bare label patches: what the rebalancer is measured against.

nghttp2's h2load sends them, over HTTP/2 like the sharder, as a ServiceAccount like the sharder, and without a
precondition. It shares no code with the sharder and takes next to no time of its own.

Run as a program, it shows the speed at 8, 16, 32, 64 and 128 in flight on a throw-away control plane.
"""

import concurrent.futures
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from control_plane import ControlPlane
from kubeclient import path_of
from processes import Failed, install_signal_handlers, spawn

IN_FLIGHT = (8, 16, 32, 64, 128)
MAX_STREAMS = 100  # that kube-apiserver allows on a connection


class Reference:
    """Sends many alike requests to a control plane, as a ServiceAccount that may do everything."""

    def __init__(self, plane):
        self._plane = plane
        self._token = plane.all_powerful_token("reference")

    def patch_labels(self, paths, labels, in_flight, manager="reference"):
        """Sets these labels (None: removes) on each object, by merge patch; seconds from the first request to the last
        answer. As who labels objects that somebody else has made: with a field manager of its own."""
        body = {"metadata": {"labels": labels}}
        return self._send([f"{path}?fieldManager={manager}" for path in paths], "PATCH", "application/merge-patch+json",
                          body, in_flight)

    def create(self, path, body, count, in_flight=64):
        """Creates `count` objects of the same body, which says generateName; seconds."""
        return self._send([path] * count, "POST", "application/json", body, in_flight)

    def _send(self, paths, method, content_type, body, in_flight):
        connections = math.ceil(in_flight / MAX_STREAMS)
        shares = [paths[index::connections] for index in range(connections)]
        with tempfile.TemporaryDirectory(prefix="sharder-e2e-h2load-") as folder:
            data = Path(folder) / "body"
            data.write_text(json.dumps(body, separators=(",", ":")), encoding="ascii")

            def load(index):
                uris = Path(folder) / f"uris-{index}"
                uris.write_text("".join(f"https://127.0.0.1:{self._plane.port}{path}\n" for path in shares[index]),
                                encoding="ascii")
                return _h2load(["-n", len(shares[index]), "-c", 1, "-m", in_flight // connections, "-i", uris,
                                "-d", data, "-H", f":method: {method}", "-H", f"content-type: {content_type}",
                                "-H", f"authorization: Bearer {self._token}"], len(shares[index]))

            with concurrent.futures.ThreadPoolExecutor(connections) as pool:
                return max(pool.map(load, range(connections)))


def _h2load(arguments, expected):
    """The seconds that it says; Failed unless every request was answered with 2xx."""
    child = spawn(["h2load", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                  stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = child.communicate(timeout=600)
    finally:
        child.kill()
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    took = re.search(r"finished in ([\d.]+)(us|ms|s|m)\b", output)
    if child.returncode or not codes or not took or int(codes[1]) != expected:
        raise Failed(f"h2load: {expected} requests, exit code {child.returncode}:\n{output}")
    return float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[took[2]]


def best_in_flight(measure, rounds=3):
    """(in flight, {in flight: seconds}): the level at which measure(in flight) takes the fewest seconds on average of the
    rounds. Levels differ no more than single runs of one level do, so one round would choose by chance."""
    took = [{level: measure(level) for level in IN_FLIGHT} for _ in range(rounds)]
    seconds = {level: statistics.mean(one[level] for one in took) for level in IN_FLIGHT}
    return min(seconds, key=seconds.get), seconds


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4400
    install_signal_handlers()
    with ControlPlane(say=print) as plane:
        reference = Reference(plane)
        for level in IN_FLIGHT:
            namespace = f"n-{level}"
            plane.admin.create("namespaces", None, {"metadata": {"name": namespace}})
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "s-", "labels": {"shard": "a"}},
                    "stringData": {"key": "value"}}
            created = reference.create(path_of("secrets", namespace), body, count)
            paths = [path_of("secrets", namespace, item["metadata"]["name"])
                     for item in plane.admin.list("secrets", namespace)]
            assert len(paths) == count, f"{len(paths)} objects"
            seconds = reference.patch_labels(paths, {"shard": "b"}, level)
            left = [item for item in plane.admin.list("secrets", namespace)
                    if item["metadata"]["labels"]["shard"] != "b"]
            assert not left, f"{len(left)} were not patched"
            print(f"{level:>4} in flight: {count} patches in {seconds:.2f} s, {count / seconds:.0f}/s "
                  f"(creations {count / created:.0f}/s)", flush=True)


if __name__ == "__main__":
    main()
