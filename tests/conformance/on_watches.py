"""Watches: what they show, in which order, and how they end."""

import time

from api import RINGS, Refused, path
from behaviour import behaviour, eventually, version


def refusal(on, **query):
    """The answer to a watch that is not opened."""
    try:
        with on.api.watch(on.at("secrets"), **query):
            raise AssertionError(f"a watch with {query} is opened")
    except Refused as refused:
        return refused.answer


@behaviour("a watch from a list's version shows ADDED, MODIFIED, DELETED in order, with growing versions")
def order(on):
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version()) as watch:
        made = on.secret("a")
        changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
        on.api.delete(on.at("secrets", "a")).ok()
        events = [watch.event() for _ in range(3)]
    assert [kind for kind, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[0][1] == made and events[1][1] == changed
    assert events[2][1]["metadata"]["labels"] == {"x": "1"} and version(events[2][1]) > version(changed), events[2]


@behaviour("a watch from an object's version shows what came after it, and not it")
def exclusive(on):
    on.secret("a")
    second = on.secret("b")
    on.secret("c")
    with on.api.watch(on.at("secrets"), resourceVersion=second["metadata"]["resourceVersion"]) as watch:
        assert watch.events(1) == [("ADDED", "c")]


@behaviour("a watch shows history: also what is gone since")
def history(on):
    start = on.list_version()
    on.secret("a")
    on.api.delete(on.at("secrets", "a")).ok()
    with on.api.watch(on.at("secrets"), resourceVersion=start) as watch:
        assert watch.events(2) == [("ADDED", "a"), ("DELETED", "a")]


@behaviour("a watch without a version, or from 0, begins with what is there as ADDED")
def from_now(on):
    on.secret("a")
    on.secret("b")
    for start in (None, "0"):
        eventually(lambda: len(on.api.get(on.at("secrets"), resourceVersion="0").ok()["items"]) >= 2, "the cache")
        with on.api.watch(on.at("secrets"), resourceVersion=start) as watch:
            assert sorted(watch.events(2)) == [("ADDED", "a"), ("ADDED", "b")]
            on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": str(start)}}}).ok()
            assert watch.events(1) == [("MODIFIED", "a")]


@behaviour("an object that begins to match the selector is ADDED, one that goes on matching MODIFIED")
def enters(on):
    on.secret("a")
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version(), labelSelector="x=1") as watch:
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"y": "1"}}}).ok()
        assert watch.events(2) == [("ADDED", "a"), ("MODIFIED", "a")]


@behaviour("an object that leaves the selector is DELETED, as it was, with the version of the change")
def leaves(on):
    on.secret("a", labels={"x": "1"})
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version(), labelSelector="x=1") as watch:
        changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "2"}}}).ok()
        kind, item = watch.event()
        assert (kind, item["metadata"]["labels"], version(item)) == ("DELETED", {"x": "1"}, version(changed)), item
        on.api.delete(on.at("secrets", "a")).ok()  # nobody's business here any more
        on.secret("b", labels={"x": "1"})
        assert watch.events(1) == [("ADDED", "b")]


@behaviour("a move between shards is DELETED in one shard's watch and ADDED in the other's, at one version")
def moves(on):
    label = "shard.alpha.sharding.timebertt.dev/ring"
    on.secret("a", labels={label: "one"})
    start = on.list_version()
    with on.api.watch(on.at("secrets"), resourceVersion=start, labelSelector=f"{label}=one") as old, \
            on.api.watch(on.at("secrets"), resourceVersion=start, labelSelector=f"{label}=two") as new:
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {label: "two"}}}).ok()
        (gone, before), (came, after) = old.event(), new.event()
    assert (gone, came) == ("DELETED", "ADDED") and version(before) == version(after)


@behaviour("a watch with notin shows what loses its shard, and what is made without one")
def orphans(on):
    on.secret("a", labels={"shard": "one"})
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version(),
                      labelSelector="shard notin (one,two)") as watch:
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"shard": None}}}).ok()
        on.secret("b")
        on.secret("c", labels={"shard": "two"})
        on.secret("d", labels={"shard": ""})
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"shard": "two"}}}).ok()
        assert watch.events(4) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "d"), ("DELETED", "a")]


