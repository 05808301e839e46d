#!/usr/bin/python3
"""All kinds of objects through the webhook (docs/protocol.md, sections 4, 5 and 9): owners made by Kubernetes' own
controllers, custom and cluster-scoped resources, generated names."""

import random
import string

import oracle
from environment import CONFIG_MAPS, Environment
from kubeclient import ApiError, RESOURCES
from processes import wait_until
from sharder import metric
from suite import Suite

suite = Suite("kinds", lambda short: Environment(controller_manager=True, short=short))

SHARDS = ["shard-a", "shard-b", "shard-c"]
DEPLOYMENTS = ("apps", "deployments", "v1", "Deployment")
REPLICA_SETS = ("apps", "replicasets", "v1", "ReplicaSet")
POD = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}],
                                                      "restartPolicy": "Never"}}


def assert_owners(items, ring, group=None, kind=None):
    wrong = oracle.wrong_owners(items, ring, oracle.Ring(SHARDS), group, kind)
    assert not wrong, f"{len(wrong)} of {len(items)}: {wrong[:5]}"


@suite.case("ReplicaSets of kube-controller-manager go to the shard of their Deployment")
def deployments(env):
    count = 30
    ring = env.ring("deployments", ((DEPLOYMENTS, (REPLICA_SETS,)),))
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        wait_until(lambda: dry_run_deployment(env, ring), 20, "the API server calls the webhook")
        for number in range(count):
            env.admin.create("deployments", ring.namespace, deployment(f"d-{number}", "one"))
        wait_until(lambda: len(env.admin.list("replicasets", ring.namespace)) == count, 60, "a ReplicaSet for each")
        for number in range(count):  # a second ReplicaSet of the same owner
            env.admin.patch("deployments", ring.namespace, f"d-{number}", {"spec": {"template": {"metadata": {
                "annotations": {"round": "two"}}}}})
        wait_until(lambda: len(env.admin.list("replicasets", ring.namespace)) == 2 * count, 60, "two for each")
        owners, sets = (env.admin.list(kind, ring.namespace) for kind in ("deployments", "replicasets"))
        assert_owners(owners, "deployments", "apps", "Deployment")
        assert_owners(sets, "deployments")
        shard = {item["metadata"]["name"]: oracle.shard_of(item, "deployments") for item in owners}
        for item in sets:
            assert oracle.shard_of(item, "deployments") == shard[item["metadata"]["ownerReferences"][0]["name"]]
        assert len(set(shard.values())) == len(SHARDS), "all shards have some"


def deployment(name, round_):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}, "annotations": {"round": round_}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}}


def dry_run_deployment(env, ring):
    return oracle.shard_of(env.admin.create("deployments", ring.namespace, deployment("dry-run", ""), dryRun="All"),
                           ring.name)


@suite.case("a custom resource is sharded, in each of its versions")
def custom_resource(env):
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    env.admin.create("customresourcedefinitions", None, {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "websites.webhosting.example.com"}, "spec": {
            "group": "webhosting.example.com", "scope": "Namespaced",
            "names": {"kind": "Website", "listKind": "WebsiteList", "plural": "websites", "singular": "website"},
            "versions": [{"name": version, "served": True, "storage": version == "v1", "schema": schema}
                         for version in ("v1", "v1alpha1")]}})
    RESOURCES["websites"] = ("/apis/webhosting.example.com/v1", True)
    env.plane.wait_established("websites.webhosting.example.com", "websites")
    ring = env.ring("websites", ((("webhosting.example.com", "websites", "v1", "Website"), (CONFIG_MAPS,)),))

    def website(name, version="v1"):
        return {"apiVersion": f"webhosting.example.com/{version}", "kind": "Website", "metadata": {"name": name}}

    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        wait_until(lambda: oracle.shard_of(env.admin.create("websites", ring.namespace, website("dry"), dryRun="All"),
                                           "websites"), 20, "the API server calls the webhook")
        for number in range(40):
            made = env.admin.create("websites", ring.namespace, website(f"w-{number}"))
            env.admin.create("configmaps", ring.namespace, {"metadata": {"name": f"w-{number}", "ownerReferences": [{
                "apiVersion": "webhosting.example.com/v1", "kind": "Website", "name": f"w-{number}",
                "uid": made["metadata"]["uid"], "controller": True}]}})
            env.admin.request("POST", f"/apis/webhosting.example.com/v1alpha1/namespaces/{ring.namespace}/websites",
                              website(f"old-{number}", "v1alpha1"))
        assert_owners(env.admin.list("websites", ring.namespace), "websites", "webhosting.example.com", "Website")
        maps = [item for item in env.admin.list("configmaps", ring.namespace) if item["metadata"]["name"] in
                {f"w-{number}" for number in range(40)}]
        assert len(maps) == 40
        assert_owners(maps, "websites")


