#!/usr/bin/python3
"""The command line sharderctl (docs/sharderctl.md) against a real API server, with oracle.py beside it. The last case
takes the API server away."""

import itertools
import json
import os
import random
import socket
import subprocess
import threading
import time

import yaml

import oracle
from environment import Environment
from kubeclient import path_of
from processes import wait_until
from sharderctl import ctl, document, environment, program
from stub_api import StubApi, lease, ring as ring_object, secret
from suite import Suite

OBJECTS = 700  # of the large ring: more than a page
OWNED = 100
CORDONED = "sharder.alpha.sharding.timebertt.dev/cordoned"
REBALANCE = "sharder.alpha.sharding.timebertt.dev/rebalance-requested-at"
NAMES = ("shard-a", "shard-b", "shard-c")

suite = Suite("sharderctl", lambda short: Environment(short=short, replicas=1), parallel=False)


def grant(env, user, role, rules=None):
    """Binds a ClusterRole to the user `user`, which --as impersonates; `rules`: the role is made."""
    if rules is not None:
        env.admin.apply("clusterroles", None, {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role},
            "rules": rules}, "e2e", force=True)
    env.admin.apply("clusterrolebindings", None, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-{role.replace(':', '-')}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]}, "e2e", force=True)


def labels_of(ring):
    """{(resource, name): shard} of its objects."""
    return {(resource, item["metadata"]["name"]): oracle.shard_of(item, ring.name) or ""
            for _, resource, _, _ in ring.all_resources() for item in ring.items(resource)}


def keys_of(ring):
    """{(resource, name): key} of its objects that have one."""
    keys = {}
    for _, resource, _, kind in ring.all_resources():
        for item in ring.items(resource):
            key = (oracle.main_key("", kind, ring.namespace, item["metadata"]["name"]) if resource == "secrets" else
                   oracle.controlled_key(item))
            if key:
                keys[resource, item["metadata"]["name"]] = key
    return keys


@suite.case("version and help need no cluster", short=False)
def without_cluster(env):
    done = ctl(env, "version", "--kubeconfig", "/does/not/exist")
    assert done.stdout.startswith("sharderctl "), done.stdout
    assert "commands:" in ctl(env, "--help").stdout
    for line in ctl(env, "status", "--help", COLUMNS="40").stdout.splitlines():
        assert len(line) <= 44, line
    assert "did you mean status?" in ctl(env, "statsu", expect=2).stderr
    for target, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        lost = subprocess.run(["sh", "-c", f"$0 version --client {target}", str(program())], capture_output=True,
                              text=True, check=False, timeout=60)
        assert (lost.returncode, lost.stderr) == (2, f"sharderctl: standard output: {reason}\n"), lost
    assert ctl(env, expect=2).stderr.startswith("usage:")
    linked = subprocess.run([program().with_name("kubectl-sharder"), "version", "--client"], capture_output=True,
                            text=True, check=True).stdout
    assert linked.startswith("sharderctl "), linked