@behaviour("a write that changes nothing makes no event")
def no_event(on):
    made = on.secret("a", labels={"x": "1"})
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version()) as watch:
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
        on.api.put(on.at("secrets", "a"), made).ok()
        on.api.json_patch(on.at("secrets", "a"), {"op": "replace", "path": "/metadata/labels/x", "value": "1"}).ok()
        on.secret("b")
        assert watch.events(1) == [("ADDED", "b")]


@behaviour("a dry run makes no event")
def no_event_dry(on):
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version()) as watch:
        on.api.post(on.at("secrets"), {"metadata": {"name": "a"}}, dryRun="All").ok(201)
        on.secret("b")
        assert watch.events(1) == [("ADDED", "b")]


@behaviour("a watch of a namespace shows that namespace, one of all shows all, fieldSelector one object")
def scopes(on):
    second = f"{on.id}-b"
    on.api.post("/api/v1/namespaces", {"metadata": {"name": second}}).ok(201)
    start = on.list_version()
    mine = {"resourceVersion": start, "labelSelector": f"of={on.id}"}
    with on.api.watch(on.at("secrets"), **mine) as one, on.api.watch(path("secrets"), **mine) as both, \
            on.api.watch(on.at("secrets"), fieldSelector="metadata.name=c", **mine) as single:
        for namespace, name in ((second, "a"), (on.namespace, "b"), (on.namespace, "c")):
            on.api.post(path("secrets", namespace), {"metadata": {"name": name, "labels": {"of": on.id}}}).ok(201)
        assert one.events(2) == [("ADDED", "b"), ("ADDED", "c")]
        assert both.events(3) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
        assert single.events(1) == [("ADDED", "c")]


@behaviour("events have kind and apiVersion, and come as JSON, one a line, chunked")
def framing(on):
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version()) as watch:
        assert watch.headers["Content-Type"].startswith("application/json")
        assert watch.headers["Transfer-Encoding"] == "chunked"
        on.secret("a")
        kind, item = watch.event()
        assert (kind, item["kind"], item["apiVersion"]) == ("ADDED", "Secret", "v1")


@behaviour("a watch ends in order after timeoutSeconds, and the next one goes on where it ended")
def timeout(on):
    start = on.list_version()
    began = time.monotonic()
    with on.api.watch(on.at("secrets"), resourceVersion=start, timeoutSeconds=1) as watch:
        assert watch.event() == (None, None)
    assert 0.5 < time.monotonic() - began < 10
    on.secret("a")
    with on.api.watch(on.at("secrets"), resourceVersion=start) as watch:
        assert watch.events(1) == [("ADDED", "a")]


@behaviour("before the timeout comes a BOOKMARK that has kind and version, and nothing else")
def bookmark(on):
    start = on.list_version()
    other = version(on.ring())
    with on.api.watch(on.at("secrets"), resourceVersion=start, timeoutSeconds=4, allowWatchBookmarks=True) as watch:
        kind, item = watch.event()
        assert kind == "BOOKMARK" and (item["kind"], item["apiVersion"]) == ("Secret", "v1"), (kind, item)
        assert version(item) >= int(start) and not item["metadata"].get("name"), item
        assert not item.get("data") and "annotations" not in item["metadata"], item
        assert other > int(start)
        while kind is not None:
            kind, _ = watch.event()


@behaviour("a watch can go on from a bookmark's version")
def from_bookmark(on):
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version(), timeoutSeconds=4,
                      allowWatchBookmarks=True) as watch:
        on.secret("a")
        bookmarked = watch.until("BOOKMARK")["metadata"]["resourceVersion"]
    on.secret("b")
    with on.api.watch(on.at("secrets"), resourceVersion=bookmarked) as watch:
        assert watch.events(1) == [("ADDED", "b")]


@behaviour("without allowWatchBookmarks there is none")
def no_bookmark(on):
    with on.api.watch(on.at("secrets"), resourceVersion=on.list_version(), timeoutSeconds=4) as watch:
        assert watch.event() == (None, None)


def initial(on, target=None, **query):
    return on.api.watch(target or on.at("secrets"), allowWatchBookmarks=True, sendInitialEvents=True,
                        resourceVersionMatch="NotOlderThan", **query)


