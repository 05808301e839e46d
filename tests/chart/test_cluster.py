#!/usr/bin/python3
"""The chart on a real control plane: installed, upgraded, removed, and in place of what kustomize or the Go project
installed. sharding-system enforces the *restricted* Pod Security level. The Deployment's pods are really made; only no
node runs them.
"""

import json
import time

import yaml

from programs import CHART, Helm  # first: it finds the modules of tests/e2e

import stand_ins
from cluster import ROOT, SYSTEM_NAMESPACE
from control_plane import ControlPlane
from kubeclient import ApiError
from processes import Failed, wait_until
from sharder import Sharders
from shards import Shards
from suite import Suite

CRD = "controllerrings.sharding.timebertt.dev"
RING = {"name": "shop", "resources": [{"group": "apps", "resource": "deployments", "controlledResources": [
    {"group": "apps", "resource": "replicasets"}]}]}
KINDS = ("deployments", "services", "serviceaccounts", "configmaps", "poddisruptionbudgets", "networkpolicies",
         "resourcequotas", "roles", "rolebindings", "certificates.cert-manager.io", "issuers.cert-manager.io",
         "servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com", "secrets", "pods")
CLUSTER_KINDS = ("clusterroles", "clusterrolebindings", "crd", "mutatingwebhookconfigurations")