@suite.case("status, explain and plan say of 700 objects what the oracle says, and what plan lists is what moves")
def the_truth(env):
    ring = env.ring("truth")
    with ring.shards(*NAMES, duration=30, renew_every=2, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(OBJECTS, owned=OWNED)
        ring.wait_settled(NAMES)
        _check_status(env, ring)
        _check_explanations(env, ring, 12)
        planned = document(env, "plan", ring.name, "--add=shard-d")
        before = labels_of(ring)
        shards.start("shard-d")
        ring.wait_settled([*NAMES, "shard-d"])
        _check_moves(planned, before, labels_of(ring))
        planned = document(env, "plan", ring.name, "--remove", "shard-b")
        before = labels_of(ring)
        shards.release("shard-b")
        ring.wait_settled(["shard-a", "shard-c", "shard-d"])
        _check_moves(planned, before, labels_of(ring))
        assert planned["drains"] == 0 < planned["reassignments"], planned


def _check_status(env, ring):
    status = document(env, "status", ring.name)
    assert status["leader"]["leads"], status["leader"]
    one, = status["rings"]
    keys, labels = keys_of(ring), labels_of(ring)
    assert one["objects"] == len(keys), (one["objects"], len(keys))
    assert one["unassigned"] == one["misplaced"] == one["draining"] == 0 and one["complete"], one
    owners = oracle.Ring(NAMES)
    for shard in one["shards"]:
        assert shard["state"] == "ready" and shard["member"], shard
        assert shard["objects"] == list(labels.values()).count(shard["name"]), shard
        assert shard["belonging"] == [owners.owner(key) for key in keys.values()].count(shard["name"]), shard
    assert one["certificateExpiry"], one
    text = ctl(env, "status").stdout
    assert text.startswith("leader:") and ring.name in text, text
    assert yaml.safe_load(ctl(env, "status", ring.name, "-o", "yaml").stdout)["kind"] == "Status"
    for line in ctl(env, "status", "-o", "wide", COLUMNS="40").stdout.splitlines():
        assert len(line) <= 40, line


def _check_explanations(env, ring, count):
    keys, owners = keys_of(ring), oracle.Ring(NAMES)
    chosen = random.Random(7).sample(sorted(keys), count)
    explained = document(env, "explain", *map("/".join, chosen), "-n", ring.namespace)["items"]
    assert document(env, "explain", "/".join(chosen[0]), "-n", ring.namespace)["items"] == explained[:1]
    for (resource, name), one in zip(chosen, explained, strict=True):
        key = keys[resource, name]
        assert one["key"] == key, one
        assert one["hash"] == f"{oracle.xxhash.xxh64_intdigest(key.encode()):016x}", one
        assert one["desired"] == one["shard"] == owners.owner(key), one
        assert one["next"] == oracle.Ring(set(NAMES) - {one["desired"]}).owner(key), one
        assert one["selected"] and one["webhookCalls"] and one["verdict"] == ["it is where it belongs"], one
        assert all(one["sharderMay"][verb] for verb in ("list", "watch", "patch")), one
        if resource == "secrets" and int(name.rpartition("-")[2]) < OWNED:
            assert one["controlled"] == [{"resource": "configmaps", "byShard": {one["shard"]: 1}, "elsewhere": 0,
                                          "example": ""}], one["controlled"]


def _check_moves(planned, before, after):
    listed = {(move["resource"], move["name"]): (move["from"], move["to"]) for move in planned["moves"]}
    moved = {name: (before[name], shard) for name, shard in after.items() if before[name] != shard}
    assert listed == moved, (f"planned only: {sorted(set(listed) - set(moved))[:5]}, moved only: "
                             f"{sorted(set(moved) - set(listed))[:5]}")
    assert planned["moved"] == len(moved) > 0


@suite.case("plan is a gate, and needs no cluster for what kubectl has printed", short=False)
def planned_from_a_file(env):
    ring = env.ring("from-a-file")
    with ring.shards("ctl-0", "ctl-1", duration=30, renew_every=5):
        ring.wait_ready(["ctl-0", "ctl-1"])
        ring.create_secrets(60, owned=10)
        online = document(env, "plan", ring.name, "--shards", "3")
        assert online["added"] == ["ctl-2"], online["added"]
        selector = ("-l", f"alpha.sharding.timebertt.dev/controllerring={ring.name}")
        texts = {}
        for name, arguments in {"ring": ("controllerrings", ring.name), "leases": ("leases", "-A", *selector),
                                "objects": ("secrets,configmaps", "-n", ring.namespace)}.items():
            for form in ("json", "yaml"):
                texts[name, form] = env.plane.folder / f"{name}.{form}"
                texts[name, form].write_text(env.plane.kubectl("get", *arguments, "-o", form).stdout, encoding="utf-8")
        for form in ("json", "yaml"):
            files = [part for name in ("ring", "leases", "objects") for part in ("-f", texts[name, form])]
            offline = document(env, "plan", ring.name, "--shards=3", *files, KUBECONFIG="/dev/null")
            assert offline["moves"] == online["moves"] and offline["moved"] > 0, form
            assert offline["incomplete"] == [], offline["incomplete"]
        partial = env.plane.folder / "secrets.json"
        partial.write_text(env.plane.kubectl("get", "secrets", "-n", ring.namespace, "-o", "json").stdout, encoding="utf-8")
        files = ("-f", texts["ring", "json"], "-f", texts["leases", "json"], "-f", partial)
        lacking = ctl(env, "plan", ring.name, "--shards=3", "--fail-over", "100%", *files, expect=1, KUBECONFIG="/dev/null")
        assert "incomplete: the files have no configmaps" in lacking.stderr, lacking.stderr
        empty = env.plane.folder / "none.json"  # in a namespace that has none
        empty.write_text(env.plane.kubectl("get", "--raw", "/api/v1/namespaces/absent/configmaps").stdout, encoding="utf-8")
        ctl(env, "plan", ring.name, "--shards=3", *files, "-f", empty, KUBECONFIG="/dev/null")
        names = ctl(env, "plan", ring.name, "--shards=3", "-o", "name").stdout.splitlines()
        assert len(names) == online["moved"], names
        ctl(env, "plan", ring.name, "--shards=3", "--fail-over", "90%")
        assert "objects move" in ctl(env, "plan", ring.name, "--shards=3", "--fail-over", "1%", expect=1).stderr
    assert "did you mean ctl-0?" in ctl(env, "plan", ring.name, "--remove", "ctl-00", expect=2).stderr


@suite.case("a wrong name is answered with what there is, and objects that nobody has are a finding", short=False)
def wrong_names(env):
    ring = env.ring("names")
    with ring.shards("shard-a", duration=30, renew_every=5):
        ring.wait_ready(["shard-a"])
        ring.create_secrets(1, prefix="mine")
        assert "did you mean names?" in ctl(env, "status", "nmaes", expect=2).stderr
        assert "no ring shards" in ctl(env, "explain", "pods/x", expect=2).stderr
        missing = ctl(env, "explain", "secret/mine-1", "-n", ring.namespace, expect=2).stderr
        assert "did you mean mine-0?" in missing, missing
        some = document(env, "explain", "secret", "mine-0", "mine-1", "-n", ring.namespace, expect=2)
        assert [one["name"] for one in some["items"]] == ["mine-0"], some
        assert [(one["resource"], one["reason"]) for one in some["incomplete"]] == [("secret/mine-1", "not found")], some
        assert "KIND/NAME" in ctl(env, "explain", "secret/mine-0", "mine-1", expect=2).stderr
        assert f"there is one with -n {ring.namespace}" in ctl(env, "explain", "secret/mine-0", expect=2).stderr
        assert "did you mean shard-a?" in ctl(env, "cordon", "shard-b", "--ring", ring.name, expect=2).stderr
    plain = env.ring("nobody")
    plain.create_secrets(2)
    found = document(env, "status", plain.name, expect=1)
    assert found["rings"][0]["unassigned"] == 2, found
    assert found["rings"][0]["example"].startswith("secrets nobody/s-"), found
    assert "2 objects without an available shard" in " ".join(found["findings"]), found
    one, = document(env, "explain", "secret/s-0", "-n", plain.namespace, expect=1)["items"]
    assert one["verdict"] == ["the ring has no available shard: it stays as it is"], one


@suite.case("explain takes each object from its own group, and what does not concern it does not matter", short=False)
def groups(env):
    other = "x.example.com"
    label = {f"shard.alpha.sharding.timebertt.dev/{name}": "shard-a" for name in ("core", "other", "both")}
    rings = (ring_object("core", ("", "secrets"), ("gone.example.com", "things")),
             ring_object("other", (other, "secrets")))
    with StubApi(rings, [lease("core", "shard-a"), lease("other", "shard-a")]) as api:
        api.serve_kinds(other, "v1", secrets="Secret")
        core, others = "/api/v1/namespaces/default/secrets", f"/apis/{other}/v1/namespaces/default/secrets"
        api.answers |= {f"{core}/both": secret("both", **label), f"{others}/both": secret("both", **label),
                        f"{others}/only": secret("only", **label)}

        def explained(*arguments, **more):
            read = document(env, "explain", *arguments, KUBECONFIG=str(api.kubeconfig), **more)
            return [(one["ring"], one["group"], one["name"]) for one in read["items"]], read["incomplete"]

        of_both = [("core", "", "both"), ("other", other, "both")]
        assert [one[:2] for one in explained("secret/both", expect=None)[0]] == [one[:2] for one in of_both]
        found, gaps = explained("secret/only", expect=None)
        assert found == [("other", other, "only")], found
        assert "things" not in json.dumps(gaps), gaps  # another resource
        found, gaps = explained("secret/both", "secret/no", "secret/nor", expect=2)
        assert found == of_both, found
        assert [gap["resource"] for gap in gaps if gap["verb"] == "get"] == ["secret/no", "secret/nor"], gaps
        for wrong in (("secret/no", "secret/nor"), ("secret/no",)):
            assert 'there is no secret "no"' in ctl(env, "explain", *wrong, expect=2,
                                                    KUBECONFIG=str(api.kubeconfig)).stderr
        api.answers["/api/v1"] = 5  # seconds
        silent = ctl(env, "explain", "configmap/x", "--request-timeout", "1s", expect=124,
                     KUBECONFIG=str(api.kubeconfig)).stderr
        assert silent.count("discover") == 1 and 'what "configmap" is' in silent, silent


@suite.case("what anybody wrote does not steer the terminal; top goes on after an outage, and looks at a ring that it has",
            short=False)
def stubborn(env):
    hostile = "\x1b[2J\x1b]0;x\x07 a\r\nring-b   True \x00 \u009b31m \u202egnp \x7f"
    events = "/api/v1/namespaces/default/events"
    with StubApi([ring_object("ring-a", ("", "secrets"))], [lease("ring-a", "shard-a")]) as api:
        more = {"KUBECONFIG": str(api.kubeconfig)}
        api.answers[events] = [{"type": "Warning", "reason": hostile, "message": hostile, "source": {"component": "x"}}]
        api.answers["/apis/apps/v1/namespaces/sharding-system/deployments/sharder"] = {
            "spec": {"template": {"spec": {"containers": [{"image": hostile}]}}}}
        for arguments in (("events", "ring-a"), ("events", "ring-a", "-o", "json"), ("events", "ring-a", "-o", "yaml"),
                          ("version",), ("status", hostile.replace("\0", "")), ("events", "ring-a", "-o", hostile[:9])):
            done = ctl(env, *arguments, expect=None, **more)
            said = done.stdout + done.stderr
            bad = [c for c in said if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e")]
            assert said and not bad and "\nring-b" not in said, (arguments, said)
        assert yaml.safe_load(ctl(env, "events", "ring-a", "-o", "yaml", **more).stdout)["items"][0][
            "message"] == hostile
        assert "an argument is empty" in ctl(env, "top", "", expect=2, **more).stderr
        assert "at least 500ms" in ctl(env, "top", "ring-a", "--interval", "0", expect=2, **more).stderr
        with subprocess.Popen([program(), "top", "ring-a", "-w", "--interval=500ms", "--request-timeout=1s"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(env, **more)) as top:
            try:
                assert any("shard-a" in line for line in iter(top.stdout.readline, ""))
                leases = api.answers.pop("/apis/coordination.k8s.io/v1/leases")
                api.answers["/apis/coordination.k8s.io/v1/leases"] = 2  # seconds
                assert any("list leases" in line for line in iter(top.stderr.readline, ""))
                api.answers["/apis/coordination.k8s.io/v1/leases"] = leases + [lease("ring-a", "shard-new")]
                assert any("shard-new" in line for line in iter(top.stdout.readline, ""))
            finally:
                top.kill()


@suite.case("who may only view reads rings and Leases; what is not allowed is named, and the rest is said: exit 3",
            short=False)
def viewers(env):
    ring = env.ring("viewed")
    grant(env, "viewer", "sharding:viewer")
    grant(env, "reader", "sharding:viewer")
    grant(env, "reader", "list-secrets", [{"apiGroups": [""], "resources": ["secrets", "configmaps"],
                                           "verbs": ["list"]}])
    with ring.shards("shard-a", duration=30, renew_every=5):
        ring.wait_ready(["shard-a"])
        ring.create_secrets(5)
        wait_until(lambda: "secrets" not in ctl_as(env, "reader", ring).stderr, 20, "RBAC knows the reader")
        read = ctl_as(env, "reader", ring)
        assert read.returncode == 3 and "not allowed to get mutatingwebhookconfigurations" in read.stderr, read
        one, = json.loads(read.stdout)["rings"]
        assert one["objects"] == 5 and one["shards"][0]["objects"] == 5, one
        seen = ctl_as(env, "viewer", ring)
        assert seen.returncode == 3 and "not allowed to list secrets" in seen.stderr, seen
        one, = json.loads(seen.stdout)["rings"]
        assert one["shards"][0]["state"] == "ready" and not one["complete"], one
        nobody = ctl(env, "status", "--as", "nobody", expect=3).stderr
        assert "not allowed to list controllerrings.sharding.timebertt.dev" in nobody, nobody
        assert "not allowed to patch leases" in ctl(env, "cordon", "shard-a", "--ring", ring.name, "--as", "viewer",
                                                    expect=3).stderr


def ctl_as(env, user, ring):
    done = subprocess.run([program(), "status", ring.name, "--as", user, "-o", "json"], capture_output=True, text=True,
                          check=False, timeout=60, env=environment(env))
    done.stderr += json.dumps(json.loads(done.stdout)["incomplete"]) if done.stdout else ""
    return done


@suite.case("cordon, uncordon and rebalance set their annotation; drain says what is left when nobody lets go",
            short=False)
def marks(env):
    ring = env.ring("marks")
    of_ring = ("--ring", ring.name)

    def annotations(kind, namespace, name):
        return env.admin.get(kind, namespace, name)["metadata"].get("annotations", {})

    with ring.shards("shard-a", "shard-b", duration=30, renew_every=1):
        ring.wait_ready(["shard-a", "shard-b"])
        ring.create_secrets(40)
        ring.wait_settled(["shard-a", "shard-b"])
        ctl(env, "rebalance", ring.name)
        assert REBALANCE in annotations("controllerrings", None, ring.name)
        ctl(env, "cordon", "shard-b", *of_ring)
        assert annotations("leases", ring.namespace, "shard-b")[CORDONED] == "true"
        shards = {shard["name"]: shard for shard in document(env, "status", ring.name)["rings"][0]["shards"]}
        assert shards["shard-b"]["cordoned"] and shards["shard-b"]["available"] and not shards["shard-b"]["member"]
        ctl(env, "uncordon", "shard-b", *of_ring)
        assert CORDONED not in annotations("leases", ring.namespace, "shard-b")
        mine = list(labels_of(ring).values()).count("shard-b")
        late = ctl(env, "drain", "shard-b", *of_ring, "--wait", "--timeout", "3s", expect=124).stderr
        assert f"{mine} objects left; it stays cordoned" in late, (mine, late)
        alone = ctl(env, "drain", "shard-a", *of_ring, "--wait", expect=1).stderr
        assert "the cordons have no effect" in alone, alone
        other = env.ring("marks-too")
        with other.shards("shard-b", duration=30, renew_every=5):
            wait_until(lambda: env.admin.find("leases", other.namespace, "shard-b"), 10, "two Leases of one name")
            several = ctl(env, "cordon", "shard-b", expect=2).stderr
        assert "choose with --ring" in several, several


@suite.case("drain --wait: the shard lets go of all its objects, to where plan has said; --self: the one of this host",
            short=False)
def drained(env):
    ring = env.ring("drained")
    own = socket.gethostname()
    names = ["shard-a", "shard-b", own]
    with ring.shards(*names, duration=30, renew_every=2, working=True):
        ring.wait_ready(names)
        ring.create_secrets(100, owned=20)
        ring.wait_settled(names)
        planned = document(env, "plan", ring.name, "--cordon", own)
        before = labels_of(ring)
        env.plane.apiserver.pause()  # a hook does not end at a short outage
        threading.Timer(3, env.plane.apiserver.resume).start()
        done = ctl(env, "drain", "--self", "--wait", "--timeout=2m", "--request-timeout=1s", "-n", ring.namespace,
                   timeout=150)
        assert f"shard {own} of the ring drained: drained" in done.stdout, done
        after = labels_of(ring)
        assert own not in after.values()
        _check_moves(planned, before, after)
        assert planned["drains"] and planned["reassignments"], planned
        ctl(env, "uncordon", "--self", "-n", ring.namespace)
        ring.wait_settled(names)
        new = ctl(env, "uncordon", "--self", "-n", env.namespace("drained-too")).stderr
        assert f'there is no shard "{own}"' in new and "nothing to uncordon" in new, new  # a hook must not fail


@suite.case("labels remove takes both labels from all objects of a ring, and nothing else", short=False)
def removed(env):
    ring = env.ring("removed")
    with ring.shards("shard-a", duration=30, renew_every=5):
        ring.wait_ready(["shard-a"])
        ring.create_secrets(30, owned=5)
        ring.wait_settled(["shard-a"])
        env.admin.patch("secrets", ring.namespace, "s-0", {"metadata": {"labels": {"mine": "stays"}}})
        env.admin.delete("controllerrings", None, ring.name)
        wait_until(lambda: "no ring" in ctl(env, "status", ring.name, expect=2).stderr, 10, "the ring is gone")
        env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}")
        assert "--resource" in ctl(env, "labels", "remove", ring.name, expect=2).stderr
        resources = ("--resource", "secrets", "--resource=configmaps")
        assert "nothing was removed" in ctl(env, "labels", "remove", ring.name, *resources, expect=2).stderr
        assert "from 35 objects" in ctl(env, "labels", "remove", ring.name, *resources, stdin="yes\n").stdout
        labels = [item["metadata"].get("labels") for resource in ("secrets", "configmaps")
                  for item in ring.items(resource)]
        assert [one for one in labels if one] == [{"mine": "stays"}], labels


@suite.case("events, top and completion; output that is cut is no error, and what goes on shows each change",
            short=False)
def the_rest(env):
    ring = env.ring("rest")
    with ring.shards("shard-a", duration=30, renew_every=5):
        ring.wait_ready(["shard-a"])
        ring.create_secrets(10)
        ctl(env, "events", ring.name)
        assert "##" in ctl(env, "top", ring.name).stdout
        words = ctl(env, "__complete", "status", "re").stdout.splitlines()
        assert "rest" in words and words[-1] == ":4", words
        assert ctl(env, "__complete", "--kubeconfig", "/none", "status", "re").stdout == ":4\n"
        for ring_name, names in (("rest", "shard-a\n"), ("other", "")):
            assert ctl(env, "__complete", "drain", "--ring", ring_name, "sh").stdout == names + ":4\n"
        assert ctl(env, "__complete", "plan", "rest", "-f", "").stdout == ":0\n"
        for shell in ("bash", "zsh", "fish"):
            assert "__complete" in ctl(env, "completion", shell).stdout
        pressed = ("source <(sharderctl completion bash); COMP_WORDS=(sharderctl status re); COMP_CWORD=2; _sharderctl;"
                   " echo ${COMPREPLY[@]}; kubectl_complete-sharder status re")
        path = f"{program().parent}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "-c", pressed], capture_output=True, text=True, check=False, timeout=60,
                              env=environment(env, PATH=path))
        assert done.stdout.split() == ["rest", "rest", ":4"] and not done.stderr, done
        words = ("sharder", "status", "rest", "-o", "name"), ("__complete", "sharder", "status", "re")
        as_plugin = [subprocess.run([env.plane.bin / "kubectl", *one], capture_output=True, text=True, check=True,
                                    timeout=60, env=environment(env, PATH=path)).stdout.split() for one in words]
        assert as_plugin == [["controllerring.sharding.timebertt.dev/rest"], ["rest", ":4"]], as_plugin
        done = subprocess.run(["bash", "-c", "set -o pipefail; $0 status -o yaml | head -1", str(program())],
                              capture_output=True, text=True, check=False, env=environment(env), timeout=60)
        assert done.stdout == "apiVersion: sharderctl.sharding.timebertt.dev/v1alpha1\n" and not done.stderr, done
        with subprocess.Popen([program(), "status", ring.name, "-w"], stdout=subprocess.PIPE, text=True,
                              env=environment(env)) as watching:
            try:
                lines = iter(watching.stdout.readline, "")
                list(itertools.takewhile(lambda line: "10" not in line.split(), lines))
                ring.create_secrets(1, prefix="more")
                assert any("11" in line.split() for line in lines)
            finally:
                watching.kill()


@suite.case("a cluster without the CRD is told how to get it; an API server that is away or silent is a matter of time",
            short=False)
def without_api_server(env):
    # Without the sharder: it would only complain.
    env.sharders.stop()
    env.plane.kubectl("delete", "crd", "controllerrings.sharding.timebertt.dev", "--wait=false")
    wait_until(lambda: env.admin.raw("GET", path_of("controllerrings"))[0] == 404, 30, "the CRD is gone")
    assert "kubectl apply --server-side -k manifests/crd" in ctl(env, "status", expect=2).stderr
    env.plane.apiserver.pause()
    try:
        began = time.monotonic()
        ctl(env, "status", "--request-timeout", "2s", expect=124)
        assert time.monotonic() - began < 10
    finally:
        env.plane.apiserver.resume()
    env.plane.kill_apiserver()
    assert "list controllerrings" in ctl(env, "status", expect=124).stderr


if __name__ == "__main__":
    suite.main()
