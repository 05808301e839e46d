"""Server-side apply, as far as webhook configurations need it: who owns which field, and what happens in a conflict."""

from api import APPLY, path
from behaviour import behaviour, rule, version

ME, OTHER = "controllerring-controller", "somebody-else"


def target(on):
    return path("mutatingwebhookconfigurations", None, on.id)


def configuration(on, labels=None, webhook="sharder.conformance.test", owners=None, **fields):
    """What a manager applies. A field None is left out."""
    metadata = {"name": on.id, **({"labels": labels} if labels else {}),
                **({"ownerReferences": owners} if owners else {})}
    entry = {"name": webhook, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
             "timeoutSeconds": 5, "clientConfig": {"url": "https://127.0.0.1:1/x"},
             "rules": [rule("nothings", groups=["no.such.group"])], **fields}
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": metadata, "webhooks": [{key: value for key, value in entry.items() if value is not None}]}


def partial(on, **fields):
    """Some fields of the webhook only."""
    return {**configuration(on), "webhooks": [{"name": "sharder.conformance.test", **fields}]}


def applied(on, body=None, manager=ME, status=200, **query):
    return on.api.apply(target(on), body or configuration(on), manager, **query).ok(status)


def owned(item, manager, operation="Apply"):
    """fieldsV1 of a manager, {} when it owns nothing."""
    return next((entry["fieldsV1"] for entry in item["metadata"].get("managedFields", [])
                 if entry["manager"] == manager and entry["operation"] == operation), {})


def webhook_fields(item, manager, operation="Apply"):
    return owned(item, manager, operation).get("f:webhooks", {}).get('k:{"name":"sharder.conformance.test"}', {})


@behaviour("apply creates what is not there (201), with a managedFields entry of operation Apply")
def creates(on):
    made = applied(on, configuration(on, {"x": "1"}), status=201)
    assert made["metadata"]["generation"] == 1 and len(made["metadata"]["managedFields"]) == 1
    entry = made["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"], entry["apiVersion"], entry["fieldsType"]) == (
        ME, "Apply", "admissionregistration.k8s.io/v1", "FieldsV1"), entry
    assert owned(made, ME)["f:metadata"] == {"f:labels": {"f:x": {}}}, entry
    assert webhook_fields(made, ME) == {
        ".": {}, "f:name": {}, "f:sideEffects": {}, "f:admissionReviewVersions": {}, "f:failurePolicy": {},
        "f:timeoutSeconds": {}, "f:clientConfig": {"f:url": {}}, "f:rules": {}}, entry


@behaviour("applying the same again leaves the resourceVersion, managedFields and their time")
def same(on):
    made = applied(on, status=201)
    assert applied(on) == made


@behaviour("applying another value changes it, with a new generation")
def changes(on):
    applied(on, status=201)
    changed = applied(on, configuration(on, timeoutSeconds=7))
    assert changed["webhooks"][0]["timeoutSeconds"] == 7 and changed["metadata"]["generation"] == 2


@behaviour("a field that is no longer applied goes back to its default")
def dropped(on):
    applied(on, configuration(on, {"x": "1", "y": "2"}, objectSelector={"matchLabels": {"a": "b"}}), status=201)
    changed = applied(on, configuration(on, {"y": "2"}, timeoutSeconds=None))
    webhook = changed["webhooks"][0]
    assert webhook["timeoutSeconds"] == 10 and webhook["objectSelector"] == {}, webhook
    assert changed["metadata"]["labels"] == {"y": "2"}, changed["metadata"]
    assert "f:timeoutSeconds" not in webhook_fields(changed, ME)


@behaviour("a webhook that is no longer applied goes, one of another manager's stays")
def dropped_webhook(on):
    applied(on, status=201)
    second = {**configuration(on, webhook="other.conformance.test")}
    applied(on, second, OTHER)
    changed = applied(on, {**configuration(on), "webhooks": []})
    assert [one["name"] for one in changed["webhooks"]] == ["other.conformance.test"], changed


@behaviour("another value of a field that another manager applied is a 409 Conflict that names him and the field")
def conflict(on):
    made = applied(on, status=201)
    status = on.api.apply(target(on), partial(on, timeoutSeconds=9), OTHER).refused(
        409, "Conflict", "Apply failed with 1 conflict", f'conflict with "{ME}"',
        '.webhooks[name="sharder.conformance.test"].timeoutSeconds')
    cause = status["details"]["causes"][0]
    assert cause["reason"] == "FieldManagerConflict" and f'conflict with "{ME}"' in cause["message"], status
    assert cause["field"] == '.webhooks[name="sharder.conformance.test"].timeoutSeconds', status
    assert on.api.get(target(on)).ok() == made


