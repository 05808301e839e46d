"""Mutating webhooks: which requests they are asked about, what they are told, what becomes of their answers."""

import base64
import json
import threading
import time

from api import APPLY, JSON_PATCH, METADATA, RINGS, path
from behaviour import behaviour, eventually, ring_body, rule, version
from hooks import framed, labelled, patched

LABEL = "shard.alpha.sharding.timebertt.dev/ring"


def asked(calls):
    """(operation, name) of each review."""
    return [(call.request["operation"], call.request.get("name", "")) for call in calls]


def assign(call):
    return labelled(call, LABEL, "s-1")


@behaviour("a creation is reviewed: POST of an AdmissionReview v1 with object, names, user and options")
def review_of_create(on):
    calls = on.hook()
    on.api.post(on.at("secrets"), {"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"k": "dg=="}},
                fieldManager="me").ok(201)
    call, request = calls[0], calls[0].request
    assert (call.review["apiVersion"], call.review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert call.path == f"/{on.id}/hook?timeout=5s" and call.headers["Content-Type"] == "application/json", call.path
    kind = {"group": "", "version": "v1", "kind": "Secret"}
    resource = {"group": "", "version": "v1", "resource": "secrets"}
    wanted = {"kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource, "name": "a",
              "namespace": on.namespace, "operation": "CREATE", "dryRun": False, "oldObject": None}
    assert {key: request.get(key) for key in wanted} == wanted, request
    assert "subResource" not in request and request["uid"] and request["userInfo"]["username"], request
    assert request["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}
    item = request["object"]
    assert (item["kind"], item["apiVersion"], item["data"]) == ("Secret", "v1", {"k": "dg=="}), item
    assert (item["metadata"]["name"], item["metadata"]["namespace"]) == ("a", on.namespace), item
    assert item["metadata"]["labels"] == {"x": "1"} and item["type"] == "Opaque", item
    assert len(calls) == 1


@behaviour("an update is reviewed with the old and the new object, both with uid and resourceVersion")
def review_of_update(on):
    calls = on.hook(rules=[rule("secrets", operations=["UPDATE"])])
    made = on.secret("a", labels={"x": "1"})
    on.settle(on.at("secrets", "a"))
    on.api.put(on.at("secrets", "a"), {**made, "data": {"k": "dg=="}}).ok()
    assert asked(calls) == [("UPDATE", "a")], calls
    request = calls[0].request
    assert request["options"]["kind"] == "UpdateOptions", request
    assert request["object"]["data"] == {"k": "dg=="} and "data" not in request["oldObject"], request
    for item in (request["object"], request["oldObject"]):
        assert item["metadata"]["uid"] == made["metadata"]["uid"] and item["metadata"]["labels"] == {"x": "1"}
    assert request["oldObject"]["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


@behaviour("each kind of patch is reviewed as an UPDATE with the patched object")
def review_of_patch(on):
    calls = on.hook()
    on.secret("a")
    on.settle(on.at("secrets", "a"))
    on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
    on.settle(on.at("secrets", "a"))
    on.api.json_patch(on.at("secrets", "a"), {"op": "add", "path": "/metadata/labels/y", "value": "2"}).ok()
    assert asked(calls) == [("CREATE", "a"), ("UPDATE", "a"), ("UPDATE", "a")]
    assert [call.request["object"]["metadata"].get("labels") for call in calls] == [
        None, {"x": "1"}, {"x": "1", "y": "2"}]
    assert calls[1].request["options"]["kind"] == "UpdateOptions", calls[1].request


@behaviour("an apply is reviewed as CREATE when it creates, else as UPDATE")
def review_of_apply(on):
    calls = on.hook(rules=[rule("configmaps")])
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    on.api.send("PATCH", on.at("configmaps", "a"), body, APPLY, fieldManager="me").ok(201)
    on.settle(on.at("configmaps", "a"))
    on.api.send("PATCH", on.at("configmaps", "a"), {**body, "data": {"k": "w"}}, APPLY, fieldManager="me").ok()
    mine = [call for call in asked(calls) if call[1] == "a"]
    assert mine == [("CREATE", "a"), ("UPDATE", "a")], mine


@behaviour("the webhook's patch is in the answer, in the store, and in watches")
def patch_is_stored(on):
    on.hook(assign)
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version()) as watch:
        made = on.secret("a")
        assert made["metadata"]["labels"] == {LABEL: "s-1"}, made
        assert watch.until("ADDED") == made == on.api.get(on.at("secrets", "a")).ok()
    made = on.secret("b", labels={"x": "1"})
    assert made["metadata"]["labels"] == {"x": "1", LABEL: "s-1"}


@behaviour("the webhook's patch of an update is stored with it: the acknowledgement of a drain is reassigned at once")
def patch_of_update(on):
    drain = "drain.alpha.sharding.timebertt.dev/ring"
    made = on.secret("a", labels={LABEL: "s-0", drain: "true"})
    on.hook(assign, objectSelector={"matchExpressions": [{"key": LABEL, "operator": "DoesNotExist"}]})
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {
        "resourceVersion": made["metadata"]["resourceVersion"], "labels": {LABEL: None, drain: None}}}).ok()
    assert changed["metadata"]["labels"] == {LABEL: "s-1"}, changed


@behaviour("an acknowledgement of a drain that sets another shard is stored as it is: the webhook is not called")
def targeted(on):
    drain = "drain.alpha.sharding.timebertt.dev/ring"
    calls = on.hook(assign, objectSelector={"matchExpressions": [{"key": LABEL, "operator": "DoesNotExist"}]})
    made = on.secret("a", labels={LABEL: "s-0", drain: "s-2"})
    on.settle(on.at("secrets", "a"))
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {
        "resourceVersion": made["metadata"]["resourceVersion"], "labels": {LABEL: "s-2", drain: None}}}).ok()
    assert changed["metadata"]["labels"] == {LABEL: "s-2"} and not calls, (changed, calls)


