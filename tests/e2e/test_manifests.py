#!/usr/bin/python3
"""The manifests on a real API server (docs/protocol.md, sections 1, 2, 7 and 8), without a sharder.

cert-manager and the Prometheus operator are not installed there; stand_ins.py stands in for their CRDs.
"""

import os
import subprocess

import yaml

import oracle
import stand_ins
from cluster import ROOT, SYSTEM_NAMESPACE
from environment import Environment
from kubeclient import ApiError
from sharder import binary
from suite import Suite

MANIFESTS = ROOT / "manifests"
FOLDERS = ("crd", "rbac", "sharder", "certmanager")
OVERLAYS = ("overlays/cert-manager", "overlays/self-managed", "overlays/existing-secret")


class ManifestsEnvironment(Environment):
    """With the stand-ins for CRDs of others."""

    def __enter__(self):
        super().__enter__()
        try:
            stand_ins.install_all(self.plane)
        except BaseException:
            self.plane.stop()
            raise
        return self


suite = Suite("manifests", lambda short: ManifestsEnvironment(replicas=0, short=short))

# What the sharder's ServiceAccount may do cluster-wide; everything else is refused.
ALLOWED = {
    ("", "events"): "create patch",
    ("", "namespaces"): "get list watch",
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): "create patch get list watch",
    ("coordination.k8s.io", "leases"): "get list watch update patch delete",
    ("sharding.timebertt.dev", "controllerrings"): "get list watch",
    ("sharding.timebertt.dev", "controllerrings/status"): "update patch",
    ("authentication.k8s.io", "tokenreviews"): "create",
    ("authorization.k8s.io", "subjectaccessreviews"): "create",
}


def ring(name, **spec):
    spec.setdefault("resources", [])
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": spec}


def refused(env, body):
    """The API server's message when it does not take the ring."""
    try:
        env.admin.create("controllerrings", None, body)
    except ApiError as error:
        assert error.status == 422, error
        return error.message
    raise AssertionError(f"taken: {body}")


def rendered(env, folder="."):
    """{(kind, namespace, name): object} as kubectl renders a kustomization of manifests/."""
    items = list(yaml.safe_load_all(env.plane.kubectl("kustomize", MANIFESTS / folder).stdout))
    found = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): item for item in items}
    assert len(found) == len(items), "an object twice"
    return found


def with_monitoring(env, overlay):
    """A folder with a kustomization of the overlay and the component monitoring."""
    folder = env.plane.folder / f"{overlay.rpartition('/')[2]}-monitored"
    folder.mkdir(exist_ok=True)

    def path(name):
        return os.path.relpath((MANIFESTS / name).resolve(), folder.resolve())

    (folder / "kustomization.yaml").write_text(yaml.safe_dump({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [path(overlay)],
        "components": [path("components/monitoring")]}), encoding="utf-8")
    return folder


def ours(env, kind, name="sharder"):
    return rendered(env)[(kind, SYSTEM_NAMESPACE, name)]


def pod_spec(env):
    return ours(env, "Deployment")["spec"]["template"]["spec"]


@suite.case("kustomize builds all of manifests/, and applying it again changes nothing")
def apply_all(env):
    before = env.admin.get("customresourcedefinitions", None, "controllerrings.sharding.timebertt.dev")
    env.plane.kubectl("apply", "--server-side", "-k", MANIFESTS)
    once = versions(env)
    env.plane.kubectl("apply", "--server-side", "-k", MANIFESTS)
    assert versions(env) == once
    after = env.admin.get("customresourcedefinitions", None, "controllerrings.sharding.timebertt.dev")
    assert before["metadata"]["generation"] == after["metadata"]["generation"]


def versions(env):
    """{object: its generation, or its resourceVersion where it has none} of what apply_all() has applied."""
    items = yaml.safe_load(env.plane.kubectl("get", "--filename", "-", "--output", "yaml", stdin=yaml.safe_dump_all(
        rendered(env).values())).stdout)["items"]
    return {(item["kind"], item["metadata"]["name"]):
            item["metadata"].get("generation") or item["metadata"]["resourceVersion"] for item in items}


@suite.case("the API server takes all of manifests/, each folder and each overlay, in a server-side dry run, without a "
            "warning")
def dry_run(env):
    for folder in (".", *FOLDERS, *OVERLAYS, *(with_monitoring(env, overlay) for overlay in OVERLAYS)):
        done = env.plane.kubectl("apply", "--server-side", "--dry-run=server", "-k", MANIFESTS / folder)
        lines = done.stdout.splitlines()
        assert len(lines) == len(rendered(env, folder)) and all("dry run" in line for line in lines), done.stdout
        assert "Warning" not in done.stderr, done.stderr


