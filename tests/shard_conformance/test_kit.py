#!/usr/bin/python3
"""The kit is tested: the shard in Python keeps every rule, and shards that are broken in one place are each found out,
by the right rule. Takes some minutes: `test_kit.py --short` runs what takes seconds, `--only TEXT` some cases."""

import json
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "e2e" / "kind")]

# pylint: disable=wrong-import-position
import binaries
import python_shard
from cluster import ROOT
from images import GO_PROJECT, GO_SUMS
from processes import allowed
from rules import RULES
from suite import Suite

KIT = HERE / "sharder-conformance"
BROKEN, JUDGES = HERE / "broken.py", HERE.parent / "judge" / "broken_shards.py"
OPTIONS = ("--controllerring", "{ring}", "--namespace", "{namespace}", "--lease-namespace", "{lease-namespace}",
           "--shard-name", "{shard}")
# The rules that find out the broken shards of tests/judge. Two reconciliations of an object at the same time do not
# show from outside: nothing forbids a shard to send two writes for it.
RULE_OF = {
    "acknowledges-early": "S6.8", "acknowledges-without-version": "S6.6", "reconciles-after-acknowledging": "S6.3",
    "writes-after-acknowledging": "S6.9", "ignores-drain": "S6.4", "never-acknowledges": "S6.4",
    "keeps-stale-cache": "S6.2", "forgets-after-reconnect": "S6.12", "takes-nothing-over": "S6.1",
    "reconciles-twice": None, "works-without-lease": "S3.6", "renews-without-holding": "S3.5",
    "renews-without-version": "S3.4", "trusts-its-lease-too-long": "S3.6", "releases-early": "S3.10"}

AT_ONCE = threading.BoundedSemaphore(3)

suite = Suite("the conformance kit")


def kit(*options, command=()):
    """A finished run: CompletedProcess."""
    with AT_ONCE:
        return subprocess.run([KIT, *options, "--", *command], capture_output=True, text=True, check=False,
                              timeout=allowed(400))


def verdicts(*options, program=python_shard.SHARD, more=()):
    """judged() of a shard in Python."""
    return judged(*options, command=[python_shard.interpreter(), program, *OPTIONS, *more])


def judged(*options, command):
    """(exit code, {rule: verdict}, the whole report)."""
    done = kit("--json", *options, command=command)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"no report: {done.returncode}\n{done.stdout}\n{done.stderr}") from None
    return done.returncode, {rule["id"]: rule["verdict"] for rule in report["rules"]}, done.stdout


@suite.case("the shard in Python keeps every rule", short=False)
def intact(env):
    code, found, report = verdicts()
    assert code == 0 and set(found.values()) == {"kept"} and set(found) == set(RULES), report
    env.figure("seconds for the shard in Python", json.loads(report)["seconds"])


@suite.case("the C++ checksum-controller, which is built on shard/, keeps every rule", short=False)
def cpp_shard(env):
    program = ROOT / "build" / "bin" / "checksum-controller"
    code, found, report = judged(command=[program, *OPTIONS,
                                          "--metrics-bind-address", "0", "--health-bind-address", "0"])
    assert code == 0 and set(found.values()) == {"kept"} and set(found) == set(RULES), report
    env.figure("seconds for the shard in C++", json.loads(report)["seconds"])


@suite.case("a shard that writes nothing keeps what can be seen, and the rest is not judged", short=False)
def writes_nothing(_):
    code, found, report = verdicts("--timeout", "6", program=BROKEN, more=["--break", "writes-nothing"])
    unseen = {"S3.6", "S3.7", "S3.10", "S6.1", "S6.2", "S6.3", "S6.8", "S6.9", "S6.13", "S6.14"}
    assert code == 0, report
    assert {rule for rule, verdict in found.items() if verdict == "not judged"} == unseen, report
    assert {rule for rule, verdict in found.items() if verdict == "kept"} == set(RULES) - unseen, report


@suite.case("another main resource, with a template, that leads to no write when it changes", short=False)
def other_resource(_):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as template:
        template.write("spec: {replicas: 1, selector: {matchLabels: {app: '{name}'}}, template: {metadata: {labels: "
                       "{app: '{name}'}}, spec: {containers: [{name: a, image: '{value}'}]}}}\n"
                       "metadata: {labels: {mine: stays}}")
        template.flush()
        code, found, report = verdicts("--main", "deployments.apps", "--template", template.name, "--timeout", "15",
                                       program=BROKEN, more=["--break", "of-deployments"])
    assert code == 0 and set(found.values()) == {"kept"} and set(found) == set(RULES), report