@behaviour("a patch by the webhook that undoes the update leaves the resourceVersion")
def undone(on):
    on.hook(assign)
    made = on.secret("a")
    assert on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {LABEL: None}}}).ok() == made


@behaviour("an object with generateName is reviewed without a name, and the webhook may give it one")
def generate_name(on):
    calls = on.hook(lambda call: patched({"op": "add", "path": "/metadata/name", "value": "pre-chosen"}))
    made = on.api.post(on.at("secrets"), {"metadata": {"generateName": "pre-"}}).ok(201)
    assert made["metadata"]["name"] == "pre-chosen" and made["metadata"]["generateName"] == "pre-", made["metadata"]
    assert calls[0].request.get("name", "") == "" and "name" not in calls[0].request["object"]["metadata"]
    on.api.post(on.at("secrets"), {"metadata": {"generateName": "pre-"}}).refused(409, "AlreadyExists")


@behaviour("an object with generateName that the webhook does not name is named by the server")
def generated(on):
    on.hook(assign)
    made = on.api.post(on.at("secrets"), {"metadata": {"generateName": "pre-"}}).ok(201)
    assert made["metadata"]["name"].startswith("pre-") and made["metadata"]["labels"] == {LABEL: "s-1"}


@behaviour("a dry run is reviewed with dryRun true, answers with the patch and stores nothing")
def dry_run(on):
    calls = on.hook(assign)
    made = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}, dryRun="All").ok(201)
    assert made["metadata"]["labels"] == {LABEL: "s-1"} and calls[0].request["dryRun"] is True
    on.api.get(on.at("secrets", "a")).refused(404, "NotFound")


@behaviour("objectSelector DoesNotExist: asked about objects without the label only")
def object_selector(on):
    calls = on.hook(objectSelector={"matchExpressions": [{"key": LABEL, "operator": "DoesNotExist"}]})
    on.secret("a", labels={LABEL: "s-0"})
    on.secret("b")
    on.secret("c", labels={LABEL: ""})
    on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
    assert asked(calls) == [("CREATE", "b")], calls


@behaviour("objectSelector: an update is asked about when the old or the new object matches")
def old_or_new(on):
    calls = on.hook(objectSelector={"matchExpressions": [{"key": LABEL, "operator": "DoesNotExist"}]})
    on.secret("a", labels={LABEL: "s-0"})
    for labels in ({"x": "1"},    # neither
                   {LABEL: None},  # the new one
                   {"x": "2"},    # both
                   {LABEL: "s"},  # the old one
                   {"x": "3"}):   # neither
        on.settle(on.at("secrets", "a"))
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": labels}}).ok()
    assert [call.request["object"]["metadata"]["labels"] for call in calls] == [
        {"x": "1"}, {"x": "2"}, {"x": "2", LABEL: "s"}], calls


