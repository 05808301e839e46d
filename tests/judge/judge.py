#!/usr/bin/python3
"""Decides afterwards, from facts alone, whether a sharded system kept its promise: no object is ever reconciled by two
shards at the same time, and none is forgotten. README.md has the rules and how times are compared.

    judge.py --audit audit.log --journal a.jsonl --journal b.jsonl --journal test.jsonl --ring demo --main secrets

Exits with 0 when the promise was kept, with 1 when it was not or when the inputs do not suffice. As a library:

    judge = Judge("demo", ["secrets"], ["configmaps"])
    judge.read_audit("audit.log")
    judge.read_journal("a.jsonl")
    judge.give_state(state_of(client, "demo-namespace", ["secrets", "configmaps"]))
    verdict = judge.verdict()
    assert verdict.ok, verdict.report()
"""

import argparse
import json
import sys
import time
from pathlib import Path

import figures
import findings
from facts import Facts
from verdict import Verdict


class Judge:
    """One run of one ring. Read everything, then ask for the verdict, once."""

    def __init__(self, ring, main, controlled=(), namespaces=None, live=None, newest=False, until=None,
                 tolerance=0.2, thaw_grace=1.0):
        """`main`, `controlled`: resources as kubectl names them, "secrets", "deployments.apps". `namespaces`: those
        that the ring selects; None: all but kube-system and sharding-system. `live`: the shards that live at the end;
        None: those that hold an unexpired Lease. `newest`: J4 asks that the newest state of each object was reconciled,
        by whomever but its shard it was written. `until`: what happened later does not count, seconds since the epoch;
        for shards that still work: take the time first, then read. `tolerance`, `thaw_grace`: seconds, README.md."""
        self._facts = Facts(ring, main, controlled, namespaces, live, tolerance, thaw_grace, until)
        self._newest = newest

    def read_audit(self, file):
        """The audit log of an API server. With several servers, of each."""
        self._facts.audit.read(file)

    def read_journal(self, file):
        """The journal of one process of a shard, or that of the test (journal.Notes)."""
        self._facts.journals.read(file)

    def give_state(self, state):
        """The objects at the end, as state_of() makes them. Without it, the audit log's last states count."""
        self._facts.state = state

    def verdict(self):
        facts, verdict = self._facts, Verdict()
        facts.finish()
        for finding, certain in self._findings(facts):
            (verdict.violations if certain else verdict.undecided).append(finding)
        lapses = figures.lapsed(facts)
        verdict.listed += figures.listed(facts, lapses)
        verdict.figures = figures.figures(facts, lapses)
        return verdict

    def _findings(self, facts):
        yield from findings.inputs(facts)
        yield from findings.overlaps(facts)
        yield from findings.labels(facts)
        yield from findings.writes(facts)
        yield from findings.forgotten(facts, self._newest)
        yield from findings.settled(facts)
        yield from findings.acknowledged(facts)
        yield from findings.leases_at_begin(facts)
        yield from findings.leases(facts)


def state_of(client, namespace, resources):
    """The objects of these resources now, for give_state() and --state. `client`: a tests/e2e/kubeclient.py Client;
    `namespace` None: of all namespaces. Take it before the shards are stopped."""
    state = {"time": time.time()}
    for resource in resources:
        state[resource] = [{"metadata": {key: item["metadata"][key] for key in (
            "namespace", "name", "uid", "resourceVersion", "labels", "ownerReferences") if key in item["metadata"]}}
            for item in client.list(resource.partition(".")[0], namespace)]
    return state


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audit", action="append", required=True, metavar="FILE", nargs="+", help="audit logs")
    parser.add_argument("--journal", action="append", required=True, metavar="FILE", nargs="+",
                        help="journals: of each process of a shard, and of the test")
    parser.add_argument("--ring", required=True)
    parser.add_argument("--main", action="append", required=True, metavar="RESOURCE", nargs="+")
    parser.add_argument("--controlled", action="append", default=[], metavar="RESOURCE", nargs="+")
    parser.add_argument("--namespace", action="append", metavar="NAME",
                        help="that the ring selects; may be given again")
    parser.add_argument("--live", action="append", metavar="SHARD", help="that lives at the end; may be given again")
    parser.add_argument("--state", type=Path, metavar="FILE", help="the objects at the end, as state_of() makes them")
    parser.add_argument("--newest", action="store_true", help="the newest state of each object must be reconciled")
    parser.add_argument("--until", type=float, metavar="TIME", help="what happened later does not count")
    parser.add_argument("--tolerance", type=float, default=0.2, metavar="SECONDS")
    parser.add_argument("--thaw-grace", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args()

    def flat(lists):
        return [one for some in lists for one in some]

    judge = Judge(options.ring, flat(options.main), flat(options.controlled), options.namespace, options.live,
                  options.newest, options.until, options.tolerance, options.thaw_grace)
    for file in flat(options.audit):
        judge.read_audit(file)
    for file in flat(options.journal):
        judge.read_journal(file)
    if options.state:
        judge.give_state(json.loads(options.state.read_text(encoding="utf-8")))
    verdict = judge.verdict()
    print(verdict.to_json() if options.json else verdict.report())
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"judge.py: {error}")
