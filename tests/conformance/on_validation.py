"""What a server lets nobody store, and what it makes of values: names, labels, Leases, Events."""

from api import path
from behaviour import behaviour, rule


def refused_labels(on, labels, *texts):
    status = on.api.post(on.at("secrets"), {"metadata": {"name": "a", "labels": labels}}).refused(
        422, "Invalid", "metadata.labels", *texts)
    assert status["details"]["causes"][0]["reason"] == "FieldValueInvalid", status


@behaviour("a label's value may have 63 characters, not 64, and only letters, digits, -, _ and .")
def label_values(on):
    on.secret("b", labels={"x": "a" * 63, "y": "", "z": "A-1_b.c"})
    refused_labels(on, {"x": "a" * 64}, "63")
    for value in ("a b", "-a", "a-", "a/b", "ä"):
        refused_labels(on, {"x": value})


@behaviour("a label's key is a name of at most 63 characters, with a DNS prefix or none")
def label_keys(on):
    on.secret("b", labels={"example.com/" + "a" * 63: "1", "A_b.c": "2"})
    for key in ("a" * 64, "example.com/" + "a" * 64, "", "a/b/c", "Example.COM/a", "-a", "/a"):
        refused_labels(on, {key: "1"})


@behaviour("the 422 of an object tells kind, name and every cause")
def causes(on):
    status = on.api.post(on.at("secrets"), {"metadata": {"name": "Not_Valid", "labels": {"x": "a b"}}}).refused(
        422, "Invalid", 'Secret "Not_Valid" is invalid')
    details = status["details"]
    assert (details["kind"], details["name"]) == ("Secret", "Not_Valid"), details
    assert {cause["field"] for cause in details["causes"]} == {"metadata.name", "metadata.labels"}, details


@behaviour("a name is a DNS subdomain of at most 253 characters, a namespace's a label of at most 63")
def object_names(on):
    on.secret("a.b-c.9")
    on.secret("a" * 253)
    for name in ("A", "a_b", "-a", "a" * 254, "a..b"):
        on.api.post(on.at("secrets"), {"metadata": {"name": name}}).refused(422, "Invalid", "metadata.name")
    for name in ("a.b", "a" * 64):
        on.api.post("/api/v1/namespaces", {"metadata": {"name": name}}).refused(422, "Invalid", "metadata.name")


@behaviour("annotation keys are checked like labels', their values are free")
def annotations(on):
    def create(name, **given):
        return on.api.post(on.at("secrets"), {"metadata": {"name": name, "annotations": given}})

    create("a", **{"example.com/x": "any thing / ä"}).ok(201)
    create("b", **{"a b": "1"}).refused(422, "Invalid", "metadata.annotations")


@behaviour("an owner reference needs apiVersion, kind, name and uid, and one owner alone may be the controller")
def owners(on):
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u-1", "controller": True}
    for field in ("apiVersion", "kind", "name", "uid"):
        on.api.post(on.at("secrets"), {"metadata": {"name": "a", "ownerReferences": [{**owner, field: ""}]}}).refused(
            422, "Invalid", "ownerReferences")
    on.api.post(on.at("secrets"), {"metadata": {"name": "a", "ownerReferences": [
        owner, {**owner, "name": "p", "uid": "u-2"}]}}).refused(422, "Invalid", "ownerReferences")


@behaviour("data of a Secret that is no base64 is a 400, and a ConfigMap's text stays")
def data(on):
    on.api.post(on.at("secrets"), {"metadata": {"name": "a"}, "data": {"k": "not base64!"}}).refused(400, "BadRequest")
    made = on.api.post(on.at("configmaps"), {"metadata": {"name": "a"}, "data": {"k": "täxt"}}).ok(201)
    assert made["data"] == {"k": "täxt"}


def lease(name="a", **spec):
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


NOW = "2026-01-02T03:04:05.123456Z"


@behaviour("a Lease keeps its times with exactly six decimals")
def micro_time(on):
    made = on.api.post(on.at("leases"), lease(holderIdentity="a", leaseDurationSeconds=15, acquireTime=NOW,
                                              renewTime="2026-01-02T03:04:05.000000Z", leaseTransitions=0)).ok(201)
    assert made["spec"] == {"holderIdentity": "a", "leaseDurationSeconds": 15, "acquireTime": NOW,
                            "renewTime": "2026-01-02T03:04:05.000000Z", "leaseTransitions": 0}, made
    changed = on.api.merge(on.at("leases", "a"), {"spec": {"renewTime": "2026-01-02T05:04:05.500000+02:00"}}).ok()
    assert changed["spec"]["renewTime"] == "2026-01-02T03:04:05.500000Z", changed


@behaviour("a Lease's time without six decimals is a 400")
def wrong_time(on):
    for text in ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123Z", "2026-01-02T03:04:05.123456789Z", "yesterday"):
        on.api.post(on.at("leases"), lease(renewTime=text)).refused(400, "BadRequest")