@suite.case("the Go project's checksum-controller, which speaks protobuf: what the README says of it", short=False)
def go_shard(_):
    program = binaries.tool(*GO_PROJECT, "cmd/checksum-controller", name="go-checksum-controller", sums=GO_SUMS)
    code, found, report = judged("--timeout", "15", command=[program, *OPTIONS])
    assert code == 1, report
    assert {rule: verdict for rule, verdict in found.items() if verdict != "kept"} == {
        "S3.5": "broken", "S3.10": "broken", "S3.12": "not kept"}, report


def add(program, name, what, rule):
    code_wanted, verdict = (0, "not kept") if RULES[rule].is_advice else (1, "broken")

    @suite.case(f"{rule}: {name}: a shard that {what} is found out", short=False)
    def found_out(_):
        code, found, report = verdicts("--only", rule, "--timeout", "15", program=program, more=["--break", name])
        assert code == code_wanted and found == {rule: verdict}, report


def breaks_of(program):
    done = subprocess.run([python_shard.interpreter(), program, "--list"], capture_output=True, check=True)
    return json.loads(done.stdout)


JUDGES_BREAKS, BREAKS = breaks_of(JUDGES), breaks_of(BROKEN)
for key, (text, expected) in BREAKS.items():
    if expected:
        add(BROKEN, key, text, expected)
for key, (text, _) in JUDGES_BREAKS.items():
    if RULE_OF.get(key):
        add(JUDGES, key, text, RULE_OF[key])


@suite.case("each rule has a shard that breaks it")
def each_rule(_):
    assert set(JUDGES_BREAKS) == {"none", *RULE_OF}, set(JUDGES_BREAKS) ^ {"none", *RULE_OF}
    assert {rule for _, rule in BREAKS.values() if rule} | {*RULE_OF.values()} - {None} == set(RULES)


@suite.case("docs/protocol.md has the rules")
def documented(_):
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (S\d+\.\d+) \| (.*) \|$", text, re.MULTILINE))
    assert rows == {rule.id: rule.text for rule in RULES.values()}, rows.items() ^ {
        (rule.id, rule.text) for rule in RULES.values()}


@suite.case("--list prints the rules")
def listed(_):
    done = kit("--list")
    assert done.returncode == 0 and [line.split()[0] for line in done.stdout.splitlines()] == list(RULES), done


@suite.case("wrong options: code 2")
def usage(_):
    for options, command in (((), ()), (("--only", "S9.9"), ("true",)), (("--main", "jobs.batch"), ("true",)),
                             (("--template", "/nowhere"), ("true",)), (("--crd", "/nowhere"), ("true",)),
                             (("--unknown",), ("true",))):
        done = kit(*options, command=command)
        assert done.returncode == 2 and done.stderr, (options, command, done)


@suite.case("a resource that there is not: code 2")
def no_resource(_):
    for resource in ("nothings", "nothings.example.com", "nodes"):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as template:
            template.write("{metadata: {name: '{name}'}}")
            template.flush()
            done = kit("--main", resource, "--template", template.name, command=["true"])
        assert done.returncode == 2 and resource in done.stderr, done


@suite.case("a shard that cannot be started: code 3")
def not_started(_):
    for command in (["/nowhere/shard"], ["false"], ["sleep", "100"]):
        done = kit("--timeout", "2", command=command)
        assert done.returncode == 3 and "could not be started" in done.stderr, (command, done)


@suite.case("a Lease that lasts otherwise than it has to")
def lease_seconds(_):
    code, found, report = verdicts("--only", "S3.2", "--lease-seconds", "10")
    assert code == 1 and found == {"S3.2": "broken"}, report


@suite.case("the shard is told its names in its arguments and in its environment")
def names(_):
    script = ("echo {ring} {shard} {namespace} {lease-namespace} {unknown}; "
              "test $SHARDER_RING.$SHARDER_SHARD = conformance.kit-a && test -r {kubeconfig} && test -r $KUBECONFIG")
    done = kit("--timeout", "2", command=["sh", "-c", script])
    assert done.returncode == 3, done
    assert "conformance kit-a played leases {unknown}" in done.stderr and "code 0" in done.stderr, done


if __name__ == "__main__":
    suite.main()