@behaviour("sendInitialEvents: what is there as ADDED, then a bookmark with k8s.io/initial-events-end, then changes")
def initial_events(on):
    on.secret("b")
    last = on.secret("a")
    with initial(on) as watch:
        first, second = watch.event(), watch.event()
        assert [(kind, item["metadata"]["name"]) for kind, item in (first, second)] == [("ADDED", "a"), ("ADDED", "b")]
        kind, item = watch.event()
        assert kind == "BOOKMARK" and item["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}, item
        assert version(item) >= version(last)
        on.api.delete(on.at("secrets", "b")).ok()
        assert watch.events(1) == [("DELETED", "b")]


@behaviour("sendInitialEvents with a selector shows what matches it, and with nothing there the bookmark alone")
def initial_events_selector(on):
    on.secret("a", labels={"x": "1"})
    on.secret("b", labels={"x": "2"})
    with initial(on, labelSelector="x notin (1)") as watch:
        assert watch.events(1) == [("ADDED", "b")]
        assert watch.event()[0] == "BOOKMARK"
        on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "3"}}}).ok()
        assert watch.events(1) == [("ADDED", "a")]
    with initial(on, labelSelector="x=9") as watch:
        kind, item = watch.event()
        assert kind == "BOOKMARK" and "k8s.io/initial-events-end" in item["metadata"]["annotations"]


@behaviour("sendInitialEvents works for custom resources")
def initial_events_rings(on):
    on.ring()
    with initial(on, RINGS, fieldSelector=f"metadata.name={on.id}") as watch:
        assert watch.events(1) == [("ADDED", on.id)]
        kind, item = watch.event()
        assert kind == "BOOKMARK" and item["kind"] == "ControllerRing", item


@behaviour("sendInitialEvents sees what was written just before")
def initial_events_fresh(on):
    for number in range(5):
        on.secret(f"a{number}")
        with initial(on) as watch:
            assert len(watch.events(number + 1)) == number + 1
            assert watch.event()[0] == "BOOKMARK"


@behaviour("sendInitialEvents without resourceVersionMatch=NotOlderThan, or in a list, is a 422 Invalid")
def initial_events_refused(on):
    refusal(on, sendInitialEvents=True).refused(422, "Invalid", "resourceVersionMatch")
    refusal(on, sendInitialEvents=True, resourceVersionMatch="Exact").refused(422, "Invalid", "resourceVersionMatch")
    on.api.get(on.at("secrets"), sendInitialEvents=True, resourceVersionMatch="NotOlderThan").refused(
        422, "Invalid", "sendInitialEvents")


@behaviour("a watch with resourceVersionMatch but without sendInitialEvents is a 422 Invalid")
def match_alone(on):
    refusal(on, resourceVersionMatch="NotOlderThan").refused(422, "Invalid", "resourceVersionMatch")


@behaviour("a watch with a version that is no number is not opened")
def no_number(on):
    answer = refusal(on, resourceVersion="x")
    assert answer.status in (400, 422, 500) and "resourceVersion" in answer.body["message"], answer.body  # real: 500


@behaviour("a watch of an unknown resource is a 404")
def unknown(on):
    try:
        with on.api.watch(on.at("nothings")):
            raise AssertionError("it is opened")
    except Refused as refused:
        refused.answer.refused(404, "NotFound")


@behaviour("a status update of a custom resource is MODIFIED")
def status(on):
    made = on.ring()
    with on.api.watch(RINGS, resourceVersion=made["metadata"]["resourceVersion"],
                      fieldSelector=f"metadata.name={on.id}") as watch:
        on.api.merge(on.ring_at(subresource="status"), {"status": {"shards": 1, "availableShards": 1}}).ok()
        kind, item = watch.event()
        assert kind == "MODIFIED" and item["status"] == {"shards": 1, "availableShards": 1}


@behaviour("many watches see the same events in the same order")
def many(on):
    start = on.list_version()
    watches = [on.api.watch(on.at("secrets"), resourceVersion=start) for _ in range(10)]
    try:
        for number in range(10):
            on.secret(f"s{number}")
        wanted = [("ADDED", f"s{number}") for number in range(10)]
        assert all(watch.events(10) == wanted for watch in watches)
    finally:
        for watch in watches:
            watch.__exit__()
