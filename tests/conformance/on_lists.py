"""Lists: their shape, selectors, pages, and which state they show."""

from api import path
from behaviour import behaviour, names, version


def filled(on):
    """Secrets with labels for selectors, and their paths."""
    on.secret("both", labels={"a": "1", "b": "2"})
    on.secret("empty", labels={"a": ""})
    on.secret("none")
    on.secret("one", labels={"a": "1"})
    on.secret("two", labels={"a": "2", "c": "3"})


def selected(on, selector):
    return names(on.api.get(on.at("secrets"), labelSelector=selector).ok())


@behaviour("a list has the kind with List, a resourceVersion, and items by name, without kind and apiVersion")
def shape(on):
    for name in ("c", "a", "b"):
        on.secret(name)
    body = on.api.get(on.at("secrets")).ok()
    assert (body["kind"], body["apiVersion"]) == ("SecretList", "v1") and names(body) == ["a", "b", "c"], body
    assert all("kind" not in item and "apiVersion" not in item for item in body["items"])
    assert int(body["metadata"]["resourceVersion"]) >= max(version(item) for item in body["items"])


@behaviour("a list of custom resources has items with kind and apiVersion")
def shape_rings(on):
    on.ring()
    body = on.api.get("/apis/sharding.timebertt.dev/v1alpha1/controllerrings").ok()
    assert (body["kind"], body["apiVersion"]) == ("ControllerRingList", "sharding.timebertt.dev/v1alpha1")
    assert on.id in names(body) and all(item["kind"] == "ControllerRing" for item in body["items"])


@behaviour("an empty list has items [] and a resourceVersion")
def empty(on):
    body = on.api.get(on.at("secrets")).ok()
    assert body["items"] == [] and int(body["metadata"]["resourceVersion"]) > 0


@behaviour("a list of a namespace that does not exist is empty")
def no_namespace(on):
    assert on.api.get(path("secrets", f"{on.id}-none")).ok()["items"] == []


@behaviour("a list over all namespaces goes by namespace/name, byte by byte")
def all_namespaces(on):
    second = f"{on.id}-b"
    on.api.post("/api/v1/namespaces", {"metadata": {"name": second}}).ok(201)
    for namespace in (second, on.namespace):
        for name in ("b", "a"):
            on.api.post(path("secrets", namespace), {"metadata": {"name": name, "labels": {"of": on.id}}}).ok(201)
    body = on.api.get(path("secrets"), labelSelector=f"of={on.id}").ok()
    found = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in body["items"]]
    assert found == [(second, "a"), (second, "b"), (on.id, "a"), (on.id, "b")], found  # "-" comes before "/"


@behaviour("selector key=value, key==value: the label has the value")
def equals(on):
    filled(on)
    assert selected(on, "a=1") == selected(on, "a==1") == ["both", "one"]


@behaviour("selector key!=value: another value or no label")
def not_equals(on):
    filled(on)
    assert selected(on, "a!=1") == ["empty", "none", "two"]


@behaviour("selector key in (...): one of the values")
def one_of(on):
    filled(on)
    assert selected(on, "a in (1,2)") == ["both", "one", "two"]
    assert selected(on, "a in (2, 9)") == ["two"]


@behaviour("selector key notin (...): none of the values, or no label: the orphans of a ring")
def not_one_of(on):
    filled(on)
    assert selected(on, "a notin (1,2)") == ["empty", "none"]
    assert selected(on, "a notin (1)") == ["empty", "none", "two"]


@behaviour("selector key and !key: the label is there, or not")
def existence(on):
    filled(on)
    assert selected(on, "a") == ["both", "empty", "one", "two"] and selected(on, "!a") == ["none"]


@behaviour("selector requirements with commas must all hold")
def conjunction(on):
    filled(on)
    assert selected(on, "a=1,b") == ["both"] and selected(on, "a,!b,a notin (2)") == ["empty", "one"]


@behaviour("selector key= means an empty value, and an empty selector everything")
def empty_value(on):
    filled(on)
    assert selected(on, "a=") == ["empty"] and selected(on, "a in ()") == ["empty"]
    assert len(selected(on, "")) == 5


@behaviour("selectors take keys with a prefix, and a thousand values")
def long_selector(on):
    on.secret("a", labels={"shard.example.com/ring": "s-1"})
    on.secret("b", labels={"shard.example.com/ring": "other"})
    values = ",".join(f"s-{number}" for number in range(1000))
    assert selected(on, f"shard.example.com/ring notin ({values})") == ["b"]
    assert selected(on, f"shard.example.com/ring in ({values})") == ["a"]


@behaviour("a selector that makes no sense is a 400")
def bad_selector(on):
    for selector in ("a in", "a in (1", "=x", "a=b=c", "a,,b", "-a", "a notin 1", "a=not valid"):
        on.api.get(on.at("secrets"), labelSelector=selector).refused(400, "BadRequest")


@behaviour("fieldSelector metadata.name and metadata.namespace select")
def fields(on):
    filled(on)
    assert names(on.api.get(on.at("secrets"), fieldSelector="metadata.name=one").ok()) == ["one"]
    body = on.api.get(path("secrets"), fieldSelector=f"metadata.namespace={on.id},metadata.name!=one").ok()
    assert names(body) == ["both", "empty", "none", "two"]


@behaviour("a fieldSelector for another field is a 400")
def bad_fields(on):
    on.api.get(on.at("secrets"), fieldSelector="spec.none=1").refused(400, "BadRequest", "field label not supported")


