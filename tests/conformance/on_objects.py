"""Creating, reading, replacing: names, versions, what the server fills in."""

import re

from api import path
from behaviour import behaviour, version


@behaviour("a created object comes back with 201, uid, resourceVersion, creationTimestamp, namespace and no generation")
def created(on):
    made = on.secret("a", labels={"x": "y"}, stringData={"k": "v"})
    metadata = made["metadata"]
    assert (made["kind"], made["apiVersion"], made["type"]) == ("Secret", "v1", "Opaque"), made
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"]), metadata
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"]), metadata
    assert metadata["namespace"] == on.namespace and version(made) > 0 and "generation" not in metadata
    assert made["data"] == {"k": "dg=="} and metadata["labels"] == {"x": "y"}
    assert on.api.get(on.at("secrets", "a")).ok() == made


@behaviour("each write gives a greater resourceVersion, counted over all resources")
def versions_grow(on):
    seen = [version(on.secret("a")), version(on.api.post(on.at("configmaps"), {"metadata": {"name": "a"}}).ok(201)),
            version(on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"a": "1"}}}).ok()),
            version(on.ring()), int(on.list_version("configmaps"))]
    assert seen == sorted(seen) and len(set(seen[:4])) == 4, seen


@behaviour("a second object of the same name is a 409 AlreadyExists that names it")
def exists(on):
    on.secret("a")
    status = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}).refused(
        409, "AlreadyExists", 'secrets "a" already exists')
    assert status["details"] == {"name": "a", "kind": "secrets"}, status


@behaviour("the same name in two namespaces is two objects")
def two_namespaces(on):
    on.secret("a")
    on.api.post("/api/v1/namespaces", {"metadata": {"name": f"{on.id}-b"}}).ok(201)
    other = on.api.post(path("secrets", f"{on.id}-b"), {"metadata": {"name": "a"}}).ok(201)
    assert other["metadata"]["uid"] != on.api.get(on.at("secrets", "a")).ok()["metadata"]["uid"]


@behaviour("what is not there is a 404 NotFound that names it")
def absent(on):
    status = on.api.get(on.at("secrets", "none")).refused(404, "NotFound", 'secrets "none" not found')
    assert status["details"] == {"name": "none", "kind": "secrets"} and status["metadata"] == {}, status
    body = {"metadata": {"name": "none"}}
    on.api.put(on.at("secrets", "none"), {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}).refused(
        404, "NotFound")
    on.api.merge(on.at("secrets", "none"), body).refused(404, "NotFound")
    on.api.json_patch(on.at("secrets", "none"), {"op": "add", "path": "/data", "value": {}}).refused(404, "NotFound")
    on.api.delete(on.at("secrets", "none")).refused(404, "NotFound")


@behaviour("a missing custom resource's 404 has its group and kind")
def absent_ring(on):
    status = on.api.get(on.ring_at()).refused(
        404, "NotFound", f'controllerrings.sharding.timebertt.dev "{on.id}" not found')
    assert status["details"] == {"name": on.id, "group": "sharding.timebertt.dev", "kind": "controllerrings"}, status


@behaviour("an object in a namespace that does not exist is a 404 for the namespace")
def no_namespace(on):
    status = on.api.post(path("secrets", f"{on.id}-none"), {"metadata": {"name": "a"}}).refused(
        404, "NotFound", f'namespaces "{on.id}-none" not found')
    assert status["details"]["kind"] == "namespaces", status


@behaviour("an unknown resource is a 404")
def no_resource(on):
    on.api.get(on.at("nothings")).refused(404, "NotFound", "the server could not find the requested resource")
    assert on.api.get("/apis/no.such.group/v1/things").status == 404


@behaviour("generateName gives the prefix and five characters of an alphabet without vowels")
def generate_name(on):
    given = [on.api.post(on.at("secrets"), {"metadata": {"generateName": "pre-"}}).ok(201)["metadata"]
             for _ in range(5)]
    assert all(re.fullmatch(r"pre-[bcdfghjklmnpqrstvwxz2456789]{5}", one["name"]) for one in given), given
    assert len({one["name"] for one in given}) == 5 and given[0]["generateName"] == "pre-"


