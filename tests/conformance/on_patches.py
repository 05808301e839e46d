"""JSON patches, merge patches, and what is refused."""

from api import APPLY, MERGE, STRATEGIC
from behaviour import behaviour, version


def labels_of(item):
    return item["metadata"].get("labels")


@behaviour("a merge patch sets, replaces and, with null, removes")
def merge(on):
    on.secret("a", labels={"x": "1", "y": "2"}, data={"k": "dg=="})
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": None, "y": "3", "z": "4"}}}).ok()
    assert labels_of(changed) == {"y": "3", "z": "4"} and changed["data"] == {"k": "dg=="}, changed
    assert on.api.get(on.at("secrets", "a")).ok() == changed


@behaviour("a merge patch replaces lists whole")
def merge_list(on):
    on.ring(resources=[{"group": "", "resource": "secrets"}, {"group": "", "resource": "configmaps"}])
    changed = on.api.merge(on.ring_at(), {"spec": {"resources": [{"group": "apps", "resource": "deployments"}]}}).ok()
    assert changed["spec"]["resources"] == [{"group": "apps", "resource": "deployments"}], changed


@behaviour("a merge patch makes labels where there were none, and takes the last one away")
def merge_labels(on):
    on.secret("a")
    assert labels_of(on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()) == {"x": "1"}
    assert not labels_of(on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": None}}}).ok())


@behaviour("a merge patch with the current resourceVersion is taken, with an old one it is a 409 Conflict")
def merge_version(on):
    made = on.secret("a")
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": "1"}}}
    changed = on.api.merge(on.at("secrets", "a"), patch).ok()
    patch["metadata"]["labels"] = {"x": "2"}
    on.api.merge(on.at("secrets", "a"), patch).refused(409, "Conflict", "the object has been modified")
    assert on.api.get(on.at("secrets", "a")).ok() == changed


@behaviour("a custom resource's merge patch with an old resourceVersion is a 409 Conflict too")
def merge_version_ring(on):
    made = on.ring()
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": "1"}}}
    on.api.merge(on.ring_at(), patch).ok()
    patch["metadata"]["labels"] = {"x": "2"}
    on.api.merge(on.ring_at(), patch).refused(409, "Conflict", "the object has been modified")


@behaviour("a merge patch that changes nothing leaves the resourceVersion")
def merge_nothing(on):
    made = on.secret("a", labels={"x": "1"})
    for patch in ({}, {"metadata": {"labels": {"x": "1", "none": None}}}):
        assert on.api.merge(on.at("secrets", "a"), patch).ok() == made


@behaviour("a merge patch that is no JSON, or no object, is a 400")
def merge_bad(on):
    on.secret("a")
    for body in (b"{", b"[]", b"5"):
        on.api.send("PATCH", on.at("secrets", "a"), body, MERGE).refused(400, "BadRequest")


@behaviour("a patch of the name is refused with 400")
def rename(on):
    on.secret("a")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"name": "b"}}).refused(400, "BadRequest", "does not match")