def pages(on, size, between=lambda: None, **query):
    """All pages' bodies."""
    found = [on.api.get(on.at("secrets"), limit=size, **query).ok()]
    while found[-1]["metadata"].get("continue"):
        between()
        found.append(on.api.get(on.at("secrets"), limit=size, **query,
                                **{"continue": found[-1]["metadata"]["continue"]}).ok())
    return found


@behaviour("pages: limit, a continue token, remainingItemCount, and one resourceVersion for all")
def paged(on):
    for number in range(5):
        on.secret(f"s{number}")
    found = pages(on, 2)
    assert [names(page) for page in found] == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    assert [page["metadata"].get("remainingItemCount") for page in found] == [3, 1, None]
    assert len({page["metadata"]["resourceVersion"] for page in found}) == 1


@behaviour("a page that is just full has no continue token")
def full_page(on):
    for number in range(2):
        on.secret(f"s{number}")
    body = on.api.get(on.at("secrets"), limit=2).ok()
    assert "continue" not in body["metadata"] and len(body["items"]) == 2


@behaviour("pages show the state at the first one, whatever is written meanwhile")
def consistent(on):
    for number in range(4):
        on.secret(f"s{number}")

    def write():
        on.api.delete(on.at("secrets", "s2")).ok()
        on.secret("s3a")
        on.api.merge(on.at("secrets", "s3"), {"metadata": {"labels": {"x": "1"}}}).ok()

    found = pages(on, 2, write)
    assert [names(page) for page in found] == [["s0", "s1"], ["s2", "s3"]]
    assert all("labels" not in item["metadata"] for page in found for item in page["items"])
    assert names(on.api.get(on.at("secrets")).ok()) == ["s0", "s1", "s3", "s3a"]


@behaviour("pages with a label selector hold matching items only, without remainingItemCount")
def paged_selector(on):
    for number in range(6):
        on.secret(f"s{number}", labels={"even": str(number % 2 == 0).lower()})
    found = pages(on, 2, labelSelector="even=true")
    assert [name for page in found for name in names(page)] == ["s0", "s2", "s4"]
    assert all("remainingItemCount" not in page["metadata"] for page in found)


@behaviour("the next page may have another limit")
def other_limit(on):
    for number in range(5):
        on.secret(f"s{number}")
    first = on.api.get(on.at("secrets"), limit=1).ok()
    rest = on.api.get(on.at("secrets"), limit=10, **{"continue": first["metadata"]["continue"]}).ok()
    assert names(rest) == ["s1", "s2", "s3", "s4"] and "continue" not in rest["metadata"]


@behaviour("a continue token of nobody's is a 400, and so is one beside a resourceVersion")
def bad_continue(on):
    for number in range(2):
        on.secret(f"s{number}")
    on.api.get(on.at("secrets"), **{"continue": "nonsense"}).refused(400, "BadRequest")
    token = on.api.get(on.at("secrets"), limit=1).ok()["metadata"]["continue"]
    answer = on.api.get(on.at("secrets"), limit=1, resourceVersion="1", **{"continue": token})
    assert answer.status in (400, 422) and answer.body["kind"] == "Status", answer.body


@behaviour("a list with no resourceVersion shows what was written just before")
def read_your_writes(on):
    for number in range(20):
        on.secret(f"s{number:02}")
        assert len(on.api.get(on.at("secrets")).ok()["items"]) == number + 1


@behaviour("a list with resourceVersion=0 or NotOlderThan shows a state no older than that")
def not_older(on):
    made = on.secret("a")
    assert on.api.get(on.at("secrets"), resourceVersion="0").ok()["kind"] == "SecretList"
    body = on.api.get(on.at("secrets"), resourceVersion=made["metadata"]["resourceVersion"],
                      resourceVersionMatch="NotOlderThan").ok()
    assert names(body) == ["a"] and int(body["metadata"]["resourceVersion"]) >= version(made)


@behaviour("a list with resourceVersionMatch=Exact shows the state at that version")
def exact(on):
    first = on.secret("a")
    on.secret("b")
    on.api.delete(on.at("secrets", "a")).ok()
    body = on.api.get(on.at("secrets"), resourceVersion=first["metadata"]["resourceVersion"],
                      resourceVersionMatch="Exact", limit=10).ok()
    assert names(body) == ["a"] and body["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@behaviour("a resourceVersionMatch without a resourceVersion, or an unknown one, is a 422 Invalid")
def bad_match(on):
    on.api.get(on.at("secrets"), resourceVersionMatch="Exact").refused(422, "Invalid", "resourceVersionMatch")
    on.api.get(on.at("secrets"), resourceVersion="1", resourceVersionMatch="Near").refused(
        422, "Invalid", "resourceVersionMatch")


@behaviour("a limit or resourceVersion that is no number is refused")
def no_number(on):
    assert on.api.get(on.at("secrets"), limit="x").status == 400
    on.api.get(on.at("secrets"), resourceVersion="x").refused(400, "BadRequest")


@behaviour("a list at a version that is yet to come is a 504 Timeout that says so, after some seconds")
def future(on):
    coming = int(on.list_version()) + 1_000_000
    status = on.api.get(on.at("secrets"), resourceVersion=coming).refused(
        504, "Timeout", "Too large resource version")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge", status
    assert status["details"]["retryAfterSeconds"] == 1, status
