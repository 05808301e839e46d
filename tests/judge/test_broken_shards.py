#!/usr/bin/python3
"""The judge is judged: shards that are broken in one place, on the embedded API server with the real sharder. Each has
to be found out, by the right rule. An intact shard passes the same run, and a shorter one on a real control plane."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

# pylint: disable=wrong-import-position
import python_shard
from control_plane import ControlPlane
from embedded_cluster import EmbeddedCluster
from sharder import Sharders
from suite import Suite
from trial import PROGRAM, RESOURCES, Trial

UNSETTLED = {"J4", "J5"}  # rules that mean nothing as long as objects change and move
AT_ONCE = threading.BoundedSemaphore(3)  # each has five processes

suite = Suite("broken shards")


@contextlib.contextmanager
def trial(cluster, kind, patient):
    """A Trial on a cluster that is entered here."""
    with AT_ONCE, cluster:
        if isinstance(cluster, ControlPlane):
            cluster.install_manifests()
            cluster.grant_sharding("trial", {"": list(RESOURCES)})
        sharders = Sharders(cluster, count=1)
        sharders.start()
        life = Trial(cluster, kind, patient)
        try:
            yield life
        finally:
            life.stop()
            sharders.stop()


def lived(kind, rules=()):
    """The verdict on a whole life of shards of this kind. `rules` find them out; the life ends early when they have."""
    ends_early = rules and not UNSETTLED & set(rules)
    with trial(EmbeddedCluster("RequestResponse"), kind, not rules) as life:
        life.prepare()
        steps = [life.join, life.leave, life.freeze, life.cut_off, life.kill, life.break_watches]
        if ends_early:
            steps += [life.cut_off, life.freeze] * 2  # whether two shards meet at one object is a matter of chance
        for step in steps:
            step()
            if ends_early:
                verdict = life.verdict_now()
                verdict.violations = [one for one in verdict.violations if one.rule not in UNSETTLED]
                if set(rules) <= set(verdict.rules()):
                    return verdict
        return life.verdict()


def add(kind, what, rules):
    @suite.case(f"{kind}: a shard that {what} is found out")
    def found(env):
        verdict = lived(kind, rules)
        env.figure(kind, " ".join(f"{rule} {sum(one.rule == rule for one in verdict.violations)}"
                                  for rule in verdict.rules()))
        assert "J0" not in verdict.rules(), verdict.report()
        missing = set(rules) - set(verdict.rules())
        assert not missing, f"not found out by {missing}\n{verdict.report()}"


BREAKS = json.loads(subprocess.run([python_shard.interpreter(), PROGRAM, "--list"], stdout=subprocess.PIPE,
                                   check=True).stdout)
for name, (text, expected) in BREAKS.items():
    if expected:
        add(name, text, expected)


@suite.case("an intact shard passes the same run")
def intact(env):
    verdict = lived("none")
    for name, value in verdict.figures.items():
        env.figure(f"intact: {name}", value)
    assert verdict.ok, verdict.report()
    check_happened(verdict, "reconciliations without an end", "faults: frozen", "faults: killed", "faults: exited")


def check_happened(verdict, *names):
    """A run in which nothing happens keeps every promise."""
    figures = {"acknowledgements": sum(verdict.figures.get(f"acknowledgements {how} target", 0) for how in (
        "with", "without")), **verdict.figures}
    for name in ("moves, main", "acknowledgements", *names):
        assert figures.get(name), f"nothing of this kind happened: {name}\n{verdict.report()}"


@suite.case("an intact shard passes on a real control plane", short=False)
def on_a_real_control_plane(env):
    with trial(ControlPlane(judged={"": RESOURCES}), "none", True) as life:
        life.prepare()
        life.join()
        life.freeze()
        life.kill()
        life.leave()
        verdict = life.verdict()
    for name, value in verdict.figures.items():
        env.figure(f"real: {name}", value)
    assert verdict.ok, verdict.report()
    check_happened(verdict, "faults: frozen", "faults: killed", "faults: exited")


if __name__ == "__main__":
    suite.main()