@suite.case("ClusterRoles, which have no namespace, are sharded")
def cluster_roles(env):
    group = "rbac.authorization.k8s.io"
    # A role may be patched only by somebody who has all that it permits, or may escalate: the system's are sharded too.
    ring = env.ring("clusterroles", (((group, "clusterroles", "v1", "ClusterRole"), ()),),
                    verbs=("list", "watch", "patch", "escalate"))
    with ring.shards(*SHARDS):
        ring.wait_members(SHARDS)

        def role(name):
            return {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": []}

        wait_until(lambda: oracle.shard_of(env.admin.create("clusterroles", None, role("dry"), dryRun="All"),
                                           "clusterroles"), 20, "the API server calls the webhook")
        for number in range(40):
            env.admin.create("clusterroles", None, role(f"e2e-{number}"))
        roles = [env.admin.get("clusterroles", None, f"e2e-{number}") for number in range(40)]
        assert_owners(roles, "clusterroles", group, "ClusterRole")


def job(prefix):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": prefix},
            "spec": {"suspend": True, "template": POD}}


def cron_job(prefix):
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"generateName": prefix}, "spec": {
        "schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": POD}}}}


def service(prefix):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": prefix},
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}


GENERATED = {"jobs": ("batch", "Job", job), "cronjobs": ("batch", "CronJob", cron_job),
             "services": ("", "Service", service)}


@suite.case("generateName: what the API server takes without the webhook, it takes with it, and it gets a shard")
def generated_names(env):
    ring = env.ring("generated", tuple(((group, resource, "v1", kind), ())
                                       for resource, (group, kind, _) in GENERATED.items()))
    elsewhere = env.namespace("generated-not-selected")
    outcomes = []
    with ring.shards(*SHARDS):
        ring.wait_members(SHARDS)
        wait_until(lambda: oracle.shard_of(env.admin.create("services", ring.namespace, service("dry-"), dryRun="All"),
                                           "generated"), 20, "the API server calls the webhook")
        for resource, (group, kind, body) in GENERATED.items():
            for length in (1, 42, 43, 47, 48, 53, 58, 59, 63, 70, 247, 253):
                # Jobs put their name into a label, Services into DNS: letters only, and no dash at the end of a cut.
                prefix = "".join(random.choices(string.ascii_lowercase, k=length))
                without = outcome(env, resource, elsewhere, body(prefix))[0]
                for _ in range(3):
                    status, made = outcome(env, resource, ring.namespace, body(prefix))
                    assert status == without, f"{kind}, prefix of {length}: {without} without us, {status} with: {made}"
                    if status == 201:
                        assert made["metadata"]["name"].startswith(prefix[:58]), made["metadata"]
                        assert_owners([made], "generated", group, kind)
                outcomes.append(f"{kind} {length}: {'taken' if without == 201 else without}")
    env.figure("generateName prefixes, alike with and without", ", ".join(outcomes))


def outcome(env, resource, namespace, body):
    try:
        return 201, env.admin.create(resource, namespace, body)
    except ApiError as error:
        return error.status, error.message


@suite.case("500 Secrets of one generateName have 500 names")
def generated_names_differ(env):
    ring = env.ring("many-generated")
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        count = 100 if env.short else 500
        made = [env.admin.create("secrets", ring.namespace, {"metadata": {"generateName": "same-"}})
                for _ in range(count)]
        assert len({item["metadata"]["name"] for item in made}) == count
        assert_owners(made, "many-generated", "", "Secret")
        assert all(item["metadata"].get("generateName") == "same-" for item in made), "generateName stays"


@suite.case("objects from before the ring get their shards, updates leave them; what a shard lets go gets a new one")
def updates(env):
    namespace = env.namespace("updates")
    env.admin.create("secrets", namespace, {"metadata": {"name": "early"}})
    env.admin.create("secrets", namespace, {"metadata": {"name": "labelled", "labels": {"some": "label"}}})
    ring = env.ring("updates")
    # Shards come one after the other, so that objects may have to move once more: the shards let them go.
    with ring.shards(*SHARDS, working=True):
        ring.wait_ready(SHARDS)
        ring.wait_settled(SHARDS)
        for name in ("early", "labelled"):
            env.admin.patch("secrets", namespace, name, {"metadata": {"annotations": {"touched": "yes"}}})
        items = [env.admin.get("secrets", namespace, name) for name in ("early", "labelled")]
        assert_owners(items, "updates", "", "Secret")
        assert items[1]["metadata"]["labels"]["some"] == "label"

        right = oracle.Ring(SHARDS).owner("/Secret/updates/chosen")
        other = next(shard for shard in SHARDS if shard != right)
        body = {"metadata": {"name": "chosen", "labels": {ring.label: other}}}
        assert oracle.shard_of(env.admin.create("secrets", namespace, body), "updates") == other
        # Removing the label is how a shard lets go of an object: the webhook gives it its new shard.
        made = env.admin.patch("secrets", namespace, "chosen", {"metadata": {"labels": {ring.label: None}}})
        assert oracle.shard_of(made, "updates") == right


