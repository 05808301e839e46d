#!/usr/bin/python3
"""What a replica costs: memory after start, CPU time of an admission. Figures; only gross errors fail."""

import json
import subprocess

import admission
from cluster import ROOT
from environment import Environment
from suite import Suite

suite = Suite("footprint", lambda short: Environment(replicas=1, short=short), parallel=False)

CONNECTIONS = 32


@suite.case("resident set after start")
def resident_set(env):
    process = env.sharders.replicas[0].process
    resident = process.resident_bytes() / 2**20
    env.figure("resident set after start, MiB", f"{resident:.1f}")
    if not env.short:  # sanitizers need a multiple
        assert resident < 58, "more than the Go sharder"


@suite.case("CPU time of an admission at 5 and at 50 shards")
def cpu_per_admission(env):
    replica = env.sharders.replicas[0]
    for count in (5, 50):
        ring = env.ring(f"cpu-{count}")
        names = [f"controller-{index}" for index in range(count)]
        with ring.shards(*names, duration=60):
            ring.wait_ready(names, timeout=40)
            admissions, seconds, cpu, latency = hit(env, replica, ring.name)
        env.figure(f"{count} shards: CPU an admission", f"{cpu / admissions * 1e6:.1f} us ({admissions} admissions in "
                   f"{seconds:.1f} s, {admissions / seconds:.0f}/s, {latency})")
        if not env.short:
            assert cpu / admissions < 220e-6, "more than the Go sharder"
    env.figure("resident set after the load, MiB", f"{replica.process.resident_bytes() / 2**20:.1f}")


def hit(env, replica, ring):
    """Sends admission reviews with wrk for a while: (admissions, seconds, CPU seconds, latencies as text)."""
    seconds = 2 if env.short else 8
    body = env.plane.folder / "review.json"
    body.write_text(json.dumps(admission.secret_review("default", "NAME")), encoding="ascii")
    url = f"https://127.0.0.1:{replica.port}{admission.webhook_path(ring)}"
    arguments = ["-t", "1", "-c", str(CONNECTIONS), "--latency", "-s", ROOT / "tests" / "e2e" / "admissions.lua", url]
    wrk(arguments, 1, body)  # connections, caches
    before = replica.process.cpu_seconds()
    report = wrk(arguments, seconds, body)
    used = replica.process.cpu_seconds() - before
    assert report["errors"] == 0, report
    latency = f"median {report['p50'] / 1000:.2f} ms, p99 {report['p99'] / 1000:.2f} ms"
    return report["requests"], report["seconds"], used, latency


def wrk(arguments, seconds, body):
    done = subprocess.run(["wrk", "-d", f"{seconds}s", *map(str, arguments), "--", body], capture_output=True,
                          text=True, check=False, timeout=seconds + 30)
    assert done.returncode == 0, done.stderr
    # The last line is the script's: its figures as JSON.
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    suite.main()
