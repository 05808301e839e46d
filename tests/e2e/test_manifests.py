#!/usr/bin/python3
"""The manifests on a real API server (docs/protocol.md, sections 1, 2, 7 and 8), without a sharder."""

import yaml

import oracle
from control_plane import ROOT, SYSTEM_NAMESPACE
from environment import Environment
from kubeclient import ApiError
from suite import Suite

suite = Suite("manifests", lambda short: Environment(replicas=0, short=short))

# What the sharder's ServiceAccount may do cluster-wide; everything else is refused.
ALLOWED = {
    ("", "events"): "create patch",
    ("", "namespaces"): "get list watch",
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): "create patch get list watch",
    ("coordination.k8s.io", "leases"): "get list watch update patch delete",
    ("sharding.timebertt.dev", "controllerrings"): "get list watch",
    ("sharding.timebertt.dev", "controllerrings/status"): "update patch",
    ("authentication.k8s.io", "tokenreviews"): "create",
    ("authorization.k8s.io", "subjectaccessreviews"): "create",
}


def ring(name, **spec):
    spec.setdefault("resources", [])
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": spec}


def refused(env, body):
    """The API server's message when it does not take the ring."""
    try:
        env.admin.create("controllerrings", None, body)
    except ApiError as error:
        assert error.status == 422, error
        return error.message
    raise AssertionError(f"taken: {body}")


@suite.case("kustomize builds all of manifests/, and applying it again changes nothing")
def apply_all(env):
    before = env.admin.get("customresourcedefinitions", None, "controllerrings.sharding.timebertt.dev")
    env.plane.kubectl("apply", "--server-side", "-k", ROOT / "manifests")
    after = env.admin.get("customresourcedefinitions", None, "controllerrings.sharding.timebertt.dev")
    assert before["metadata"]["generation"] == after["metadata"]["generation"]


@suite.case("a ring's name may have 63 characters, not 64")
def name_length(env):
    env.admin.create("controllerrings", None, ring("a" * 63))
    assert "must not be longer than 63 characters" in refused(env, ring("a" * 64))


@suite.case("resources and controlled resources are a map by group and resource")
def list_map(env):
    one = {"group": "apps", "resource": "deployments"}
    assert "Duplicate value" in refused(env, ring("twice", resources=[one, one]))
    assert "Duplicate value" in refused(env, ring("twice", resources=[{**one, "controlledResources": [one, one]}]))
    assert "resource: Required value" in refused(env, ring("half", resources=[{"group": "apps"}]))
    assert "group: Required value" in refused(env, ring("half", resources=[{"resource": "secrets"}]))
    env.admin.create("controllerrings", None, ring("once", resources=[one, {"group": "", "resource": "deployments"}]))


@suite.case("an absent namespaceSelector stays absent, an empty one stays empty")
def namespace_selector(env):
    made = env.admin.create("controllerrings", None, ring("absent"))
    assert "namespaceSelector" not in made["spec"]
    made = env.admin.create("controllerrings", None, ring("empty", namespaceSelector={}))
    assert made["spec"]["namespaceSelector"] == {}
    selector = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}], "matchLabels": {"c": "d"}}
    made = env.admin.create("controllerrings", None, ring("full", namespaceSelector=selector))
    assert made["spec"]["namespaceSelector"] == selector


@suite.case("the status is a subresource with required counts, and kubectl prints it")
def status(env):
    made = env.admin.create("controllerrings", None, {**ring("status"), "status": {"shards": 7, "availableShards": 7}})
    assert "status" not in made
    condition = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "observedGeneration": 1,
                 "message": "ControllerRing was successfully reconciled", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    made["status"] = {"shards": 3}
    try:
        env.admin.update("controllerrings", None, "status", made, "status")
        raise AssertionError("a status without availableShards is taken")
    except ApiError as error:
        assert error.status == 422 and "availableShards: Required" in error.message, error
    made["status"] = {"observedGeneration": 1, "shards": 3, "availableShards": 0, "conditions": [condition]}
    assert env.admin.update("controllerrings", None, "status", made, "status")["status"] == made["status"]
    lines = env.plane.kubectl("get", "controllerring", "status").stdout.splitlines()
    assert lines[0].split() == ["NAME", "READY", "AVAILABLE", "SHARDS", "AGE"], lines
    assert lines[1].split()[:4] == ["status", "True", "0", "3"], lines


@suite.case("a ring that the Go sharder knew is taken as it is")
def fixture(env):
    path = ROOT / "tests" / "testdata" / "fixtures" / "controllerring.yaml"
    env.plane.kubectl("apply", "-f", path)
    stored = env.admin.get("controllerrings", None, "bench")
    assert stored["spec"] == yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]


@suite.case("the sharder may do what protocol.md lists, and nothing else")
def permissions(env):
    # An effective-rules review of the account itself, in a namespace that is not its own.
    client = env.plane.client(env.plane.service_account_token())
    granted = {}
    for rule in rules_of(client, "default"):
        for group in rule.get("apiGroups", []):
            for resource in rule.get("resources", []):
                granted.setdefault((group, resource), set()).update(rule["verbs"])
    # Every account may review its own access.
    for own in ("selfsubjectaccessreviews", "selfsubjectrulesreviews"):
        granted.pop(("authorization.k8s.io", own), None)
    granted.pop(("authentication.k8s.io", "selfsubjectreviews"), None)
    assert granted == {key: set(verbs.split()) for key, verbs in ALLOWED.items()}, granted


@suite.case("the leader election needs a Lease in the sharder's own namespace, and no other")
def leader_election(env):
    client = env.plane.client(env.plane.service_account_token())
    own = [rule for rule in rules_of(client, SYSTEM_NAMESPACE) if "leases" in rule.get("resources", [])]
    assert any(rule["verbs"] == ["create"] for rule in own), own
    assert any(rule.get("resourceNames") == ["sharder"] and set(rule["verbs"]) == {"get", "update"} for rule in own), own


def rules_of(client, namespace):
    return client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace}})["status"]["resourceRules"]


@suite.case("the oracle gives the owners of the vectors")
def vectors(env):
    assert oracle.check_vectors() == 245 and env.sharders is None


if __name__ == "__main__":
    suite.main()