@suite.case("what nobody owns is not sharded, and without shards objects are created all the same")
def not_sharded(env):
    ring = env.ring("not-sharded")
    wait_until(ring.webhook_configuration, 20, "webhook configuration")
    made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": "too-early"}})
    assert oracle.shard_of(made, "not-sharded") is None
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        made = env.admin.create("configmaps", ring.namespace, {"metadata": {"name": "orphan"}})
        assert oracle.shard_of(made, "not-sharded") is None
        reference = {"apiVersion": "v1", "kind": "Secret", "name": "a", "uid": "1", "controller": False}
        made = env.admin.create("configmaps", ring.namespace, {"metadata": {"name": "dependent",
                                                                            "ownerReferences": [reference]}})
        assert oracle.shard_of(made, "not-sharded") is None


@suite.case("two rings over the same objects each give them a shard of their own")
def two_rings(env):
    first, second = env.ring("pair-one", namespace="pair"), env.ring("pair-two", namespace="pair")
    others = ["other-a", "other-b"]
    with first.shards(*SHARDS), second.shards(*others):
        first.wait_ready(SHARDS)
        second.wait_ready(others)
        made = [env.admin.create("secrets", "pair", {"metadata": {"name": f"s-{number}"}}) for number in range(30)]
        assert_owners(made, "pair-one", "", "Secret")
        wrong = oracle.wrong_owners(made, "pair-two", oracle.Ring(others), "", "Secret")
        assert not wrong, wrong


@suite.case("assignments are counted, dry runs are not")
def counted(env):
    ring = env.ring("counted")
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)  # by dry runs

        def assignments():
            token = env.plane.metrics_token()
            samples = [metric(replica.scrape(token), "controller_sharding_assignments_total",
                              controllerring="counted", group="", resource="secrets")
                       for replica in env.sharders.replicas]
            return sum(sample or 0 for sample in samples)

        assert assignments() == 0, assignments()
        for number in range(20):
            made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": f"s-{number}"}})
            assert_owners([made], "counted", "", "Secret")
        assert assignments() == 20, assignments()


@suite.case("when a ring goes, its webhook configuration goes with it, and its objects keep their labels")
def ring_deleted(env):
    ring = env.ring("deleted")
    with ring.shards(*SHARDS) as shards:
        ring.wait_ready(SHARDS)
        env.admin.create("secrets", ring.namespace, {"metadata": {"name": "kept"}})
        env.admin.delete("controllerrings", None, "deleted")
        wait_until(lambda: ring.webhook_configuration() is None, 120, "garbage collection of the webhook configuration")
        ring.wait_members([])  # the API server may call the webhook a little longer
        assert_owners([env.admin.get("secrets", ring.namespace, "kept")], "deleted", "", "Secret")
        made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": "later"}})
        assert oracle.shard_of(made, "deleted") is None
        assert not shards.lost, "Leases of a ring that does not exist are left alone"


@suite.case("a ring's change of its resources reaches the webhook configuration and the replicas")
def ring_changed(env):
    ring = env.ring("changed")
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        ring.resources = ((CONFIG_MAPS, ()),)
        env.admin.patch("controllerrings", None, "changed", {"spec": ring.manifest()["spec"]})
        ring.wait_members(SHARDS, timeout=20)  # of each replica, by ConfigMaps
        ring.wait_webhook()
        made = env.admin.create("configmaps", ring.namespace, {"metadata": {"name": "main"}})
        assert_owners([made], "changed", "", "ConfigMap")
        made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": "no-more"}})
        assert oracle.shard_of(made, "changed") is None
        # The leader writes the configuration and the status; the replicas that answered above do not wait for it.
        wait_until(lambda: [rule["resources"] for rule in ring.webhook_configuration()["webhooks"][0]["rules"]]
                   == [["configmaps"]], 10, "rules of the webhook configuration")
        wait_until(lambda: ring.status().get("observedGeneration") == 2, 10, "observed generation")
        assert ring.condition().get("observedGeneration") == 2, ring.status()


if __name__ == "__main__":
    suite.main()