@behaviour("objectSelector with matchLabels, In, NotIn and Exists selects as in lists")
def object_selectors(on):
    selectors = {"labels": {"matchLabels": {"x": "1"}},
                 "in": {"matchExpressions": [{"key": "x", "operator": "In", "values": ["1", "2"]}]},
                 "notin": {"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["1"]}]},
                 "exists": {"matchExpressions": [{"key": "x", "operator": "Exists"}]},
                 "all": {"matchLabels": {"x": "2"}, "matchExpressions": [{"key": "y", "operator": "Exists"}]}}
    made = {name: on.webhook(path=name, objectSelector=selector) for name, selector in selectors.items()}
    on.register(*(webhook for webhook, _ in made.values()))
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {}), ("d", {"x": "2", "y": ""})):
        on.secret(name, labels=labels)
    seen = {name: "".join(sorted(call.request["name"] for call in calls)) for name, (_, calls) in made.items()}
    assert seen == {"labels": "a", "in": "abd", "notin": "bcd", "exists": "abd", "all": "d"}, seen


@behaviour("namespaceSelector: asked about objects of namespaces whose labels match, as they change")
def namespace_selector(on):
    calls = on.hook(namespaceSelector={"matchLabels": {"of": on.id}})
    on.secret("a")
    assert not calls
    on.api.merge(f"/api/v1/namespaces/{on.namespace}", {"metadata": {"labels": {"of": on.id}}}).ok()
    eventually(lambda: on.api.post(on.at("secrets"), {"metadata": {"name": "b"}}, dryRun="All").ok(201) and calls,
               "the label is seen")
    on.api.merge(f"/api/v1/namespaces/{on.namespace}", {"metadata": {"labels": {"of": None}}}).ok()

    def no_longer():
        before = len(calls)
        on.api.post(on.at("secrets"), {"metadata": {"name": "c"}}, dryRun="All").ok(201)
        return len(calls) == before

    eventually(no_longer, "the label's end is seen")


@behaviour("namespaceSelector NotIn kubernetes.io/metadata.name leaves those namespaces out")
def namespaces_left_out(on):
    calls = on.hook(namespaceSelector={"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [on.namespace, "kube-system"]}]},
        objectSelector={"matchLabels": {"of": on.id}})
    second = f"{on.id}-b"
    on.api.post("/api/v1/namespaces", {"metadata": {"name": second}}).ok(201)
    for namespace in (on.namespace, second, "kube-system"):
        on.api.post(path("secrets", namespace), {"metadata": {"name": on.id, "labels": {"of": on.id}}}).ok(201)
    assert [call.request["namespace"] for call in calls] == [second], calls


@behaviour("for namespaces themselves the namespaceSelector looks at their own labels")
def namespaces_themselves(on):
    calls = on.hook(assign, rules=[rule("namespaces")], namespaceSelector={"matchLabels": {"of": on.id}})
    for name, labels in ((f"{on.id}-b", {"of": on.id}), (f"{on.id}-c", {"of": "other"})):
        on.api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}).ok(201)
    on.settle(f"/api/v1/namespaces/{on.id}-c")
    on.api.merge(f"/api/v1/namespaces/{on.id}-c", {"metadata": {"labels": {"of": on.id}}}).ok()
    assert asked(calls) == [("CREATE", f"{on.id}-b"), ("UPDATE", f"{on.id}-c")], calls
    stored = on.api.get(f"/api/v1/namespaces/{on.id}-b").ok()
    assert stored["metadata"]["labels"][LABEL] == "s-1"
    assert calls[0].request.get("namespace", "") in ("", f"{on.id}-b"), calls[0].request


@behaviour("the namespaceSelector does not keep cluster-scoped objects out")
def cluster_scoped(on):
    calls = on.hook(rules=[rule("controllerrings", groups=["sharding.timebertt.dev"])],
                    namespaceSelector={"matchLabels": {"no": "such"}}, objectSelector={"matchLabels": {"of": on.id}})
    body = ring_body(on.id)
    body["metadata"]["labels"] = {"of": on.id}
    on.api.post(RINGS, body).ok(201)
    assert asked(calls) == [("CREATE", on.id)] and not calls[0].request.get("namespace"), calls