@behaviour("a long generateName is cut so that the name has 63 characters")
def long_generate_name(on):
    made = on.api.post(on.at("secrets"), {"metadata": {"generateName": "a" * 70}}).ok(201)
    assert re.fullmatch(r"a{58}[a-z0-9]{5}", made["metadata"]["name"]), made["metadata"]


@behaviour("a name beside a generateName wins")
def name_wins(on):
    made = on.api.post(on.at("secrets"), {"metadata": {"name": "mine", "generateName": "pre-"}}).ok(201)
    assert made["metadata"]["name"] == "mine"


@behaviour("an object without name and generateName is a 422 Invalid")
def nameless(on):
    status = on.api.post(on.at("secrets"), {"metadata": {}}).refused(422, "Invalid", "name or generateName is required")
    assert status["details"]["causes"][0]["field"] == "metadata.name", status


@behaviour("a body of another kind, version or namespace than the path is a 400")
def mismatch(on):
    meta = {"name": "a"}
    for kind in ({"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "v2", "kind": "Secret"}):
        on.api.post(on.at("secrets"), {**kind, "metadata": meta}).refused(400, "BadRequest")
    on.api.post(on.at("secrets"), {"metadata": {**meta, "namespace": "default"}}).refused(
        400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request")


@behaviour("a body that is no JSON, or no object, is a 400")
def no_json(on):
    for body in (b'{"metadata": ', b"[]", b'"text"'):
        on.api.post(on.at("secrets"), body).refused(400, "BadRequest")


@behaviour("a body of the wrong shape is a 400")
def wrong_shape(on):
    on.api.post(on.at("secrets"), {"metadata": {"name": 5}}).refused(400, "BadRequest")
    on.api.post(on.at("secrets"), {"metadata": {"name": "a", "labels": ["x"]}}).refused(400, "BadRequest")


@behaviour("a new object with a resourceVersion is refused")
def version_on_create(on):
    answer = on.api.post(on.at("secrets"), {"metadata": {"name": "a", "resourceVersion": "5"}})
    # The real server says 500, without a reason; that nobody may store it is what matters.
    assert answer.status in (400, 422, 500) and "resourceVersion" in answer.body["message"], answer.body
    on.api.get(on.at("secrets", "a")).refused(404, "NotFound")


@behaviour("a PUT with the resourceVersion it was read with replaces the object")
def put(on):
    made = on.secret("a", labels={"x": "y"}, stringData={"k": "v"})
    changed = on.api.put(on.at("secrets", "a"), {**made, "data": {"other": "dg=="}}).ok()
    assert changed["data"] == {"other": "dg=="} and version(changed) > version(made)
    assert on.api.get(on.at("secrets", "a")).ok() == changed


@behaviour("a PUT with an old resourceVersion is a 409 Conflict and changes nothing")
def put_conflict(on):
    made = on.secret("a")
    changed = on.api.put(on.at("secrets", "a"), {**made, "data": {"k": "dg=="}}).ok()
    status = on.api.put(on.at("secrets", "a"), {**made, "data": {}}).refused(
        409, "Conflict", "the object has been modified; please apply your changes to the latest version and try again")
    assert status["details"] == {"name": "a", "kind": "secrets"}, status
    assert on.api.get(on.at("secrets", "a")).ok() == changed


@behaviour("a PUT without a resourceVersion replaces a built-in object whatever its version")
def put_unconditional(on):
    made = on.secret("a")
    changed = on.api.put(on.at("secrets", "a"), {"metadata": {"name": "a"}, "data": {"k": "dg=="}}).ok()
    assert changed["metadata"]["uid"] == made["metadata"]["uid"] and version(changed) > version(made)


@behaviour("a PUT with another uid is a 409, with another name a 400")
def put_identity(on):
    made = on.secret("a")
    wrong = {**made["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}
    on.api.put(on.at("secrets", "a"), {**made, "metadata": wrong}).refused(409, "Conflict", "UID")
    on.api.put(on.at("secrets", "a"), {**made, "metadata": {**made["metadata"], "name": "b"}}).refused(
        400, "BadRequest", "does not match")


@behaviour("uid, creationTimestamp and namespace stay whatever a PUT says")
def system_fields(on):
    made = on.secret("a")
    body = {"metadata": {"name": "a", "creationTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x", "generation": 9},
            "data": {"k": "dg=="}}
    stored = on.api.put(on.at("secrets", "a"), body).ok()["metadata"]
    for field in ("uid", "creationTimestamp", "namespace"):
        assert stored[field] == made["metadata"][field], stored


@behaviour("a PUT that changes nothing leaves the resourceVersion")
def put_nothing(on):
    made = on.secret("a", labels={"x": "y"}, stringData={"k": "v"})
    assert on.api.put(on.at("secrets", "a"), made).ok() == made


@behaviour("a dry run of a creation answers like one and stores nothing")
def dry_run(on):
    made = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}, dryRun="All").ok(201)
    assert made["metadata"]["uid"] and made["metadata"]["creationTimestamp"], made
    on.api.get(on.at("secrets", "a")).refused(404, "NotFound")
    on.secret("a")
    on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}, dryRun="All").refused(409, "AlreadyExists")
    on.api.post(on.at("secrets"), {"metadata": {"name": "b"}}, dryRun="Some").refused(422, "Invalid", "dryRun")


@behaviour("dry runs of PUT, PATCH and DELETE change nothing")
def dry_runs(on):
    made = on.secret("a")
    answer = on.api.put(on.at("secrets", "a"), {**made, "data": {"k": "dg=="}}, dryRun="All").ok()
    assert answer["data"] == {"k": "dg=="}
    answer = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "y"}}}, dryRun="All").ok()
    assert answer["metadata"]["labels"] == {"x": "y"}
    on.api.delete(on.at("secrets", "a"), dryRun="All").ok()
    assert on.api.get(on.at("secrets", "a")).ok() == made


