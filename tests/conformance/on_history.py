"""What is left when the server has forgotten its history: 410 as an answer and as an event, and how to go on.

Behaviours here yield where the history is forgotten: on the real server etcd is compacted and kube-apiserver, whose
watch cache would remember, is started again; on the embedded one by its fault `expire`.
"""

from api import RINGS
from behaviour import behaviour, eventually, names, version

EXPIRED = "Expired"


def error_event(watch):
    """The Status of an ERROR event, which is the stream's last."""
    kind, status = watch.event()
    assert kind == "ERROR" and status["kind"] == "Status", (kind, status)
    assert (status["code"], status["status"]) == (410, "Failure"), status
    assert watch.event() == (None, None)
    return status


@behaviour("a watch from a forgotten version gets a 410 as an ERROR event, and ends")
def watch_event(on):
    start = on.list_version()
    on.secret("a")
    yield
    with on.api.watch(on.at("secrets"), resourceVersion=start) as watch:
        assert error_event(watch)["reason"] == EXPIRED


@behaviour("a watch of custom resources from a forgotten version gets a 410 as an ERROR event")
def watch_event_rings(on):
    start = on.ring()["metadata"]["resourceVersion"]
    on.api.merge(on.ring_at(), {"metadata": {"labels": {"x": "1"}}}).ok()
    yield
    with on.api.watch(RINGS, resourceVersion=start, allowWatchBookmarks=True) as watch:
        assert error_event(watch)["reason"] == EXPIRED


@behaviour("a continue token of a forgotten version is a 410 with a token to go on with, at another version")
def continue_token(on):
    for number in range(5):
        on.secret(f"s{number}")
    first = on.api.get(on.at("secrets"), limit=2).ok()
    token = first["metadata"]["continue"]
    yield
    on.secret("s9")
    status = on.api.get(on.at("secrets"), limit=2, **{"continue": token}).refused(
        410, EXPIRED, "The provided continue parameter is too old")
    fresh = status["metadata"]["continue"]
    assert fresh and fresh != token, status
    second = on.api.get(on.at("secrets"), limit=2, **{"continue": fresh}).ok()
    assert names(second) == ["s2", "s3"], second
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    third = on.api.get(on.at("secrets"), limit=2, **{"continue": second["metadata"]["continue"]}).ok()
    assert names(third) == ["s4", "s9"]
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


@behaviour("a list at a forgotten version is a 410 Expired")
def exact_list(on):
    made = on.secret("a")
    on.secret("b")
    yield
    on.api.get(on.at("secrets"), resourceVersion=made["metadata"]["resourceVersion"], limit=10,
               resourceVersionMatch="Exact").refused(410, EXPIRED)


@behaviour("objects, their versions and uids stay when history goes")
def objects_stay(on):
    made = on.secret("a", labels={"x": "1"})
    ring = on.ring()
    yield
    assert on.api.get(on.at("secrets", "a")).ok() == made
    assert on.api.get(on.ring_at()).ok() == ring
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {
        "resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": "2"}}}).ok()
    assert version(changed) > version(made)


@behaviour("a watch from a list that was made afterwards works, and so do initial events")
def after(on):
    on.secret("a")
    yield
    start = on.list_version()
    with on.api.watch(on.at("secrets"), resourceVersion=start) as watch:
        on.secret("b")
        assert watch.events(1) == [("ADDED", "b")]
    with on.api.watch(on.at("secrets"), sendInitialEvents=True, resourceVersionMatch="NotOlderThan",
                      allowWatchBookmarks=True) as watch:
        assert watch.events(2) == [("ADDED", "a"), ("ADDED", "b")]


@behaviour("a list no older than a forgotten version is taken: it is newer")
def not_older(on):
    made = on.secret("a")
    yield
    body = on.api.get(on.at("secrets"), resourceVersion=made["metadata"]["resourceVersion"],
                      resourceVersionMatch="NotOlderThan").ok()
    assert names(body) == ["a"]


@behaviour("webhooks that were registered go on being called")
def webhooks(on):
    calls = on.hook()
    yield
    before = len(calls)

    def called():
        on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}, dryRun="All").ok(201)
        return len(calls) > before

    eventually(called, "the webhook is called")