@suite.case("a field that cert-manager's stand-ins do not have is refused, so the dry run means something")
def wrong_field(env):
    wrong = {**ours(env, "Certificate", "sharder-webhook")}
    wrong["spec"] = {**wrong["spec"], "secretname": "x"}
    done = env.plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(wrong),
                             check=False)
    assert done.returncode and "secretname" in done.stderr, done.stderr


@suite.case("the folders together are the whole, and every name that users rely on is there (protocol, 7)")
def names(env):
    whole = rendered(env)
    role = {(kind, SYSTEM_NAMESPACE, "sharding:sharder:webhook-certificate") for kind in ("Role", "RoleBinding")}
    assert set(whole) == {key for folder in FOLDERS for key in rendered(env, folder)} | role
    wanted = {("CustomResourceDefinition", None, "controllerrings.sharding.timebertt.dev"),
              ("Namespace", None, SYSTEM_NAMESPACE), ("ClusterRole", None, "sharding:sharder"),
              ("ClusterRole", None, "sharding:metrics-auth"), ("ClusterRole", None, "sharding:sharder:pprof-reader"),
              ("ClusterRole", None, "sharding:sharder:status-reader"),
              *((kind, SYSTEM_NAMESPACE, name) for kind, name in (
                  ("ServiceAccount", "sharder"), ("Deployment", "sharder"), ("Service", "sharder"),
                  ("PodDisruptionBudget", "sharder"), ("ConfigMap", "sharder-config"), ("Issuer", "selfsigned"),
                  ("Certificate", "sharder-webhook")))}
    assert wanted <= set(whole), wanted - set(whole)
    for (kind, namespace, name), item in whole.items():
        labels = item["metadata"].get("labels", {})
        assert kind == "Namespace" or labels["app.kubernetes.io/name"] == "controller-sharding", (kind, name)
        if namespace or kind.startswith("ClusterRole"):
            assert labels["app.kubernetes.io/component"] == "sharder", (kind, name)
    assert set(ours(env, "ConfigMap", "sharder-config")["data"]) == {"config"}
    assert ours(env, "Certificate", "sharder-webhook")["spec"]["secretName"] == "sharder-webhook"
    assert not [key for key in whole if key[2] == "webhook-server"], "Certificate and Secret of the Go project stay"


@suite.case("Service, budget and Deployment fit together, and the pod mounts what the sharder reads (protocol, 7)")
def wiring(env):
    deployment, pod = ours(env, "Deployment"), pod_spec(env)
    container = pod["containers"][0]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"], ours(env, "Service")["spec"]["selector"],
                 ours(env, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                 *(one["labelSelector"]["matchLabels"] for one in pod["topologySpreadConstraints"])]
    # The Go project's selector, too: it cannot be changed in place.
    assert all(one == {"app.kubernetes.io/name": "controller-sharding", "app.kubernetes.io/component": "sharder"}
               and one.items() <= labels.items() for one in selectors), selectors
    numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert numbers == {"webhook": 9443, "metrics": 8080, "health": 8081}
    assert {port["port"]: numbers[port["targetPort"]] for port in ours(env, "Service")["spec"]["ports"]} == {
        443: 9443, 8080: 8080}
    assert [(container[probe]["httpGet"]["path"], container[probe]["httpGet"]["port"])
            for probe in ("livenessProbe", "readinessProbe")] == [("/healthz", "health"), ("/readyz", "health")]
    sources = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: sources[mount["name"]] for mount in container["volumeMounts"]}
    earlier = [source["secret"] for source in
               mounts["/tmp/k8s-webhook-server/serving-certs"]["projected"]["sources"]]
    assert all(source["optional"] for source in earlier), "pods wait for none of these Secrets"
    assert {source["name"]: [item["path"] for item in source["items"]] for source in earlier} == {
        "webhook-server": ["tls.crt", "tls.key"],
        **{name: [f"{name}/tls.crt", f"{name}/tls.key"] for name in ("sharder-webhook", "sharder-webhook-server")}}
    assert mounts["/config.yaml"]["configMap"]["name"] == "sharder-config"
    assert container["args"] == ["--config=/config.yaml"]
    assert deployment["spec"]["replicas"] == 2 and pod["serviceAccountName"] == "sharder"
    # shutdownDelay 5 s and gracefulShutDown 15 s are the defaults, and the shipped file has no others.
    assert not {"shutdownDelay", "gracefulShutDown"} & set(shipped_config(env))
    assert pod["terminationGracePeriodSeconds"] > 5 + 5 + 15  # shutdownDelay, release of the leadership, gracefulShutDown