@behaviour("a write notes its field manager: the parameter, else the start of the User-Agent")
def managers(on):
    made = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}, "data": {"k": "dg=="}}, fieldManager="me").ok(201)
    entry = made["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("me", "Update", "v1"), entry
    assert entry["fieldsType"] == "FieldsV1" and "f:data" in entry["fieldsV1"] and entry["time"], entry
    made = on.api.send("POST", on.at("secrets"), {"metadata": {"name": "b"}, "data": {"k": "dg=="}},
                       headers={"User-Agent": "tester/1.2 (linux)"}).ok(201)
    assert made["metadata"]["managedFields"][0]["manager"] == "tester", made["metadata"]


@behaviour("content that is no JSON is refused with 415 UnsupportedMediaType, an unservable Accept with 406")
def media_types(on):
    on.api.send("POST", on.at("secrets"), b"a=b", "application/x-www-form-urlencoded").refused(
        415, "UnsupportedMediaType")
    on.api.send("GET", on.at("secrets"), headers={"Accept": "image/png"}).refused(406, "NotAcceptable")


PROTOBUF = "application/vnd.kubernetes.protobuf"


def _message(*fields):
    """A protobuf message of (tag, number, text, or bytes of a message)."""
    data = b""
    for tag, value in fields:
        if isinstance(value, int):
            data += _varint(tag << 3) + _varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            data += _varint(tag << 3 | 2) + _varint(len(value)) + value
    return data


def _varint(number):
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def _protobuf(api_version, kind, *fields):
    return b"k8s\0" + _message((1, _message((1, api_version), (2, kind))), (2, _message(*fields)), (3, ""), (4, ""))


@behaviour("objects in protobuf, as Go's clients send them: what is empty is left out, but not what is set to nothing")
def protobuf(on):
    metadata = _message((1, "a"), (2, ""), (3, ""), (7, 0), (8, b""), (11, _message((1, "x"), (2, "1"))),
                        (11, _message((1, "y"), (2, ""))), (14, "example.com/f"))
    time = _message((1, 1_700_000_000), (2, 42_000))
    made = on.api.send("POST", on.at("leases"), _protobuf(
        "coordination.k8s.io/v1", "Lease", (1, metadata), (2, _message((1, ""), (2, 15), (4, time), (5, 0)))),
        PROTOBUF).ok(201)
    assert made["spec"] == {"holderIdentity": "", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                            "renewTime": "2023-11-14T22:13:20.000042Z"}, made
    assert made["metadata"]["labels"] == {"x": "1", "y": ""}, made
    assert made["metadata"]["finalizers"] == ["example.com/f"] and "generateName" not in made["metadata"], made
    owner = _message((1, "Lease"), (3, "a"), (4, made["metadata"]["uid"]), (5, "coordination.k8s.io/v1"), (6, 1),
                     (7, 0))
    made = on.api.send("POST", on.at("configmaps"), _protobuf(
        "v1", "ConfigMap", (1, _message((1, "a"), (13, owner))), (2, _message((1, "k"), (2, "v"))),
        (3, _message((1, "b"), (2, b"v")))), PROTOBUF).ok(201)
    assert made["data"] == {"k": "v"} and made["binaryData"] == {"b": "dg=="}, made
    reference = made["metadata"]["ownerReferences"][0]
    assert reference["controller"] is True and reference["blockOwnerDeletion"] is False, reference
    precondition = _message((1, "another-uid"))
    on.api.send("DELETE", on.at("configmaps", "a"), _protobuf("meta.k8s.io/v1", "DeleteOptions", (2, precondition)),
                PROTOBUF).refused(409, "Conflict")
    on.api.send("POST", on.at("secrets"), _protobuf("v1", "ConfigMap", (1, _message((1, "b")))), PROTOBUF).refused(
        400, "BadRequest")
    on.api.send("POST", on.at("secrets"), b"k8s", PROTOBUF).refused(400, "BadRequest")


@behaviour("a method that a resource does not have is a 405 MethodNotAllowed")
def methods(on):
    on.api.send("POST", on.at("secrets", "a"), {"metadata": {"name": "a"}}).refused(405, "MethodNotAllowed")
    on.api.send("PUT", on.at("secrets"), {"metadata": {"name": "a"}}).refused(405, "MethodNotAllowed")


@behaviour("a token that nobody gave out is a 401 Unauthorized")
def wrong_token(on):
    connection = http_connection(on)
    try:
        connection.request("GET", "/api/v1/namespaces", headers={"Authorization": "Bearer wrong"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 401 and b'"Unauthorized"' in body, (response.status, body)
    finally:
        connection.close()


def http_connection(on):
    """A connection without a client certificate."""
    import http.client  # pylint: disable=import-outside-toplevel
    return http.client.HTTPSConnection(on.api.host, on.api.port, timeout=10, context=on.api.anonymous_tls)


@behaviour("a new namespace is Active and labelled with its name, which stays")
def namespace(on):
    made = on.api.post("/api/v1/namespaces", {"metadata": {"name": on.id, "labels": {"a": "b"}}}).ok(201)
    label = {"kubernetes.io/metadata.name": on.id}
    assert made["metadata"]["labels"] == {"a": "b", **label} and made["status"]["phase"] == "Active", made
    changed = on.api.merge(f"/api/v1/namespaces/{on.id}", {"metadata": {"labels": {
        "kubernetes.io/metadata.name": None, "a": None}}}).ok()
    assert changed["metadata"]["labels"] == label, changed
    status = on.api.get(f"/api/v1/namespaces/{on.id}-none").refused(404, "NotFound")
    assert status["details"]["kind"] == "namespaces"


@behaviour("a Deployment's generation grows with its spec, not with its labels")
def generation(on):
    labels = {"app": "x"}
    made = on.api.post(on.at("deployments"), {"metadata": {"name": "a"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}).ok(201)
    assert made["metadata"]["generation"] == 1, made["metadata"]
    changed = on.api.merge(on.at("deployments", "a"), {"metadata": {"labels": {"x": "y"}}}).ok()
    assert changed["metadata"]["generation"] == 1, changed["metadata"]
    changed = on.api.merge(on.at("deployments", "a"), {"spec": {"replicas": 3}}).ok()
    assert changed["metadata"]["generation"] == 2 and changed["spec"]["replicas"] == 3, changed["metadata"]
