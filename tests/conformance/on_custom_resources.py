"""Custom resources: the schema of manifests/crd, the status subresource, new definitions."""

from api import RINGS, path
from behaviour import behaviour, eventually, ring_body, version


@behaviour("a custom resource is created with generation 1, and its status dropped")
def created(on):
    made = on.api.post(RINGS, {**ring_body(on.id, resources=[{"group": "", "resource": "secrets"}]),
                               "status": {"shards": 7, "availableShards": 7}}).ok(201)
    assert made["metadata"]["generation"] == 1 and "status" not in made, made


@behaviour("a custom resource without kind or apiVersion is a 400")
def no_kind(on):
    on.api.post(RINGS, {"metadata": {"name": on.id}, "spec": {}}).refused(400, "BadRequest")


@behaviour("a PUT without a resourceVersion is a 422 for a custom resource")
def put_without_version(on):
    on.ring()
    on.api.put(on.ring_at(), ring_body(on.id)).refused(422, "Invalid", "metadata.resourceVersion", "must be specified")


@behaviour("the generation grows with the spec, not with labels or status")
def generation(on):
    on.ring()
    changed = on.api.merge(on.ring_at(), {"metadata": {"labels": {"x": "1"}}}).ok()
    assert changed["metadata"]["generation"] == 1
    changed = on.api.merge(on.ring_at(subresource="status"), {"status": {"shards": 1, "availableShards": 1}}).ok()
    assert changed["metadata"]["generation"] == 1
    changed = on.api.merge(on.ring_at(), {"spec": {"namespaceSelector": {}}}).ok()
    assert changed["metadata"]["generation"] == 2 and changed["spec"]["namespaceSelector"] == {}


@behaviour("a write to the status subresource changes the status alone")
def status_alone(on):
    made = on.ring()
    body = {**made, "spec": {"resources": [{"group": "", "resource": "secrets"}]},
            "metadata": {**made["metadata"], "labels": {"x": "1"}}, "status": {"shards": 2, "availableShards": 0}}
    changed = on.api.put(on.ring_at(subresource="status"), body).ok()
    assert changed["status"] == {"shards": 2, "availableShards": 0} and changed["spec"] == made["spec"], changed
    assert "labels" not in changed["metadata"] and version(changed) > version(made), changed


@behaviour("a write to the object leaves the status")
def object_alone(on):
    made = on.ring()
    status = {"shards": 2, "availableShards": 1}
    made = on.api.put(on.ring_at(subresource="status"), {**made, "status": status}).ok()
    changed = on.api.put(on.ring_at(), {**made, "spec": {"resources": [], "namespaceSelector": {}},
                                        "status": {"shards": 9, "availableShards": 9}}).ok()
    assert changed["status"] == status and changed["spec"]["namespaceSelector"] == {}
    changed = on.api.merge(on.ring_at(), {"status": {"shards": 9}}).ok()
    assert changed["status"] == status


@behaviour("a status that was read from an old version is a 409")
def status_refused(on):
    made = on.ring()
    target = on.ring_at(subresource="status")
    status = {"shards": 1, "availableShards": 1}
    on.api.put(target, {**made, "status": status}).ok()
    on.api.put(target, {**made, "status": {**status, "shards": 2}}).refused(409, "Conflict", "has been modified")


@behaviour("a status that is written again as it is leaves the resourceVersion")
def status_nothing(on):
    made = on.ring()
    target = on.ring_at(subresource="status")
    once = on.api.put(target, {**made, "status": {"shards": 1, "availableShards": 1}}).ok()
    assert on.api.put(target, once).ok()["metadata"]["resourceVersion"] == once["metadata"]["resourceVersion"]


@behaviour("the status subresource can be read")
def status_read(on):
    made = on.ring()
    assert on.api.get(on.ring_at(subresource="status")).ok() == made


@behaviour("a resource without a status subresource answers 404 there")
def no_status(on):
    on.secret("a")
    assert on.api.get(on.at("secrets", "a", "status")).status == 404


@behaviour("deleting a custom resource answers Success with its uid")
def deleted(on):
    made = on.ring()
    status = on.api.delete(on.ring_at()).ok()
    assert status["kind"] == "Status" and status["status"] == "Success", status
    assert status["details"]["uid"] == made["metadata"]["uid"] and status["details"]["name"] == on.id, status
    on.api.get(on.ring_at()).refused(404, "NotFound")


@behaviour("a new CustomResourceDefinition is Established by and by and serves its resource, namespaced")
def definition(on):
    group, plural = f"{on.id}.conformance.test", "widgets"
    on.api.post(path("customresourcedefinitions"), crd(group, plural, "Widget")).ok(201)

    def established():
        found = on.api.get(path("customresourcedefinitions", None, f"{plural}.{group}")).ok()
        return any(one["type"] == "Established" and one["status"] == "True"
                   for one in found.get("status", {}).get("conditions") or [])

    eventually(established, "Established")
    target = f"/apis/{group}/v1/namespaces/{on.namespace}/{plural}"
    eventually(lambda: on.api.get(target).status == 200, "served")
    body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"free": {"form": [1]}}}
    made = on.api.post(target, body).ok(201)
    assert made["spec"] == body["spec"] and made["metadata"]["namespace"] == on.namespace
    assert [item["metadata"]["name"] for item in on.api.get(f"/apis/{group}/v1/{plural}").ok()["items"]] == ["a"]
    on.api.delete(f"{target}/a").ok()


def crd(group, plural, kind):
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"}, "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {
                        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}]}}