@behaviour("a conflict over several fields names each of them")
def conflicts(on):
    applied(on, configuration(on, {"x": "1"}), status=201)
    body = partial(on, timeoutSeconds=9, failurePolicy="Fail")
    body["metadata"]["labels"] = {"x": "2"}
    status = on.api.apply(target(on), body, OTHER).refused(409, "Conflict", "Apply failed with 3 conflicts")
    webhook = '.webhooks[name="sharder.conformance.test"]'
    assert {cause["field"] for cause in status["details"]["causes"]} == {
        f"{webhook}.timeoutSeconds", f"{webhook}.failurePolicy", ".metadata.labels.x"}, status


@behaviour("apply with force takes the field, and its value, from the other manager")
def force(on):
    applied(on, status=201)
    changed = applied(on, partial(on, timeoutSeconds=9), OTHER, force="true")
    assert changed["webhooks"][0]["timeoutSeconds"] == 9
    assert "f:timeoutSeconds" in webhook_fields(changed, OTHER)
    assert "f:timeoutSeconds" not in webhook_fields(changed, ME) and "f:rules" in webhook_fields(changed, ME)
    on.api.apply(target(on), configuration(on), ME).refused(409, "Conflict", f'conflict with "{OTHER}"')
    back = applied(on, force="true")
    assert back["webhooks"][0]["timeoutSeconds"] == 5 and "f:timeoutSeconds" in webhook_fields(back, ME)


@behaviour("the same value from two managers is owned by both, and stays until both have dropped it")
def shared(on):
    applied(on, status=201)
    changed = applied(on, partial(on, timeoutSeconds=5), OTHER)
    assert "f:timeoutSeconds" in webhook_fields(changed, OTHER) and "f:timeoutSeconds" in webhook_fields(changed, ME)
    changed = applied(on, configuration(on, timeoutSeconds=None))
    assert changed["webhooks"][0]["timeoutSeconds"] == 5, changed
    changed = applied(on, partial(on), OTHER)
    assert changed["webhooks"][0]["timeoutSeconds"] == 10, changed


@behaviour("a field that a merge patch changed belongs to its manager: applying the old value is a conflict with him")
def patched(on):
    made = applied(on, status=201)
    made["webhooks"][0]["timeoutSeconds"] = 8
    changed = on.api.merge(target(on), {"webhooks": made["webhooks"]}, fieldManager="editor").ok()
    assert "f:timeoutSeconds" in webhook_fields(changed, "editor", "Update"), changed["metadata"]
    assert "f:timeoutSeconds" not in webhook_fields(changed, ME)
    on.api.apply(target(on), configuration(on), ME).refused(
        409, "Conflict", 'conflict with "editor" using admissionregistration.k8s.io/v1')


@behaviour("a field that was applied and set back by the same value in a PUT stays with its manager")
def put_same(on):
    made = applied(on, status=201)
    on.api.put(target(on), made, fieldManager="editor").ok()
    assert applied(on) == made


@behaviour("a caBundle that somebody injects is his: applying without one leaves it")
def bundle(on):
    applied(on, status=201)
    changed = on.api.json_patch(target(on), {"op": "add", "path": "/webhooks/0/clientConfig/caBundle",
                                             "value": on.hooks.bundle}, fieldManager="injector").ok()
    assert webhook_fields(changed, "injector", "Update") == {"f:clientConfig": {"f:caBundle": {}}}, changed["metadata"]
    after = applied(on)
    assert after["webhooks"][0]["clientConfig"]["caBundle"] == on.hooks.bundle
    assert version(after) == version(changed)
    status = on.api.apply(target(on), configuration(on, clientConfig={
        "url": "https://127.0.0.1:1/x", "caBundle": "Cg=="}), ME).refused(409, "Conflict", 'conflict with "injector"')
    assert status["details"]["causes"][0]["field"].endswith(".clientConfig.caBundle"), status


@behaviour("lists without keys are replaced whole and have one owner: rules, admissionReviewVersions")
def atomic(on):
    applied(on, status=201)
    changed = applied(on, configuration(on, rules=[rule("others", groups=["no.such.group"])]))
    assert [one["resources"] for one in changed["webhooks"][0]["rules"]] == [["others"]]
    on.api.apply(target(on), partial(on, rules=[rule("x", groups=["no.such.group"])]), OTHER).refused(
        409, "Conflict", ".rules")