@behaviour("a Lease may be empty, and released: no holder, a duration of one second")
def released(on):
    made = on.api.post(on.at("leases"), lease()).ok(201)
    assert made["spec"] == {}, made
    made["spec"] = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": NOW, "acquireTime": NOW}
    held = on.api.put(on.at("leases", "a"), made).ok()
    held["spec"].update(holderIdentity="", leaseDurationSeconds=1, leaseTransitions=1)
    given = on.api.put(on.at("leases", "a"), held).ok()["spec"]
    assert given.get("holderIdentity", "") == "" and given["leaseDurationSeconds"] == 1, given


@behaviour("a Lease with a duration of 0 or less, or negative transitions, is a 422")
def wrong_lease(on):
    for seconds in (0, -1):
        on.api.post(on.at("leases"), lease(leaseDurationSeconds=seconds)).refused(
            422, "Invalid", "spec.leaseDurationSeconds")
    on.api.post(on.at("leases"), lease(leaseTransitions=-1)).refused(422, "Invalid", "spec.leaseTransitions")


@behaviour("of two PUTs of a Lease with the same resourceVersion the second is a 409: one holder")
def lease_conflict(on):
    made = on.api.post(on.at("leases"), lease(holderIdentity="a", renewTime=NOW)).ok(201)
    on.api.put(on.at("leases", "a"), {**made, "spec": {"holderIdentity": "b"}}).ok()
    on.api.put(on.at("leases", "a"), {**made, "spec": {"holderIdentity": "c"}}).refused(409, "Conflict")


def event(on, involved, name="a"):
    return {"metadata": {"name": name}, "involvedObject": {"kind": "ControllerRing", "name": on.id, **involved},
            "reason": "ReconciliationFailed", "message": "m", "type": "Warning", "count": 1,
            "source": {"component": "controllerring-controller"}, "firstTimestamp": "2026-01-02T03:04:05Z",
            "lastTimestamp": "2026-01-02T03:04:05Z"}


@behaviour("an Event of a cluster-scoped object belongs into the namespace default; elsewhere it is a 422")
def event_namespace(on):
    api_version = {"apiVersion": "sharding.timebertt.dev/v1alpha1"}
    made = on.api.post(path("events", "default"), event(on, api_version, on.id)).ok(201)
    assert made["involvedObject"]["name"] == on.id and made["count"] == 1
    on.api.post(on.at("events"), event(on, api_version)).refused(422, "Invalid", "involvedObject.namespace")


@behaviour("an Event of a namespaced object belongs into that namespace, and its count can be patched")
def event_count(on):
    involved = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "namespace": on.namespace}
    on.api.post(on.at("events"), event(on, involved)).ok(201)
    changed = on.api.merge(on.at("events", "a"), {"count": 2, "lastTimestamp": "2026-01-02T03:05:05Z"}).ok()
    assert changed["count"] == 2 and changed["firstTimestamp"] == "2026-01-02T03:04:05Z", changed
    on.api.post(path("events", "default"), event(on, involved, on.id)).refused(422, "Invalid")


def configuration(on, **fields):
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": on.id}, "webhooks": [{
                "name": "w.conformance.test", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://127.0.0.1:1/x"}, "rules": [rule("nothings", groups=["no.such.group"])],
                **fields}]}


@behaviour("a webhook configuration gets its defaults: Equivalent, Never, Fail, 10 s, selectors, port 443")
def webhook_defaults(on):
    made = on.api.post(path("mutatingwebhookconfigurations"), configuration(
        on, clientConfig={"service": {"namespace": "default", "name": "s", "path": "/x"}})).ok(201)
    webhook = made["webhooks"][0]
    assert made["metadata"]["generation"] == 1, made
    wanted = {"matchPolicy": "Equivalent", "reinvocationPolicy": "Never", "failurePolicy": "Fail", "timeoutSeconds": 10,
              "namespaceSelector": {}, "objectSelector": {}}
    assert {key: webhook.get(key) for key in wanted} == wanted, webhook
    assert webhook["clientConfig"]["service"]["port"] == 443 and webhook["rules"][0]["scope"] == "*", webhook


@behaviour("a webhook configuration that makes no sense is a 422")
def webhook_invalid(on):
    for field, value in (("name", "short"), ("timeoutSeconds", 31), ("timeoutSeconds", 0), ("sideEffects", "Some"),
                         ("admissionReviewVersions", []), ("failurePolicy", "Maybe"),
                         ("clientConfig", {"url": "http://127.0.0.1/x"}), ("clientConfig", {}),
                         ("clientConfig", {"url": "https://127.0.0.1/x", "service": {"namespace": "a", "name": "b"}}),
                         ("objectSelector", {"matchExpressions": [{"key": "x", "operator": "Near"}]})):
        on.api.post(path("mutatingwebhookconfigurations"), configuration(on, **{field: value})).refused(422, "Invalid")


@behaviour("a caBundle that is no base64 is a 400")
def webhook_bundle(on):
    on.api.post(path("mutatingwebhookconfigurations"), configuration(
        on, clientConfig={"url": "https://127.0.0.1:1/x", "caBundle": "!"})).refused(400, "BadRequest")