@behaviour("scope: Cluster and Namespaced rules match only such objects")
def scopes(on):
    mine = {"objectSelector": {"matchLabels": {"of": on.id}}, "namespaceSelector": None}
    made = {scope: on.webhook(path=scope.lower(), rules=[rule("*", groups=["*"], scope=scope)], **mine)
            for scope in ("Cluster", "Namespaced")}
    on.register(*(webhook for webhook, _ in made.values()))
    body = ring_body(on.id)
    body["metadata"]["labels"] = {"of": on.id}
    on.api.post(RINGS, body).ok(201)
    on.secret("a", labels={"of": on.id})
    assert asked(made["Cluster"][1]) == [("CREATE", on.id)] and asked(made["Namespaced"][1]) == [("CREATE", "a")]


@behaviour("operations: a rule for CREATE says nothing of updates and deletions")
def operations(on):
    calls = on.hook(rules=[rule("secrets", operations=["CREATE"])])
    on.secret("a")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
    on.api.delete(on.at("secrets", "a")).ok()
    assert asked(calls) == [("CREATE", "a")], calls


@behaviour("subresources are asked about only where the rule names them")
def subresources(on):
    group = ["sharding.timebertt.dev"]
    mine = {"objectSelector": {"matchLabels": {"of": on.id}}}
    plain, of_object = on.webhook(path="plain", rules=[rule("controllerrings", groups=group)], **mine)
    status, of_status = on.webhook(path="status", rules=[rule("controllerrings/status", groups=group)], **mine)
    on.register(plain, status)
    body = ring_body(on.id)
    body["metadata"]["labels"] = {"of": on.id}
    on.api.post(RINGS, body).ok(201)
    on.api.merge(on.ring_at(subresource="status"), {"status": {"shards": 1, "availableShards": 1}}).ok()
    assert asked(of_object) == [("CREATE", on.id)] and asked(of_status) == [("UPDATE", on.id)]
    assert of_status[0].request["subResource"] == "status"


@behaviour("rules match by group and resource; a second rule that matches makes no second call")
def rules(on):
    calls = on.hook(rules=[rule("secrets", groups=["apps"]), rule("pods"), rule("secrets", "configmaps"), rule("*")],
                    objectSelector={"matchLabels": {"of": on.id}})
    on.secret("a", labels={"of": on.id})
    on.api.post(on.at("leases"), {"metadata": {"name": "b", "labels": {"of": on.id}}}).ok(201)
    assert asked(calls) == [("CREATE", "a")], calls


@behaviour("a configuration without rules asks about nothing")
def no_rules(on):
    calls = on.hook(rules=[])
    on.secret("a")
    assert not calls


@behaviour("a webhook configuration is no matter for webhooks")
def not_itself(on):
    calls = on.hook(rules=[rule("*", groups=["admissionregistration.k8s.io"])], namespaceSelector=None)
    on.api.post(path("mutatingwebhookconfigurations"), {"metadata": {"name": f"{on.id}-b"}}).ok(201)
    assert not calls


@behaviour("a configuration that is deleted asks no more")
def unregistered(on):
    calls = on.hook()
    on.api.delete(path("mutatingwebhookconfigurations", None, on.id)).ok()

    def silent():
        before = len(calls)
        on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}, dryRun="All").ok(201)
        return len(calls) == before

    eventually(silent, "it is not called any more")


@behaviour("webhooks are asked by the configurations' names, each with what the one before made of the object")
def one_after_another(on):
    second, later = on.webhook(lambda call: labelled(call, "second", "yes"), path="second")
    first, earlier = on.webhook(lambda call: labelled(call, "first", "yes"), path="first")
    on.register(second, name=f"{on.id}-b")
    on.register(first, name=f"{on.id}-a")
    made = on.secret("a")
    assert made["metadata"]["labels"] == {"first": "yes", "second": "yes"}
    assert "labels" not in earlier[0].request["object"]["metadata"]
    assert later[0].request["object"]["metadata"]["labels"] == {"first": "yes"}
    assert earlier[0].request["uid"] != later[0].request["uid"]


@behaviour("denied: the message is the webhook's, and code and reason its own; without a code it is a 400")
def denied(on):
    on.hook(lambda call: {"allowed": False, "status": {"message": "not today", **(
        {"code": 418, "reason": "Teapot"} if call.request["name"] == "b" else {})}})
    text = 'admission webhook "hook.conformance.test" denied the request: not today'
    body = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}).ok(400)
    assert (body["kind"], body["status"], body["code"], body["message"]) == ("Status", "Failure", 400, text), body
    status = on.api.post(on.at("secrets"), {"metadata": {"name": "b"}}).refused(418, "Teapot", text)
    assert status["status"] == "Failure"
    assert on.api.get(on.at("secrets")).ok()["items"] == []


