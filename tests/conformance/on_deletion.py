"""Deletion: preconditions, finalizers, collections, and the garbage collection of what a ring owned."""

from api import path
from behaviour import behaviour, eventually, names, rule, version


def options(**preconditions):
    return {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}


@behaviour("a deleted object is gone at once, the answer says Success and names its uid")
def deleted(on):
    made = on.secret("a")
    status = on.api.delete(on.at("secrets", "a")).ok()
    assert (status["kind"], status["status"]) == ("Status", "Success"), status
    assert status["details"] == {"name": "a", "kind": "secrets", "uid": made["metadata"]["uid"]}, status
    on.api.get(on.at("secrets", "a")).refused(404, "NotFound")


@behaviour("a deletion with the object's uid and resourceVersion as preconditions is done")
def preconditions(on):
    made = on.secret("a")["metadata"]
    on.api.delete(on.at("secrets", "a"), options(uid=made["uid"], resourceVersion=made["resourceVersion"])).ok()


@behaviour("a deletion with another uid or an old resourceVersion is a 409 Conflict and deletes nothing")
def preconditions_fail(on):
    made = on.secret("a")
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
    on.api.delete(on.at("secrets", "a"), options(uid="00000000-0000-0000-0000-000000000000")).refused(
        409, "Conflict", "UID")
    on.api.delete(on.at("secrets", "a"), options(resourceVersion=made["metadata"]["resourceVersion"])).refused(
        409, "Conflict", "ResourceVersion")
    assert on.api.get(on.at("secrets", "a")).ok() == changed


@behaviour("a Lease that was renewed meanwhile is not deleted by its old version")
def renewed(on):
    made = on.api.post(on.at("leases"), {"metadata": {"name": "a"}, "spec": {"holderIdentity": "a"}}).ok(201)
    on.api.merge(on.at("leases", "a"), {"spec": {"renewTime": "2026-01-02T03:04:05.000000Z"}}).ok()
    on.api.delete(on.at("leases", "a"), options(
        uid=made["metadata"]["uid"], resourceVersion=made["metadata"]["resourceVersion"])).refused(409, "Conflict")
    assert names(on.api.get(on.at("leases")).ok()) == ["a"]


@behaviour("a name that is used again has another uid")
def again(on):
    first = on.secret("a")["metadata"]["uid"]
    on.api.delete(on.at("secrets", "a")).ok()
    second = on.secret("a")["metadata"]["uid"]
    assert first != second
    on.api.delete(on.at("secrets", "a"), options(uid=first)).refused(409, "Conflict")


@behaviour("an object with a finalizer stays, with a deletionTimestamp, until the finalizer goes")
def finalizer(on):
    made = on.api.post(on.at("secrets"), {"metadata": {"name": "a", "finalizers": ["example.com/f"]}}).ok(201)
    with on.api.watch(on.at("secrets"), resourceVersion=made["metadata"]["resourceVersion"]) as watch:
        on.api.delete(on.at("secrets", "a")).ok()
        kept = on.api.get(on.at("secrets", "a")).ok()
        assert kept["metadata"]["deletionTimestamp"] and version(kept) > version(made), kept
        assert kept["metadata"]["deletionGracePeriodSeconds"] == 0, kept
        changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"shard": "s"}}}).ok()
        assert changed["metadata"]["labels"] == {"shard": "s"}
        on.api.merge(on.at("secrets", "a"), {"metadata": {"finalizers": None}}).ok()
        on.api.get(on.at("secrets", "a")).refused(404, "NotFound")
        assert watch.events(3) == [("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


@behaviour("no finalizer can be added to an object that is being deleted: 422")
def late_finalizer(on):
    on.api.post(on.at("secrets"), {"metadata": {"name": "a", "finalizers": ["example.com/f"]}}).ok(201)
    on.api.delete(on.at("secrets", "a")).ok()
    on.api.merge(on.at("secrets", "a"), {"metadata": {"finalizers": ["example.com/f", "example.com/g"]}}).refused(
        422, "Invalid", "metadata.finalizers")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"finalizers": []}}).ok()


@behaviour("a deletionTimestamp cannot be written by a client")
def timestamp(on):
    made = on.secret("a")
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    stored = on.api.get(on.at("secrets", "a")).ok()
    assert "deletionTimestamp" not in stored["metadata"], changed.body
    assert stored["metadata"]["uid"] == made["metadata"]["uid"]


@behaviour("deleting a collection takes what the selector matches, and answers with the list")
def collection(on):
    on.secret("a", labels={"x": "1"})
    on.secret("b", labels={"x": "1"})
    on.secret("c")
    body = on.api.delete(on.at("secrets"), labelSelector="x=1").ok()
    assert body["kind"] == "SecretList" and names(body) == ["a", "b"], body
    assert names(on.api.get(on.at("secrets")).ok()) == ["c"]


@behaviour("a DELETE whose body is no JSON is a 400")
def bad_body(on):
    on.secret("a")
    on.api.delete(on.at("secrets", "a"), b"{").refused(400, "BadRequest")
    on.api.get(on.at("secrets", "a")).ok()


def owner_of(ring):
    return {"apiVersion": ring["apiVersion"], "kind": ring["kind"], "name": ring["metadata"]["name"],
            "uid": ring["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def configuration(on, owner, name=None):
    return on.api.post(path("mutatingwebhookconfigurations"), {
        "metadata": {"name": name or on.id, "ownerReferences": [owner]}, "webhooks": [{
            "name": "w.conformance.test", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/x"},
            "rules": [rule("nothings", groups=["no.such.group"])]}]}).ok(201)


def gone(on, name=None):
    return on.api.get(path("mutatingwebhookconfigurations", None, name or on.id)).status == 404


@behaviour("when a ring is deleted, the webhook configuration that it owns goes by and by")
def collected(on):
    configuration(on, owner_of(on.ring()))
    other = on.ring(f"{on.id}-b")
    configuration(on, owner_of(other), f"{on.id}-b")
    on.api.delete(on.ring_at()).ok()
    eventually(lambda: gone(on), "the configuration is collected", 60)
    assert not gone(on, f"{on.id}-b")


@behaviour("with propagationPolicy Foreground what is owned goes first, then the ring")
def foreground(on):
    configuration(on, owner_of(on.ring()))
    on.api.delete(on.ring_at(), propagationPolicy="Foreground").ok()
    eventually(lambda: on.api.get(on.ring_at()).status == 404, "the ring is gone", 60)
    assert gone(on)


@behaviour("with propagationPolicy Orphan what is owned stays, without its owner")
def orphaned(on):
    configuration(on, owner_of(on.ring()))
    on.api.delete(on.ring_at(), propagationPolicy="Orphan").ok()
    eventually(lambda: on.api.get(on.ring_at()).status == 404, "the ring is gone", 60)
    kept = on.api.get(path("mutatingwebhookconfigurations", None, on.id)).ok()
    assert "ownerReferences" not in kept["metadata"], kept["metadata"]


@behaviour("a namespace that is deleted is Terminating first, and takes its objects with it")
def namespace(on):
    on.secret("a")
    body = on.api.delete(f"/api/v1/namespaces/{on.namespace}").ok()
    assert body["kind"] == "Namespace" and body["status"]["phase"] == "Terminating", body
    eventually(lambda: on.api.get(f"/api/v1/namespaces/{on.namespace}").status == 404, "the namespace is gone", 60)
    assert on.api.get(on.at("secrets")).ok()["items"] == []