def shipped_config(env):
    return yaml.safe_load(ours(env, "ConfigMap", "sharder-config")["data"]["config"])


@suite.case("the overlays differ in the certificate alone: its objects, the configuration and a Role")
def overlays(env):
    renderings = [rendered(env, overlay) for overlay in OVERLAYS]
    certificate = {"cert-manager": {"Certificate", "Issuer", "Role", "RoleBinding"}, "self-managed": {"Role", "RoleBinding"},
                   "existing-secret": {"Role", "RoleBinding"}}
    for overlay, items in zip(OVERLAYS, renderings):
        mode = overlay.rpartition("/")[2]
        more = {key for key in items if key not in rendered(env, "base")}
        assert {kind for kind, _, _ in more} == certificate[mode], more
        same = {key: item for key, item in items.items() if key[0] != "ConfigMap" and key not in more}
        assert same == {key: renderings[0][key] for key in same}, mode
    roles = [items[("Role", SYSTEM_NAMESPACE, "sharding:sharder:webhook-certificate")]["rules"]
             for items in renderings]
    secrets = {"apiGroups": [""], "resources": ["secrets"]}
    assert roles == [[{**secrets, "resourceNames": ["sharder-webhook"], "verbs": ["get", "list", "watch"]}],
                     [{**secrets, "resourceNames": ["sharder-webhook-server"],
                       "verbs": ["get", "list", "watch", "update", "patch"]}, {**secrets, "verbs": ["create"]}],
                     [{**secrets, "resourceNames": ["webhook-server"], "verbs": ["get", "list", "watch"]}]], roles


@suite.case("the NetworkPolicy lets in exactly the ports of the container, to pods of the Deployment")
def network_policy(env):
    policy = ours(env, "NetworkPolicy")["spec"]
    container = pod_spec(env)["containers"][0]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == {
        port["containerPort"] for port in container["ports"]}
    assert policy["podSelector"] == ours(env, "Deployment")["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


@suite.case("the sharder takes the shipped configuration, which reads the Secret that cert-manager fills")
def configuration(env):
    assert shipped_config(env)["webhook"] == {"certificates": "secret", "secretName": "sharder-webhook"}
    path = env.plane.folder / "shipped.yaml"
    path.write_text(ours(env, "ConfigMap", "sharder-config")["data"]["config"], encoding="utf-8")
    # Without a kubeconfig the start ends after the configuration was read; a mistake there would be the reason instead.
    done = subprocess.run([binary(), f"--config={path}", "--kubeconfig", env.plane.folder / "none"], check=False,
                          capture_output=True, text=True, timeout=30)
    output = done.stdout + done.stderr
    assert done.returncode == 2 and str(env.plane.folder / "none") in output and "shipped.yaml" not in output, output


@suite.case("pods of the Deployment pass the restricted pod security standard, with a priority that exists")
def restricted(env):
    namespace = env.namespace("restricted", {"pod-security.kubernetes.io/enforce": "restricted"})
    env.admin.create("serviceaccounts", namespace, {"metadata": {"name": "sharder"}})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sharder", "namespace": namespace},
           "spec": pod_spec(env)}
    made = env.admin.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
    assert made["spec"]["priority"] == 2000000000, made["spec"]
    pod["spec"] = {**pod["spec"], "securityContext": {}}
    try:
        env.admin.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        raise AssertionError("the namespace enforces nothing")
    except ApiError as error:
        assert error.status == 403, error


@suite.case("an installation of the Go project is replaced in place, also back")
def replaced(env):
    names_ = {"app.kubernetes.io/name": "controller-sharding", "app.kubernetes.io/component": "sharder"}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {
        "name": "sharder", "namespace": env.namespace("replaced"), "labels": names_}, "spec": {
            "replicas": 2, "selector": {"matchLabels": names_}, "template": {
                "metadata": {"labels": names_}, "spec": {"serviceAccountName": "sharder", "containers": [{
                    "name": "sharder", "image": "sharder:latest", "args": ["--config=/config.yaml"],
                    "env": [{"name": "DISABLE_HTTP2", "value": "true"}],
                    "ports": [{"name": "webhook", "containerPort": 9443}, {"name": "metrics", "containerPort": 8080}],
                    "volumeMounts": [{"name": "config", "mountPath": "/config.yaml", "subPath": "config"}]}],
                    "volumes": [{"name": "config", "configMap": {"name": "sharder-config"}}]}}}}
    mine = ours(env, "Deployment")
    mine["metadata"]["namespace"] = "replaced"
    mine["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/sharder:1"
    for wanted, image in ((theirs, "sharder:latest"), (mine, "registry.example/sharder:1"), (theirs, "sharder:latest")):
        env.plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(wanted))
        stored = env.admin.get("deployments", "replaced", "sharder")["spec"]["template"]["spec"]
        assert [one["image"] for one in stored["containers"]] == [image], stored
        assert len(stored["volumes"]) == len(wanted["spec"]["template"]["spec"]["volumes"]), stored["volumes"]