@behaviour("a denial holds whatever the failurePolicy")
def denied_ignore(on):
    on.hook(lambda call: {"allowed": False}, failurePolicy="Ignore")
    body = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}).ok(400)
    assert body["message"] == 'admission webhook "hook.conformance.test" denied the request without explanation', body


def both_policies(on, answer=None, **fields):
    """Two webhooks that fail alike: Secrets `ignore` pass by one, `fail` are refused by the other. Their calls."""
    calls = []
    webhooks = []
    for policy in ("Ignore", "Fail"):
        webhook, seen = on.webhook(answer, path=policy.lower(), failurePolicy=policy,
                                   objectSelector={"matchLabels": {"policy": policy}}, **fields)
        webhooks.append(webhook)
        calls.append(seen)
    on.register(*webhooks)
    return calls


def ignored_or_failed(on, *texts, code=500, reason="InternalError"):
    made = on.secret("a", labels={"policy": "Ignore"})
    assert made["metadata"]["labels"] == {"policy": "Ignore"}, made
    on.api.post(on.at("secrets"), {"metadata": {"name": "b", "labels": {"policy": "Fail"}}}).refused(
        code, reason, *texts)
    on.api.get(on.at("secrets", "b")).refused(404, "NotFound")


CALLING = 'failed calling webhook "fail.conformance.test"'


@behaviour("a webhook that answers 500: Ignore lets the request pass, Fail refuses it with 500 InternalError")
def server_error(on):
    ignored, failed = both_policies(on, lambda call: (500, {}, b"broken"))
    ignored_or_failed(on, CALLING)
    assert len(ignored) == 1 and len(failed) == 1


@behaviour("a webhook that nobody serves: Ignore passes, Fail is a 500")
def refused(on):
    both_policies(on, clientConfig={"url": "https://127.0.0.1:1/x"})
    ignored_or_failed(on, CALLING)


@behaviour("a webhook whose certificate the caBundle does not vouch for is not asked: Ignore passes, Fail is a 500")
def distrusted(on):
    calls = both_policies(on, clientConfig={"url": on.hooks.url(f"/{on.id}/distrusted")})
    ignored_or_failed(on, CALLING)
    assert calls == [[], []]


@behaviour("a webhook's timeoutSeconds is passed on and ends the waiting: Ignore passes, Fail is a 500")
def timeout(on):
    stop = threading.Event()

    def hang(call):
        stop.wait(20)
        return {}

    try:
        ignored, _ = both_policies(on, hang, timeoutSeconds=1)
        began = time.monotonic()
        ignored_or_failed(on, CALLING)
        assert 1.9 <= time.monotonic() - began < 15 and ignored[0].path.endswith("?timeout=1s"), ignored[0].path
    finally:
        stop.set()


@behaviour("an answer that is no AdmissionReview v1 is a failure: text, another kind or version, no response")
def no_review(on):
    bodies = {"text": lambda call: (200, {}, b"ok"),
              "kind": lambda call: (200, {}, framed(call, {}, kind="Review")),
              "version": lambda call: (200, {}, framed(call, {}, apiVersion="admission.k8s.io/v1beta1")),
              "empty": lambda call: (200, {}, json.dumps({"apiVersion": "admission.k8s.io/v1",
                                                          "kind": "AdmissionReview"}).encode())}
    both_policies(on, lambda call: bodies[call.request["object"]["metadata"]["labels"]["answer"]](call))
    for name in bodies:
        made = on.secret(f"{name}-ignore", labels={"policy": "Ignore", "answer": name})
        assert made["metadata"]["labels"]["answer"] == name
        on.api.post(on.at("secrets"), {"metadata": {"name": f"{name}-fail", "labels": {
            "policy": "Fail", "answer": name}}}).refused(500, "InternalError", CALLING)


@behaviour("an answer with another uid is a failure")
def wrong_uid(on):
    both_policies(on, lambda call: {"uid": "another"})
    ignored_or_failed(on, CALLING, "uid")


@behaviour("a patch without patchType, or of an unknown one, is a failure")
def patch_type(on):
    patch = base64.b64encode(b'[{"op": "add", "path": "/data", "value": {}}]').decode()
    types = iter((None, None, "MergePatch", "MergePatch"))

    def answer(call):
        kind = next(types)
        return {"patch": patch, **({"patchType": kind} if kind else {})}

    both_policies(on, answer)
    ignored_or_failed(on, CALLING)
    on.api.delete(on.at("secrets", "a")).ok()
    ignored_or_failed(on, CALLING)


