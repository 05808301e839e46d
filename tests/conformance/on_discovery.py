"""Discovery documents, as far as clients read them to learn version, kind and scope of a resource; health; version."""

from api import path
from behaviour import behaviour


def resources(on, target):
    body = on.api.get(target).ok()
    assert body["kind"] == "APIResourceList", body
    return {one["name"]: one for one in body["resources"]}


@behaviour("/api names the versions of the core group")
def core_versions(on):
    body = on.api.get("/api").ok()
    assert body["kind"] == "APIVersions" and body["versions"] == ["v1"], body


@behaviour("/apis lists the groups, each with its preferred version")
def groups(on):
    body = on.api.get("/apis").ok()
    assert body["kind"] == "APIGroupList", body
    preferred = {group["name"]: group["preferredVersion"]["version"] for group in body["groups"]}
    wanted = {"apps": "v1", "coordination.k8s.io": "v1", "admissionregistration.k8s.io": "v1",
              "apiextensions.k8s.io": "v1", "sharding.timebertt.dev": "v1alpha1"}
    assert wanted.items() <= preferred.items(), preferred


@behaviour("/apis/GROUP has the group's versions, of custom resources too; an unknown group is a 404")
def group(on):
    for name, version in (("apps", "v1"), ("sharding.timebertt.dev", "v1alpha1")):
        body = on.api.get(f"/apis/{name}").ok()
        entry = {"groupVersion": f"{name}/{version}", "version": version}
        assert (body["kind"], body["name"]) == ("APIGroup", name) and entry in body["versions"], body
        assert body["preferredVersion"] == entry, body
    assert on.api.get("/apis/no.such.group").status == 404
    assert on.api.get("/apis/apps/v9").status == 404


@behaviour("the core group's resources have kind, scope and verbs")
def core(on):
    found = resources(on, "/api/v1")
    assert (found["secrets"]["kind"], found["secrets"]["namespaced"]) == ("Secret", True)
    assert (found["namespaces"]["kind"], found["namespaces"]["namespaced"]) == ("Namespace", False)
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(found["secrets"]["verbs"])
    assert {"configmaps", "events"} <= set(found)


@behaviour("a group's resources: Deployments, ReplicaSets, Leases, webhook configurations")
def built_in(on):
    apps = resources(on, "/apis/apps/v1")
    assert (apps["deployments"]["kind"], apps["replicasets"]["kind"]) == ("Deployment", "ReplicaSet")
    assert apps["deployments"]["namespaced"] is True
    assert resources(on, "/apis/coordination.k8s.io/v1")["leases"]["kind"] == "Lease"
    found = resources(on, "/apis/admissionregistration.k8s.io/v1")["mutatingwebhookconfigurations"]
    assert (found["kind"], found["namespaced"]) == ("MutatingWebhookConfiguration", False)


@behaviour("a custom resource is discovered with its status subresource under a name with a slash")
def custom(on):
    found = resources(on, "/apis/sharding.timebertt.dev/v1alpha1")
    assert found["controllerrings"]["kind"] == "ControllerRing" and found["controllerrings"]["namespaced"] is False
    assert found["controllerrings/status"]["kind"] == "ControllerRing"
    assert "list" not in found["controllerrings/status"]["verbs"]


@behaviour("/readyz, /livez and /healthz say ok, /version has major and minor")
def health(on):
    for target in ("/readyz", "/livez", "/healthz"):
        answer = on.api.get(target)
        assert answer.ok() == "ok", answer.body
    body = on.api.get("/version").ok()
    assert body["major"] == "1" and int(body["minor"].rstrip("+")) >= 30 and body["gitVersion"].startswith("v1."), body


@behaviour("a path that is nothing is a 404")
def nothing(on):
    assert on.api.get("/no/such/path").status == 404
    assert on.api.get(path("secrets") + "/a/b/c/d").status == 404
