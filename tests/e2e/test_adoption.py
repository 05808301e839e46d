#!/usr/bin/python3
"""The sharder takes over what the Go sharder v0.13 left in a cluster: no conflict, and no object moves.

tests/testdata/fixtures has its webhook configuration, status, Leases and objects with their managedFields; here they
are written again by the same managers with the same operations, with the addresses of this test.
"""

import base64
import copy
import time

import yaml

import oracle
from cluster import ROOT, SYSTEM_NAMESPACE
from environment import Environment
from kubeclient import MERGE_PATCH
from processes import wait_until
from shards import RING_LABEL, STATE_LABEL, Shards, lease, state
from suite import Suite

FIXTURES = ROOT / "tests" / "testdata" / "fixtures"
RING = "bench"

suite = Suite("adoption", lambda short: Environment(short=short, start=False), parallel=False)


def fixture(name):
    return yaml.safe_load((FIXTURES / f"{name}.yaml").read_text(encoding="utf-8"))


def managers(item):
    """Who owns which fields, without times and the uids of owners."""
    return sorted((entry["manager"], entry["operation"], entry.get("subresource", ""), without_uids(entry["fieldsV1"]))
                  for entry in item["metadata"]["managedFields"])


def without_uids(fields):
    return repr([(key if not key.startswith('k:{"uid"') else "k:uid", without_uids(value))
                 for key, value in sorted(fields.items())])


@suite.case("a cluster of the Go sharder is taken over without a conflict, and no object moves")
def take_over(env):
    ring = write_ring(env)
    url = f"https://127.0.0.1:{env.sharders.balancer_port}"
    written = write_webhook_configuration(env, ring, url)
    assert managers(written) == managers(fixture("webhook-configuration")), "written as the fixture was"
    shards = Shards(env.admin, RING, "default", duration=15)
    with shards:
        write_leases(env, shards)
        write_objects(env)
        leases_before = {item["metadata"]["name"]: managers(item) for item in env.admin.list("leases", "default")}
        objects_before = objects(env)
        status_before = env.admin.get("controllerrings", None, RING)
        assert managers(status_before) == managers(fixture("controllerring"))

        env.sharders.start()
        env.sharders.wait_leader()
        wait_until(lambda: env.admin.get("controllerrings", None, RING)["status"]["availableShards"] ==
                   len(shards.names()), 20, "status")
        time.sleep(5)  # whatever it would change it has changed

        configuration = env.admin.get("mutatingwebhookconfigurations", None, f"controllerring-{RING}")
        assert managers(configuration) == managers(written), configuration["metadata"]["managedFields"]
        assert configuration["webhooks"] == written["webhooks"], "nothing to change"
        assert configuration["metadata"]["generation"] == written["metadata"]["generation"]
        assert managers(env.admin.get("controllerrings", None, RING)) == managers(status_before)
        leases = {item["metadata"]["name"]: managers(item) for item in env.admin.list("leases", "default")}
        assert leases == leases_before
        assert objects(env) == objects_before, "no object moved or changed"
        for moved in (item for item in env.admin.list("secrets", "default")):
            assert oracle.shard_of(moved, RING) == oracle.Ring(shards.names()).owner(
                f"/Secret/default/{moved['metadata']['name']}"), moved["metadata"]
        conflicts = [request for request in env.plane.sharder_requests() if request[2] == 409 and
                     request[1] != "leases"]  # two candidates may race for the election's Lease
        assert not conflicts, conflicts
        assert not [event for event in env.admin.list("events") if "conflict" in event["message"].lower()]


@suite.case("with another address than the Go sharder's the webhook configuration is changed, without a conflict")
def other_address(env):
    before = env.admin.get("mutatingwebhookconfigurations", None, f"controllerring-{RING}")
    ring = env.admin.get("controllerrings", None, RING)
    changed = body_of_configuration(ring, "https://127.0.0.1:9443", before["webhooks"][0]["clientConfig"]["caBundle"])
    env.admin.apply("mutatingwebhookconfigurations", None, changed, "controllerring-controller", force=True)

    def repaired():
        now = env.admin.get("mutatingwebhookconfigurations", None, f"controllerring-{RING}")
        return now if now["webhooks"] == before["webhooks"] else None

    assert managers(wait_until(repaired, 20, "the sharder mends the address")) == managers(before)


