#!/usr/bin/python3
"""Dashboards and alerts that were made for the Go sharder go on working: its metrics are ours too."""

import re
import sys

from cluster import ROOT
from environment import CONFIG_MAPS, SECRETS, Environment
from processes import wait_until
from suite import Suite

sys.path.append(str(ROOT / "tests" / "e2e" / "kind"))
import images  # pylint: disable=wrong-import-position

suite = Suite("metrics", lambda short: Environment(short=short))

CONTRACT = ROOT / "tests" / "testdata" / "metrics" / "go-sharder-v0.13.txt"

# What the Go sharder exports and we do not, with the reason.
NOT_OURS = {
    "controller_runtime_active_workers": "reconcilers: not yet",
    "controller_runtime_max_concurrent_reconciles": "reconcilers: not yet",
    "controller_runtime_reconcile_panics_total": "reconcilers: not yet",
    "controller_runtime_terminal_reconcile_errors_total": "reconcilers: not yet",
    "controller_runtime_conversion_webhook_panics_total": "nobody has a conversion webhook",
    "process_network_receive_bytes_total": "of the whole network namespace, not of the process",
    "process_network_transmit_bytes_total": "of the whole network namespace, not of the process",
    "process_virtual_memory_max_bytes": "of a limit that nobody sets",
    "workqueue_adds_total": "work queues: not yet",
    "workqueue_depth": "work queues: not yet",
    "workqueue_longest_running_processor_seconds": "work queues: not yet",
    "workqueue_queue_duration_seconds": "work queues: not yet",
    "workqueue_retries_total": "work queues: not yet",
    "workqueue_unfinished_work_seconds": "work queues: not yet",
    "workqueue_work_duration_seconds": "work queues: not yet",
}

# What the version of the Go sharder that can be run here (images.GO_PROJECT) does not export yet.
NEWER = {
    "controller_runtime_conversion_webhook_panics_total",
    "controller_sharding_controllerring_metadata_generation",
    "controller_sharding_controllerring_observed_generation",
    "controller_sharding_controllerring_status_available_shards",
    "controller_sharding_controllerring_status_shards",
    "controller_sharding_shard_info",
    "controller_sharding_shard_state",
}

# The Go sharder's.
CONTROLLERS = {"controllerring", "sharder", "shardlease"}

SAMPLE = re.compile(r"([a-z0-9_]+)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Family:
    """A type, and {label: its values}; the bounds of buckets are the values of `le`."""

    def __init__(self, kind):
        self.kind, self.labels = kind, {}

    def names(self):
        return sorted(set(self.labels) - {"le"})


def exported(text):
    """{name: Family} of a scrape."""
    families, current = {}, None
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            current = families.setdefault(name, Family(kind))
        elif not line.startswith("#"):
            for label, value in LABEL.findall(SAMPLE.match(line)[2] or ""):
                current.labels.setdefault(label, set()).add(value)
    return families


def contract():
    """[(name, type, labels, {label: (values, whether there may be others)})]."""
    for line in CONTRACT.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            name, kind, labels, *values = line.split()
            wanted = {label: set(text.split(",")) for label, text in (one.split("=", 1) for one in values)}
            yield (name, kind, [] if labels == "-" else labels.split(","),
                   {label: (texts - {"..."}, "..." in texts) for label, texts in wanted.items()})


def differences(families, lacking):
    """A line for each thing of the contract that is not exported, or not in the same way; of those that are `lacking`,
    for each that is."""
    found = []
    for name, kind, labels, values in contract():
        ours = families.get(name)
        if name in lacking:
            found += [f"{name} is exported after all"] if ours else []
            continue
        if ours is None:
            found.append(f"{name} is missing")
            continue
        if (ours.kind, ours.names()) != (kind, sorted(labels)):
            found.append(f"{name} is a {ours.kind} of {ours.names()}, not a {kind} of {sorted(labels)}")
        for label, (wanted, others) in values.items():
            given = ours.labels.get(label, set())
            if not wanted <= given or (given - wanted and not others):
                found.append(f"{name}: {label} is {sorted(given)}, not {sorted(wanted)}")
    return found


def scrape(env):
    """The families of a leader that has assigned, drained and moved objects."""
    ring = env.ring("metrics", ((SECRETS, (CONFIG_MAPS,)),))
    token = env.plane.metrics_token()
    with ring.shards("shard-a", working=True) as shards:
        ring.wait_ready(["shard-a"])
        ring.create_secrets(20, owned=20)
        shards.start("shard-b")  # some are drained, then moved
        ring.wait_settled(["shard-a", "shard-b"], timeout=30)
        leader = env.sharders.wait_leader()
        # The API server calls either replica; this one must have assigned something as well.
        made = iter(range(1000))
        wait_until(lambda: env.admin.create("secrets", ring.namespace, {"metadata": {"name": f"more-{next(made)}"}}) and
                   "controller_sharding_assignments_total{" in leader.scrape(token), 20, "it assigns")
        return exported(leader.scrape(token))


@suite.case("every family of the Go sharder that we export has its type, its labels and their values")
def as_the_go_sharder(env):
    families = scrape(env)
    found = differences(families, NOT_OURS)
    assert not found, "\n".join(found)
    assert families["controller_runtime_reconcile_total"].labels["controller"] == CONTROLLERS


@suite.case("the contract is what a scrape of the Go project's sharder shows", long=True)
def the_go_sharder(env):
    with Environment(replicas=1, start=False, short=env.short, may_be_forbidden=True) as go:
        go.sharders.become(images.go_sharder())
        go.sharders.start()
        families = scrape(go)
    found = differences(families, NEWER)
    names = {name for name, *_ in contract()}
    found += [f"{name} is not in the contract" for name in families if name not in names and not name.startswith("go_")]
    assert not found, "\n".join(found)


REFERENCE = ROOT / "docs" / "reference" / "metrics.md"


def documented():
    """{name: (type, labels)} of the reference."""
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in REFERENCE.read_text(encoding="utf-8").splitlines()
            if line.startswith("| `")]
    return {name.strip("`"): (kind.split(",")[0], sorted(re.findall(r"\w+", labels))) for name, kind, labels in rows}


@suite.case("every family that a replica exports is in the reference, with its type and its labels")
def in_the_reference(env):
    ring = env.ring("reference", ((SECRETS, (CONFIG_MAPS,)),))
    with ring.shards("shard-a", working=True):
        ring.wait_ready(["shard-a"])
        ring.create_secrets(5)
        ring.wait_settled(["shard-a"])
        families = exported(env.sharders.wait_leader().scrape(env.plane.metrics_token()))
    pages = documented()
    assert len(families) > 25, sorted(families)
    for name, family in families.items():
        assert name in pages, f"{name} is not in docs/reference/metrics.md"
        kind, labels = pages[name]
        # A family without a sample shows no labels.
        assert family.kind == kind and family.names() in (labels, []), f"{name}: {family.kind} {family.names()}"


if __name__ == "__main__":
    suite.main()
