#!/usr/bin/python3
"""The scenarios of pod_shards.py with examples/checksum-controller, which is built on our library for shards; and shards
that drain themselves before they end."""

from pod_shards import SHARDS, suite_of, workload  # first: it finds the modules of tests/e2e
from whole import Handovers
import images
from processes import wait_until
from shards import labels_of_stopped

HOOKS = {"preStop": {"exec": {"command": ["/sharderctl", "drain", "--self", "--wait", "--timeout=1m"]}},
         "postStart": {"exec": {"command": ["/sharderctl", "uncordon", "--self"]}}}  # as in docs/sharderctl.md
CORDONED = "sharder.alpha.sharding.timebertt.dev/cordoned"

suite = suite_of("kind: shards", images.SHARD)


@suite.case("pods that drain themselves before they end: scaled down, no object ever has the label of a stopped shard; "
            "restarted under their names, all are members again")
def hooks(env):
    env.apply(*_rights())
    with Handovers(env, env.secrets, SHARDS) as handovers:
        env.apply(workload(images.SHARD, "StatefulSet", "hooked", 3, hooks=HOOKS))
        env.scale("statefulset", "hooked", 3)
        env.wait_settled(3)
        env.scale("statefulset", "hooked", 2)
        wait_until(lambda: "hooked-2" not in env.living() and not env.pods("hooked-2"), 110, "the pod has ended")
        env.wait_settled(2)
    found = labels_of_stopped(handovers.versions(), env.secrets.name, "hooked-2")
    assert not found, found[:5]
    env.figure("drained by its own hook", f"{len(handovers.check())} moves of {len(env.secrets.items('secrets'))} Secrets")
    env.plane.kubectl("-n", SHARDS, "rollout", "restart", "statefulset/hooked")
    env.plane.kubectl("-n", SHARDS, "rollout", "status", "statefulset/hooked", "--timeout=110s")
    assert env.wait_settled(2) == ["hooked-0", "hooked-1"]
    cordoned = [one["metadata"]["name"] for one in env.admin.list("leases", SHARDS)
                if CORDONED in one["metadata"].get("annotations", {}) and one["metadata"]["name"] in env.living()]
    assert not cordoned, cordoned
    failed = [event["message"] for event in env.admin.list("events", SHARDS) if event["reason"].startswith("Failed")]
    assert not [one for one in failed if "Hook" in one], failed


def _rights():
    """What the hooks need, for the whole cluster."""
    rules = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list", "patch"]},
             {"apiGroups": ["sharding.timebertt.dev"], "resources": ["controllerrings"], "verbs": ["get"]},
             {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["list"]}]
    kind, name = "rbac.authorization.k8s.io", "shard-hooks"
    return ({"apiVersion": f"{kind}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
            {"apiVersion": f"{kind}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
             "roleRef": {"apiGroup": kind, "kind": "ClusterRole", "name": name},
             "subjects": [{"kind": "ServiceAccount", "name": "shard", "namespace": SHARDS}]})


if __name__ == "__main__":
    suite.main()