@behaviour("a patch of the uid is a 422, and of the creationTimestamp it does nothing")
def patch_identity(on):
    made = on.secret("a")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"uid": "x"}}).refused(422, "Invalid", "metadata.uid")
    changed = on.api.merge(on.at("secrets", "a"), {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}).ok()
    assert changed["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]


@behaviour("a JSON patch adds, replaces, moves, copies, tests and removes, in order")
def json_patch(on):
    on.secret("a", labels={"x": "1", "y": "2", "w": "0"})
    changed = on.api.json_patch(
        on.at("secrets", "a"), {"op": "test", "path": "/metadata/labels/x", "value": "1"},
        {"op": "replace", "path": "/metadata/labels/x", "value": "9"},
        {"op": "copy", "from": "/metadata/labels/x", "path": "/metadata/labels/z"},
        {"op": "move", "from": "/metadata/labels/y", "path": "/metadata/labels/v"},
        {"op": "remove", "path": "/metadata/labels/w"}, {"op": "add", "path": "/data", "value": {"k": "dg=="}}).ok()
    assert labels_of(changed) == {"x": "9", "z": "9", "v": "2"} and changed["data"] == {"k": "dg=="}, changed


@behaviour("a JSON patch reads ~1 and ~0 in paths as / and ~")
def json_patch_escapes(on):
    on.secret("a", labels={"example.com/x": "1"})
    changed = on.api.json_patch(on.at("secrets", "a"),
                                {"op": "add", "path": "/metadata/labels/shard.example.com~1ring", "value": "s"},
                                {"op": "remove", "path": "/metadata/labels/example.com~1x"},
                                {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
                                {"op": "add", "path": "/metadata/annotations/t~0t", "value": "c"},
                                {"op": "remove", "path": "/metadata/annotations/t~0t"}).ok()
    assert labels_of(changed) == {"shard.example.com/ring": "s"}, changed


@behaviour("a JSON patch appends to a list with - and inserts at an index")
def json_patch_list(on):
    on.ring(resources=[{"group": "", "resource": "secrets"}])
    changed = on.api.json_patch(
        on.ring_at(), {"op": "add", "path": "/spec/resources/-", "value": {"group": "", "resource": "configmaps"}},
        {"op": "add", "path": "/spec/resources/0", "value": {"group": "apps", "resource": "deployments"}}).ok()
    assert [one["resource"] for one in changed["spec"]["resources"]] == ["deployments", "secrets", "configmaps"]


@behaviour("a JSON patch whose test fails, or whose path is not there, is a 422 Invalid and changes nothing")
def json_patch_fails(on):
    made = on.secret("a", labels={"x": "1"})
    for operation in ({"op": "test", "path": "/metadata/labels/x", "value": "2"},
                      {"op": "remove", "path": "/metadata/labels/none"},
                      {"op": "add", "path": "/metadata/annotations/none", "value": "1"},
                      {"op": "test", "path": "/metadata/none", "value": "2"}):
        on.api.json_patch(on.at("secrets", "a"), {"op": "add", "path": "/metadata/labels/y", "value": "1"},
                          operation).refused(422, "Invalid")
    assert on.api.get(on.at("secrets", "a")).ok() == made


@behaviour("a JSON patch that tests the resourceVersion is taken with the current one only")
def json_patch_version(on):
    made = on.secret("a")
    operations = [{"op": "test", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
                  {"op": "add", "path": "/metadata/labels", "value": {"x": "1"}}]
    on.api.json_patch(on.at("secrets", "a"), *operations).ok()
    on.api.json_patch(on.at("secrets", "a"), *operations).refused(422, "Invalid")


@behaviour("a JSON patch that puts an old resourceVersion in is a 409 Conflict")
def json_patch_old_version(on):
    made = on.secret("a")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}).ok()
    on.api.json_patch(on.at("secrets", "a"), {"op": "replace", "path": "/metadata/resourceVersion",
                                              "value": made["metadata"]["resourceVersion"]},
                      {"op": "add", "path": "/metadata/labels/y", "value": "1"}).refused(409, "Conflict")


@behaviour("a JSON patch that is no list of operations is a 400")
def json_patch_bad(on):
    on.secret("a")
    for body in (b"{", b'{"op": "add"}', b'["text"]'):
        on.api.send("PATCH", on.at("secrets", "a"), body, "application/json-patch+json").refused(400, "BadRequest")


@behaviour("a JSON patch that changes nothing leaves the resourceVersion")
def json_patch_nothing(on):
    made = on.secret("a", labels={"x": "1"})
    assert on.api.json_patch(on.at("secrets", "a"),
                             {"op": "replace", "path": "/metadata/labels/x", "value": "1"}).ok() == made
    assert on.api.json_patch(on.at("secrets", "a")).ok() == made


@behaviour("a patch whose outcome is invalid is a 422 and changes nothing")
def invalid_outcome(on):
    made = on.secret("a")
    on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "not valid!"}}}).refused(
        422, "Invalid", "metadata.labels")
    on.api.json_patch(on.at("secrets", "a"), {"op": "add", "path": "/metadata/labels",
                                              "value": {"x": "y" * 64}}).refused(422, "Invalid", "metadata.labels")
    assert on.api.get(on.at("secrets", "a")).ok() == made


@behaviour("a patch of an unknown content type is a 415, and so is plain JSON")
def content_types(on):
    on.secret("a")
    for content_type in ("application/json", "text/plain", "application/x-merge"):
        on.api.send("PATCH", on.at("secrets", "a"), {}, content_type).refused(415, "UnsupportedMediaType")


@behaviour("a custom resource takes no strategic merge patch: 415")
def strategic_ring(on):
    on.ring()
    on.api.send("PATCH", on.ring_at(), {}, STRATEGIC).refused(415, "UnsupportedMediaType")


@behaviour("a strategic merge patch sets labels, removes them with null, and checks the resourceVersion")
def strategic(on):
    made = on.secret("a", labels={"x": "1", "y": "2"})
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": None, "z": "3"}}}
    changed = on.api.send("PATCH", on.at("secrets", "a"), patch, STRATEGIC).ok()
    assert labels_of(changed) == {"y": "2", "z": "3"}, changed
    patch["metadata"]["labels"] = {"z": "4"}
    on.api.send("PATCH", on.at("secrets", "a"), patch, STRATEGIC).refused(409, "Conflict")


@behaviour("patches without a resourceVersion are never a conflict: the server tries again by itself")
def concurrent(on):
    import concurrent.futures  # pylint: disable=import-outside-toplevel
    on.secret("a")

    def patch(number):
        return on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {f"n{number}": "1"}}}).status

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(patch, range(4))) == {200}
    assert set(labels_of(on.api.get(on.at("secrets", "a")).ok())) == {f"n{number}" for number in range(4)}


@behaviour("of two patches with the same resourceVersion at the same time one is taken, the other a 409")
def race(on):
    import concurrent.futures  # pylint: disable=import-outside-toplevel
    for round_ in range(3):
        made = on.secret(f"a{round_}")

        def patch(value, made=made):
            return on.api.merge(on.at("secrets", made["metadata"]["name"]), {"metadata": {
                "resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": value}}}).status

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(patch, ("1", "2"))) == [200, 409]


@behaviour("a force parameter beside another patch than apply is a 422")
def force(on):
    on.secret("a")
    on.api.merge(on.at("secrets", "a"), {}, force="true").refused(422, "Invalid", "force")
    on.api.send("PATCH", on.at("secrets", "a"), {}, APPLY).refused(422, "Invalid", "fieldManager")


@behaviour("a field manager of more than 128 characters is a 422")
def long_manager(on):
    on.secret("a")
    on.api.merge(on.at("secrets", "a"), {}, fieldManager="m" * 129).refused(422, "Invalid", "fieldManager")
    made = on.api.merge(on.at("secrets", "a"), {"metadata": {"labels": {"x": "1"}}}, fieldManager="m" * 128).ok()
    assert version(made)