@behaviour("a patch that cannot be applied fails the request, whatever the failurePolicy")
def bad_patch(on):
    on.hook(lambda call: patched({"op": "remove", "path": "/metadata/labels/none"}), failurePolicy="Ignore")
    answer = on.api.post(on.at("secrets"), {"metadata": {"name": "a"}})
    assert answer.status in (422, 500) and answer.body["kind"] == "Status", answer.body
    on.api.get(on.at("secrets", "a")).refused(404, "NotFound")


@behaviour("an empty patch is none")
def empty_patch(on):
    on.hook(lambda call: patched())
    assert "labels" not in on.secret("a")["metadata"]


@behaviour("what a webhook makes of an object is validated: an invalid label is a 422 for the client")
def invalid_patch(on):
    on.hook(lambda call: labelled(call, "x", "not valid!"), failurePolicy="Ignore")
    on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}).refused(422, "Invalid", "metadata.labels")


@behaviour("a JSON patch's own request is asked about once, with the object as it will be")
def json_patch_request(on):
    calls = on.hook(assign, rules=[rule("secrets", operations=["UPDATE"])])
    on.secret("a", labels={LABEL: "s-0"})
    on.settle(on.at("secrets", "a"))
    body = on.api.send("PATCH", on.at("secrets", "a"), [{"op": "remove", "path": "/metadata/labels"}], JSON_PATCH,
                       headers={"Accept": METADATA}).ok()
    assert body["metadata"]["labels"] == {LABEL: "s-1"} and len(calls) == 1, body
    assert not calls[0].request["object"]["metadata"].get("labels")


@behaviour("an update with a wrong resourceVersion is a 409, whatever the webhook says")
def conflict(on):
    on.hook(assign)
    made = on.secret("a")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
    on.api.merge(on.at("secrets", "a"), {"metadata": {
        "resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": "2"}}}).refused(409, "Conflict")


@behaviour("custom resources are asked about with their group, and patched")
def custom(on):
    calls = on.hook(assign, rules=[rule("controllerrings", groups=["sharding.timebertt.dev"])],
                    objectSelector={"matchLabels": {"of": on.id}})
    body = ring_body(on.id)
    body["metadata"]["labels"] = {"of": on.id}
    made = on.api.post(RINGS, body).ok(201)
    assert made["metadata"]["labels"] == {"of": on.id, LABEL: "s-1"} and made["metadata"]["generation"] == 1
    assert calls[0].request["kind"] == {"group": "sharding.timebertt.dev", "version": "v1alpha1",
                                        "kind": "ControllerRing"}, calls[0].request
    assert calls[0].request["object"]["apiVersion"] == "sharding.timebertt.dev/v1alpha1"


@behaviour("a webhook that is busy (429, Retry-After) is asked again within its timeout")
def retried(on):
    answers = iter(((503, {"Retry-After": "1"}, b"busy"),))
    calls = on.hook(lambda call: next(answers, None) or assign(call))
    made = on.secret("a")
    assert made["metadata"]["labels"] == {LABEL: "s-1"} and len(calls) == 2, calls
    assert calls[0].request["uid"] == calls[1].request["uid"]


@behaviour("objects that are being deleted are asked about like others")
def being_deleted(on):
    calls = on.hook(assign)
    made = on.api.post(on.at("secrets"), {"metadata": {"name": "a", "finalizers": ["example.com/f"]}}).ok(201)
    on.api.delete(on.at("secrets", "a")).ok()
    on.settle(on.at("secrets", "a"))
    before = len(calls)
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {LABEL: None}}}).ok()
    assert changed["metadata"]["labels"] == {LABEL: "s-1"} and len(calls) == before + 1
    assert calls[-1].request["object"]["metadata"]["deletionTimestamp"] and version(changed) > version(made)
    on.api.merge(on.at("secrets", "a"), {"metadata": {"finalizers": None}}).ok()


@behaviour("many creations at the same time are each asked about once")
def many(on):
    import concurrent.futures  # pylint: disable=import-outside-toplevel
    calls = on.hook(assign)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: on.secret(f"s{number:02}"), range(40)))
    assert all(item["metadata"]["labels"] == {LABEL: "s-1"} for item in made)
    assert sorted(asked(calls)) == [("CREATE", f"s{number:02}") for number in range(40)]
    assert len({call.request["uid"] for call in calls}) == 40