@suite.case("a field that somebody else has taken is taken back, with an Event that names him")
def foreign_manager(env):
    name = f"controllerring-{RING}"
    before = env.admin.get("mutatingwebhookconfigurations", None, name)
    stolen = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
              "metadata": {"name": name}, "webhooks": [{
                  "name": "sharder.sharding.timebertt.dev", "failurePolicy": "Fail"}]}
    env.admin.apply("mutatingwebhookconfigurations", None, stolen, "intruder", force=True)
    wait_until(lambda: env.admin.get("mutatingwebhookconfigurations", None, name)["webhooks"] == before["webhooks"], 20,
               "failurePolicy is Ignore again")
    wait_until(lambda: [event for event in env.admin.list("events") if "intruder" in event["message"]], 10,
               "an Event names the manager")


def write_ring(env):
    """By kubectl's client-side apply, and the status by a PUT of the controller."""
    env.plane.grant_sharding("bench", {"": ["secrets", "configmaps"]})
    wanted = fixture("controllerring")
    applied = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": {"name": RING},
               "spec": wanted["spec"]}
    env.plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(applied))
    ring = env.admin.get("controllerrings", None, RING)
    ring["status"] = wanted["status"]
    return env.admin.update("controllerrings", None, RING, ring, "status", fieldManager="controllerring-controller")


def body_of_configuration(ring, url, ca_bundle):
    """What the Go sharder applies: the fixture without what the API server adds."""
    body = fixture("webhook-configuration")
    metadata = {key: body["metadata"][key] for key in ("name", "labels", "ownerReferences")}
    metadata["ownerReferences"][0]["uid"] = ring["metadata"]["uid"]
    webhook = {key: value for key, value in body["webhooks"][0].items() if key not in ("matchPolicy",
                                                                                       "reinvocationPolicy")}
    webhook["clientConfig"] = {"url": f"{url}/webhooks/sharder/controllerring/{RING}", "caBundle": ca_bundle}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "webhooks": [webhook]}


def write_webhook_configuration(env, ring, url):
    bundle = base64.b64encode(env.sharders.authority.certificate.read_bytes()).decode()
    return env.admin.apply("mutatingwebhookconfigurations", None, body_of_configuration(ring, url, bundle),
                           "controllerring-controller")


def write_leases(env, shards):
    """Living shards hold theirs; the Go sharder's own, of its leader election, is as it was when the program died."""
    for item in fixture("leases")["items"]:
        name = item["metadata"]["name"]
        if name == "sharder":
            body = {key: item[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": name}}
            env.admin.create("leases", SYSTEM_NAMESPACE, body, fieldManager="sharder")
        if RING_LABEL not in item["metadata"].get("labels", {}):
            continue
        if item["spec"].get("holderIdentity") == name:
            shards.start(name)
        else:
            body = lease(RING, name, item["spec"].get("holderIdentity", ""), item["spec"]["leaseDurationSeconds"])
            env.admin.create("leases", "default", body, fieldManager="sim")
        env.admin.patch("leases", "default", name, {"metadata": {"labels": {STATE_LABEL: state(item)}}}, MERGE_PATCH,
                        fieldManager="sharder")


def write_objects(env):
    """Secrets and the ConfigMaps that they own, with the shards that the Go sharder gave them."""
    uids = {}
    for item in sorted(fixture("objects")["items"], key=lambda item: item["kind"], reverse=True):  # Secrets first
        body = copy.deepcopy(item)
        body["metadata"] = {key: value for key, value in item["metadata"].items()
                            if key in ("name", "labels", "ownerReferences")}
        for owner in body["metadata"].get("ownerReferences", []):
            owner["uid"] = uids[owner["name"]]
        resource = {"Secret": "secrets", "ConfigMap": "configmaps"}[item["kind"]]
        made = env.admin.create(resource, "default", body, fieldManager="kubectl-create")
        uids[made["metadata"]["name"]] = made["metadata"]["uid"]


def objects(env):
    """{name: (resourceVersion, shard)} of everything in the namespace."""
    return {(resource, item["metadata"]["name"]): (item["metadata"]["resourceVersion"], oracle.shard_of(item, RING))
            for resource in ("secrets", "configmaps") for item in env.admin.list(resource, "default")}


if __name__ == "__main__":
    suite.main()
