"""Metadata only: PartialObjectMetadata in gets, lists and watches."""

from api import METADATA, METADATA_LIST, RINGS
from behaviour import behaviour, names, version

ONE = {"Accept": METADATA}
LIST = {"Accept": METADATA_LIST}


@behaviour("a GET as PartialObjectMetadata has kind, apiVersion and metadata, and no content")
def get(on):
    made = on.secret("a", labels={"x": "1"}, stringData={"k": "v"})
    body = on.api.send("GET", on.at("secrets", "a"), headers=ONE).ok()
    assert set(body) == {"kind", "apiVersion", "metadata"}, body
    assert (body["kind"], body["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert body["metadata"] == made["metadata"]


@behaviour("a list as PartialObjectMetadataList has items of kind PartialObjectMetadata, and pages as any other")
def lists(on):
    for number in range(3):
        on.secret(f"s{number}", stringData={"k": "v"})
    body = on.api.send("GET", on.at("secrets"), headers=LIST, limit=2).ok()
    assert (body["kind"], body["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert all((item["kind"], item["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1") and "data" not in item
               for item in body["items"]), body
    rest = on.api.send("GET", on.at("secrets"), headers=LIST, limit=2,
                       **{"continue": body["metadata"]["continue"]}).ok()
    assert names(body) + names(rest) == ["s0", "s1", "s2"]
    assert rest["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]


@behaviour("a watch as PartialObjectMetadata has such events and bookmarks")
def watch(on):
    with on.api.watch(on.at("secrets"), headers=ONE, resourceVersion=on.list_version(), timeoutSeconds=4,
                      allowWatchBookmarks=True) as watching:
        on.secret("a", stringData={"k": "v"})
        item = watching.until("ADDED")
        assert item["kind"] == "PartialObjectMetadata" and "data" not in item and item["metadata"]["name"] == "a"
        item = watching.until("BOOKMARK")
        assert item["kind"] == "PartialObjectMetadata" and version(item) > 0, item


@behaviour("initial events come as PartialObjectMetadata too, with their bookmark")
def initial(on):
    on.secret("a", labels={"shard": "gone"}, stringData={"k": "v"})
    with on.api.watch(on.at("secrets"), headers=ONE, sendInitialEvents=True, resourceVersionMatch="NotOlderThan",
                      allowWatchBookmarks=True, labelSelector="shard notin (one)") as watching:
        kind, item = watching.event()
        assert (kind, item["kind"], "data" in item) == ("ADDED", "PartialObjectMetadata", False)
        kind, item = watching.event()
        assert kind == "BOOKMARK" and item["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}, item


@behaviour("custom resources are served as PartialObjectMetadata")
def rings(on):
    made = on.ring(resources=[{"group": "", "resource": "secrets"}])
    body = on.api.send("GET", on.ring_at(), headers=ONE).ok()
    assert body["kind"] == "PartialObjectMetadata" and "spec" not in body and body["metadata"] == made["metadata"]
    body = on.api.send("GET", RINGS, headers=LIST, fieldSelector=f"metadata.name={on.id}").ok()
    assert body["kind"] == "PartialObjectMetadataList" and "spec" not in body["items"][0], body


@behaviour("a patch may be answered with PartialObjectMetadata")
def patch(on):
    on.secret("a", stringData={"k": "v"})
    body = on.api.send("PATCH", on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}},
                       "application/merge-patch+json", headers=ONE).ok()
    assert body["kind"] == "PartialObjectMetadata" and body["metadata"]["labels"] == {"x": "1"} and "data" not in body


@behaviour("of several Accept types the first that fits is served; none that fits is a 406")
def negotiation(on):
    on.secret("a", stringData={"k": "v"})
    body = on.api.send("GET", on.at("secrets", "a"), headers={"Accept": f"{METADATA},application/json"}).ok()
    assert body["kind"] == "PartialObjectMetadata"
    body = on.api.send("GET", on.at("secrets", "a"), headers={"Accept": f"application/json,{METADATA}"}).ok()
    assert body["kind"] == "Secret"
    unknown = "application/json;as=Nothing;g=meta.k8s.io;v=v1"
    on.api.send("GET", on.at("secrets", "a"), headers={"Accept": unknown}).refused(406, "NotAcceptable")
    body = on.api.send("GET", on.at("secrets", "a"), headers={"Accept": f"{unknown},application/json"}).ok()
    assert body["kind"] == "Secret"