class Cluster:
    """A control plane without anything of ours on it."""

    def __init__(self, short):
        self.short, self.figures, self.keep_logs = short, [], False
        self.plane = ControlPlane(controller_manager=True, more_controllers=(
            "clusterrole-aggregation-controller", "resourcequota-controller", "disruption-controller"))

    def __enter__(self):
        self.plane.__enter__()
        stand_ins.install_all(self.plane)
        self.admin, self.kubectl = self.plane.admin, self.plane.kubectl
        self._helm = Helm(self.plane.folder, self.plane.kubeconfig)
        return self

    def __exit__(self, kind, *_):
        if self.keep_logs or kind is not None:
            self.plane.save_logs()
        self.plane.stop()

    def helm(self, verb, *arguments, check=True, **values):
        """`helm VERB sharder` in sharding-system, with the chart and values where it takes them."""
        chart = (CHART,) if verb in ("install", "upgrade") else ()
        if verb == "install":  # as the whole kustomize tree, which several cases take over
            values.setdefault("certificates", {"mode": "certManager"})
        if values:
            path = self.plane.folder / "values.yaml"
            path.write_text(yaml.safe_dump(values), encoding="utf-8")
            arguments += ("--values", path)
        return self._helm.run(verb, "sharder", *chart, "--namespace", SYSTEM_NAMESPACE, *arguments, check=check)

    def namespace(self):
        """sharding-system, where restricted Pod Security is enforced."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE, "labels": {
                "pod-security.kubernetes.io/enforce": "restricted"}}}))

    def installed(self):
        """As the first case left it, also when that did not run."""
        self.namespace()
        if self.helm("status", check=False).returncode:
            self.helm("install", "--take-ownership")

    def deployment(self):
        return self.admin.get("deployments", SYSTEM_NAMESPACE, "sharder")

    def all_ours(self):
        """{(kind, name): object} of what an installation made, in the namespace and in the cluster."""
        found = {}
        for kinds, where in ((KINDS, ("-n", SYSTEM_NAMESPACE)), (CLUSTER_KINDS, ())):
            for item in json.loads(self.kubectl("get", ",".join(kinds), *where, "-o", "json").stdout)["items"]:
                name = item["metadata"]["name"]
                if (item["kind"], name) == ("ServiceAccount", "default") or name == "kube-root-ca.crt" or (
                        name.startswith("sh.helm.release.")):
                    continue
                if where or item["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "controller-sharding":
                    found[item["kind"], name] = item
        return found

    def wait_pods(self, count=2):
        """Until the Deployment has its pods: quota, priority and Pod Security accepted them."""
        def made():
            pods = [pod for pod in self.admin.list("pods", SYSTEM_NAMESPACE)
                    if "deletionTimestamp" not in pod["metadata"]]
            return pods if len(pods) == count else None

        try:
            return wait_until(made, 30, f"{count} pods")
        except Failed as error:
            events = [event["message"] for event in self.admin.list("events", SYSTEM_NAMESPACE)]
            raise Failed(f"{error}: {events[-3:]}") from None

    def remove_all(self):
        """Whatever a case left: the next one begins with an empty sharding-system, and no CRD of ours."""
        if self.helm("status", check=False).returncode == 0:
            self.helm("uninstall")
        self.kubectl("delete", "-k", ROOT / "manifests", "--ignore-not-found", "--wait=false")
        self.kubectl("delete", "crd", CRD, "--ignore-not-found")
        self.wait_gone(set(), self.namespace_is_gone)
        self.namespace()

    def namespace_is_gone(self):
        return SYSTEM_NAMESPACE not in [item["metadata"]["name"] for item in self.admin.list("namespaces")]

    def wait_gone(self, leaving, also=lambda: True):
        """Until all_ours() is `leaving`."""
        last = {}

        def gone():
            # Pods end at once, because there is no kubelet that has to say so.
            self.kubectl("delete", "pods", "--all", "-n", SYSTEM_NAMESPACE, "--force", "--grace-period=0")
            last.clear()
            last.update(self.all_ours())
            return set(last) == leaving and also()

        try:
            wait_until(gone, 60, "what was installed is gone")
        except Failed as error:
            raise Failed(f"{error}: {set(last) ^ leaving}") from None


suite = Suite("chart on a cluster", Cluster, parallel=False)


def generations(items):
    """Of what has one; a pod and what controllers write are left out."""
    return {key: item["metadata"].get("generation", json.dumps(item.get("rules") or item.get("data") or
                                                               item.get("spec"), sort_keys=True))
            for key, item in items.items() if key[0] != "Pod"}


@suite.case("helm installs it where restricted Pod Security is enforced; an upgrade without a change changes nothing")
def install(env):
    env.namespace()
    env.helm("install", monitoring={"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}})
    pods = env.wait_pods()
    assert {pod["spec"]["priority"] for pod in pods} == {2000000000}, pods
    before = env.all_ours()
    env.helm("upgrade", "--reuse-values")
    after = env.all_ours()
    assert generations(after) == generations(before)
    assert {pod["metadata"]["uid"] for pod in env.wait_pods()} == {pod["metadata"]["uid"] for pod in pods}
    try:
        env.admin.create("pods", SYSTEM_NAMESPACE, {"metadata": {"name": "root"}, "spec": {
            "containers": [{"name": "a", "image": "a"}]}})
        raise AssertionError("the namespace enforces nothing")
    except ApiError as error:
        assert error.status == 403 and "restricted" in error.message, error


@suite.case("the pod of `helm test` is accepted there, too")
def helm_test(env):
    env.installed()
    rendered = env._helm.template().stdout  # pylint: disable=protected-access
    pod, = [item for item in yaml.safe_load_all(rendered) if item and item["kind"] == "Pod"]
    made = env.admin.request("POST", f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods?dryRun=All", pod)
    assert made["spec"]["containers"][0]["args"] == ["--version"]
    service = env.admin.get("services", SYSTEM_NAMESPACE, "sharder")
    assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items(), "no endpoint of the Service"


@suite.case("a changed configuration makes new pods, of which at most one is there too many, and none too few")
def changed_configuration(env):
    env.installed()
    generation = env.deployment()["metadata"]["generation"]
    env.helm("upgrade", "--reuse-values", config={"shutdownDelay": "4s"})
    now = env.deployment()
    assert now["metadata"]["generation"] == generation + 1
    assert now["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    env.wait_pods(3)  # the new one never gets ready here, so both old ones stay


@suite.case("a ring of the values is made with the sharder's permissions, and goes with the value")
def rings(env):
    env.installed()
    env.helm("upgrade", "--reuse-values", rings=[RING])
    ring = env.admin.get("controllerrings", None, "shop")
    assert ring["spec"]["resources"] == RING["resources"]
    token = env.plane.service_account_token()
    for resource in ("deployments", "replicasets"):
        for verb in ("list", "watch", "patch"):
            env.plane.wait_allowed(token, verb=verb, group="apps", resource=resource)
    env.helm("upgrade", "--reuse-values", rings=[])
    assert not env.admin.list("controllerrings")
    assert ("ClusterRole", "sharding:ring:shop") not in env.all_ours()


@suite.case("who may view or administer the cluster has the roles for people by aggregation, who may edit has no rings")
def people(env):
    env.installed()
    for role in ("view", "edit", "admin"):
        env.kubectl("create", "clusterrolebinding", f"test-{role}", f"--clusterrole={role}", f"--user={role}")
        env.kubectl("create", "rolebinding", f"test-{role}", f"--clusterrole={role}", f"--user=local-{role}",
                    "-n", "default")

    def may(user, verb, resource, *where):
        done = env.kubectl("auth", "can-i", verb, resource, *(where or ("-A",)), "--as", user, check=False)
        return done.stdout.strip() == "yes"

    wait_until(lambda: may("admin", "create", "controllerrings"), 20, "sharding:operator is aggregated")
    wait_until(lambda: may("view", "list", "controllerrings"), 20, "sharding:viewer is aggregated")
    assert may("edit", "get", "controllerrings") and not may("edit", "create", "controllerrings")
    assert not may("view", "delete", "controllerrings") and may("admin", "delete", "controllerrings")
    assert not may("local-admin", "create", "controllerrings") and not may("local-view", "list", "controllerrings")
    assert may("local-view", "list", "leases", "-n", "default")
    for role in ("view", "edit", "admin"):
        env.kubectl("delete", "clusterrolebinding", f"test-{role}")
        env.kubectl("delete", "rolebinding", f"test-{role}", "-n", "default")


@suite.case("uninstall leaves the CRD and nothing else; with crds.keep=false not even that")
def uninstall(env):
    env.installed()
    env.helm("uninstall")
    env.wait_gone(leaving={("CustomResourceDefinition", CRD)})
    env.helm("install", "--take-ownership", crds={"keep": False})
    env.helm("uninstall")
    env.wait_gone(leaving=set())
    left = [secret["metadata"]["name"] for secret in env.admin.list("secrets", SYSTEM_NAMESPACE)]
    assert not left, left


@suite.case("a first install with rings says that the CRD has to be there; with the CRD it works")
def rings_at_first(env):
    env.remove_all()
    done = env.helm("install", check=False, rings=[RING])
    assert done.returncode and 'no matches for kind "ControllerRing"' in done.stderr, done.stderr
    assert "ensure CRDs are installed first" in done.stderr and not env.all_ours(), done.stderr
    env.kubectl("apply", "--server-side", "-f", CHART / "files" / "crd.yaml")
    env.plane.wait_established(CRD, "controllerrings")
    env.helm("install", "--take-ownership", rings=[RING])
    assert env.admin.get("controllerrings", None, "shop")["spec"]["resources"] == RING["resources"]


@suite.case("helm takes over what kustomize installed: nothing is made anew, and kustomize can take it back")
def adopt_kustomize(env):
    env.remove_all()
    env.kubectl("apply", "--server-side", "-k", ROOT / "manifests")
    env.plane.wait_established(CRD, "controllerrings")
    env.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump({
        "apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": "mine"},
        "spec": {"resources": RING["resources"]}}))
    env.wait_pods()
    before = env.all_ours()
    refused = env.helm("install", check=False)
    assert refused.returncode and "invalid ownership metadata" in refused.stderr, refused.stderr
    env.helm("install", "--take-ownership", image={"tag": "1"})
    after = env.all_ours()
    kept = {key for key in before if key[0] != "Pod"}
    assert kept == {key for key in after if key[0] != "Pod"}, "the same objects"
    assert {key: before[key]["metadata"]["uid"] for key in kept} == {key: after[key]["metadata"]["uid"] for key in kept}
    for key in kept:
        managed = after[key]["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by")
        assert managed == "Helm", (key, managed)
    changed = {key for key in kept if generations(before)[key] != generations(after)[key]}
    # The image, and the checksum in the annotations of the pods; the configuration is written in another order.
    assert changed <= {("Deployment", "sharder"), ("ConfigMap", "sharder-config")}, changed
    env.helm("upgrade", "--reuse-values", replicas=3)
    assert env.deployment()["spec"]["replicas"] == 3
    env.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "manifests")
    assert env.deployment()["spec"]["replicas"] == 2
    env.kubectl("-n", SYSTEM_NAMESPACE, "delete", "secret", "-l", "owner=helm,name=sharder")
    assert env.helm("status", check=False).returncode, "Helm forgot the release"
    env.helm("install", "--take-ownership")
    env.helm("uninstall")
    env.wait_gone(leaving={("CustomResourceDefinition", CRD)})
    assert env.admin.get("controllerrings", None, "mine"), "rings that the chart did not make are kept with the CRD"


@suite.case("helm takes over the Go project's Deployment, whose certificate stays mounted, also after a change of the mode")
def adopt_go_project(env):
    env.remove_all()
    names = {"app.kubernetes.io/name": "controller-sharding", "app.kubernetes.io/component": "sharder"}
    env.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "sharder", "namespace": SYSTEM_NAMESPACE, "labels": names}, "spec": {
            "replicas": 2, "selector": {"matchLabels": names}, "template": {"metadata": {"labels": names}, "spec": {
                "serviceAccountName": "sharder", "containers": [{
                    "name": "sharder", "image": "go-sharder:1", "args": ["--config=/config.yaml"],
                    "env": [{"name": "DISABLE_HTTP2", "value": "true"}],
                    "ports": [{"name": "webhook", "containerPort": 9443}, {"name": "metrics", "containerPort": 8080}],
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/config.yaml", "subPath": "config"},
                        {"name": "cert", "mountPath": "/tmp/k8s-webhook-server/serving-certs", "readOnly": True}]}],
                "volumes": [{"name": "config", "configMap": {"name": "sharder-config"}},
                            {"name": "cert", "secret": {"secretName": "webhook-server"}}]}}}}))
    before = env.deployment()
    env.helm("install", "--take-ownership", image={"tag": "1"})
    after = env.deployment()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    pod = after["spec"]["template"]["spec"]
    assert [one["image"] for one in pod["containers"]] == ["sharder:1"], pod
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert len(mounts) == len(pod["containers"][0]["volumeMounts"]) == 2, pod["containers"][0]["volumeMounts"]
    env.wait_pods(1)  # of ours; the Go project's are not permitted here
    env.helm("upgrade", "--reuse-values", certificates={"mode": "selfManaged"})
    pod = env.deployment()["spec"]["template"]["spec"]
    mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounted == {"config", "earlier-certificate"}, pod
    env.figures.append(("volumes left of the Go project's Deployment", sorted(
        volume["name"] for volume in pod["volumes"] if volume["name"] not in mounted)))


@suite.case("the sharder works with what the chart grants, and removal in the documented order leaves nothing of it")
def work_and_removal(env):
    env.remove_all()
    env.helm("install")
    env.helm("upgrade", "--reuse-values", rings=[{**RING, "namespaceSelector": {
        "matchLabels": {"kubernetes.io/metadata.name": "default"}}}])
    sharders = Sharders(env.plane, 1)
    shards = Shards(env.admin, "shop", "default")
    try:
        sharders.start()
        sharders.wait_leader()
        with shards:
            shards.start("a")

            def status():
                found = env.admin.get("controllerrings", None, "shop").get("status", {})
                conditions = {condition["type"]: condition["status"] for condition in found.get("conditions", [])}
                return conditions.get("Ready") == "True" and found["availableShards"] == 1

            wait_until(status, 30, "the ring is ready, with one shard")
            env.kubectl("create", "deployment", "cart", "--image=cart", "--replicas=0", "-n", "default")
            label = "shard.alpha.sharding.timebertt.dev/shop"

            def assigned(resource):
                return [item["metadata"].get("labels", {}).get(label) for item in env.admin.list(resource, "default")]

            for resource in ("deployments", "replicasets"):
                wait_until(lambda resource=resource: assigned(resource) == ["a"], 20, f"{resource} have their shard")
            assert ("MutatingWebhookConfiguration", "controllerring-shop") in env.all_ours()
        # As in the chart's README: rings, release, CRD, namespace.
        env.kubectl("delete", "controllerrings", "--all")
        wait_until(lambda: ("MutatingWebhookConfiguration", "controllerring-shop") not in env.all_ours(), 90,
                   "the webhook configuration goes with its ring")  # the collector looks for new kinds every 30 s
        env.helm("uninstall")
    finally:
        sharders.stop()
    env.kubectl("delete", "deployment", "cart", "-n", "default")
    env.kubectl("delete", "crd", CRD)
    env.kubectl("delete", "namespace", SYSTEM_NAMESPACE, "--wait=false")
    env.wait_gone(set(), env.namespace_is_gone)


@suite.case("each mode is accepted by the API server, without a warning, and the pods are made")
def modes(env):
    for mode in ("certManager", "selfManaged", "existingSecret"):
        env.remove_all()
        began = time.monotonic()
        done = env.helm("install", certificates={"mode": mode})
        assert "warning" not in done.stderr.lower(), done.stderr
        env.wait_pods()
        env.figures.append((f"helm install, mode {mode}", f"{time.monotonic() - began:.1f} s until the pods are made"))


if __name__ == "__main__":
    suite.main()