@suite.case("a ring's name may have 63 characters, not 64")
def name_length(env):
    env.admin.create("controllerrings", None, ring("a" * 63))
    assert "must not be longer than 63 characters" in refused(env, ring("a" * 64))


@suite.case("resources and controlled resources are a map by group and resource")
def list_map(env):
    one = {"group": "apps", "resource": "deployments"}
    assert "Duplicate value" in refused(env, ring("twice", resources=[one, one]))
    assert "Duplicate value" in refused(env, ring("twice", resources=[{**one, "controlledResources": [one, one]}]))
    assert "resource: Required value" in refused(env, ring("half", resources=[{"group": "apps"}]))
    assert "group: Required value" in refused(env, ring("half", resources=[{"resource": "secrets"}]))
    env.admin.create("controllerrings", None, ring("once", resources=[one, {"group": "", "resource": "deployments"}]))


@suite.case("an absent namespaceSelector stays absent, an empty one stays empty")
def namespace_selector(env):
    made = env.admin.create("controllerrings", None, ring("absent"))
    assert "namespaceSelector" not in made["spec"]
    made = env.admin.create("controllerrings", None, ring("empty", namespaceSelector={}))
    assert made["spec"]["namespaceSelector"] == {}
    selector = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}], "matchLabels": {"c": "d"}}
    made = env.admin.create("controllerrings", None, ring("full", namespaceSelector=selector))
    assert made["spec"]["namespaceSelector"] == selector


@suite.case("the status is a subresource with required counts, and kubectl prints it")
def status(env):
    made = env.admin.create("controllerrings", None, {**ring("status"), "status": {"shards": 7, "availableShards": 7}})
    assert "status" not in made
    condition = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "observedGeneration": 1,
                 "message": "ControllerRing was successfully reconciled", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    made["status"] = {"shards": 3}
    try:
        env.admin.update("controllerrings", None, "status", made, "status")
        raise AssertionError("a status without availableShards is taken")
    except ApiError as error:
        assert error.status == 422 and "availableShards: Required" in error.message, error
    made["status"] = {"observedGeneration": 1, "shards": 3, "availableShards": 0, "conditions": [condition]}
    assert env.admin.update("controllerrings", None, "status", made, "status")["status"] == made["status"]
    lines = env.plane.kubectl("get", "controllerring", "status").stdout.splitlines()
    assert lines[0].split() == ["NAME", "READY", "AVAILABLE", "SHARDS", "AGE"], lines
    assert lines[1].split()[:4] == ["status", "True", "0", "3"], lines


@suite.case("a ring that the Go sharder knew is taken as it is")
def fixture(env):
    path = ROOT / "tests" / "testdata" / "fixtures" / "controllerring.yaml"
    env.plane.kubectl("apply", "-f", path)
    stored = env.admin.get("controllerrings", None, "bench")
    assert stored["spec"] == yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]


@suite.case("the sharder may do what protocol.md lists, and nothing else")
def permissions(env):
    # An effective-rules review of the account itself, in a namespace that is not its own.
    client = env.plane.client(env.plane.service_account_token())
    granted = {}
    for rule in rules_of(client, "default"):
        for group in rule.get("apiGroups", []):
            for resource in rule.get("resources", []):
                granted.setdefault((group, resource), set()).update(rule["verbs"])
    # Every account may review its own access.
    for own in ("selfsubjectaccessreviews", "selfsubjectrulesreviews"):
        granted.pop(("authorization.k8s.io", own), None)
    granted.pop(("authentication.k8s.io", "selfsubjectreviews"), None)
    assert granted == {key: set(verbs.split()) for key, verbs in ALLOWED.items()}, granted


@suite.case("the leader election needs a Lease in the sharder's own namespace, and no other")
def leader_election(env):
    client = env.plane.client(env.plane.service_account_token())
    own = [rule for rule in rules_of(client, SYSTEM_NAMESPACE) if "leases" in rule.get("resources", [])]
    assert any(rule["verbs"] == ["create"] for rule in own), own
    assert any(rule.get("resourceNames") == ["sharder"] and set(rule["verbs"]) == {"get", "update"} for rule in own), own


def rules_of(client, namespace):
    return client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace}})["status"]["resourceRules"]


@suite.case("the oracle gives the owners of the vectors")
def vectors(env):
    assert oracle.check_vectors() == 245 and env.sharders is None


if __name__ == "__main__":
    suite.main()