@behaviour("a selector is replaced whole")
def selector(on):
    applied(on, configuration(on, namespaceSelector={"matchLabels": {"a": "1"}}), status=201)
    expression = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    changed = applied(on, configuration(on, namespaceSelector=expression))
    assert changed["webhooks"][0]["namespaceSelector"] == expression
    assert webhook_fields(changed, ME)["f:namespaceSelector"] == {}


@behaviour("labels and owner references are owned one by one")
def one_by_one(on):
    def owner(uid):
        return {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": uid}

    real = on.api.get("/api/v1/namespaces/default").ok()["metadata"]["uid"]
    applied(on, configuration(on, {"x": "1"}, owners=[owner(real)]), status=201)
    body = {**partial(on)}
    body["webhooks"] = []
    body["metadata"] = {"name": on.id, "labels": {"y": "2"}}
    changed = applied(on, body, OTHER)
    assert changed["metadata"]["labels"] == {"x": "1", "y": "2"} and len(changed["webhooks"]) == 1
    assert owned(changed, ME)["f:metadata"] == {"f:labels": {"f:x": {}},
                                                "f:ownerReferences": {f'k:{{"uid":"{real}"}}': {}}}, changed["metadata"]
    assert owned(changed, OTHER) == {"f:metadata": {"f:labels": {"f:y": {}}}}, changed["metadata"]
    changed = applied(on, configuration(on))
    assert changed["metadata"]["labels"] == {"y": "2"} and "ownerReferences" not in changed["metadata"]


@behaviour("apply with a resourceVersion is taken with the current one, else a 409")
def with_version(on):
    made = applied(on, status=201)
    body = configuration(on, timeoutSeconds=6)
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    applied(on, body)
    body["webhooks"][0]["timeoutSeconds"] = 7
    on.api.apply(target(on), body, ME).refused(409, "Conflict", "the object has been modified")


@behaviour("apply without a field manager is a 422, with managedFields in the body a 400")
def refused(on):
    on.api.send("PATCH", target(on), configuration(on), APPLY).refused(422, "Invalid", "fieldManager")
    body = configuration(on)
    body["metadata"]["managedFields"] = [{"manager": "x", "operation": "Apply", "fieldsType": "FieldsV1",
                                          "apiVersion": "admissionregistration.k8s.io/v1", "fieldsV1": {}}]
    on.api.apply(target(on), body, ME).refused(400, "BadRequest", "managedFields")


@behaviour("apply of another kind or name than the path's is a 400")
def mismatch(on):
    on.api.apply(target(on), {**configuration(on), "kind": "Secret", "apiVersion": "v1"}, ME).refused(400, "BadRequest")
    body = configuration(on)
    body["metadata"]["name"] = "another"
    on.api.apply(target(on), body, ME).refused(400, "BadRequest", "does not match")


@behaviour("apply of an object that does not become valid is a 422 and changes nothing")
def invalid(on):
    made = applied(on, status=201)
    on.api.apply(target(on), configuration(on, timeoutSeconds=99), ME).refused(422, "Invalid", "timeoutSeconds")
    assert on.api.get(target(on)).ok() == made


@behaviour("a dry run of an apply answers with its outcome, conflicts included, and stores nothing")
def dry_run(on):
    applied(on, status=201, dryRun="All")
    on.api.get(target(on)).refused(404, "NotFound")
    made = applied(on, status=201)
    changed = applied(on, configuration(on, timeoutSeconds=7), dryRun="All")
    assert changed["webhooks"][0]["timeoutSeconds"] == 7
    on.api.apply(target(on), partial(on, timeoutSeconds=9), OTHER, dryRun="All").refused(409, "Conflict")
    assert on.api.get(target(on)).ok() == made


@behaviour("apply takes YAML")
def as_yaml(on):
    text = f"""
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: {on.id}
  labels: {{x: "1"}}
"""
    made = on.api.send("PATCH", target(on), text.encode(), APPLY, fieldManager=ME).ok(201)
    assert made["metadata"]["labels"] == {"x": "1"}


@behaviour("an applied object of the Go sharder's manager is taken over by the same manager without a change")
def taken_over(on):
    made = applied(on, configuration(on, {"x": "1"}), status=201)
    again = on.api.send("PATCH", target(on), configuration(on, {"x": "1"}), APPLY, fieldManager=ME, force="true",
                        headers={"User-Agent": "another-program/1"}).ok()
    assert again == made
