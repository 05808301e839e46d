#!/usr/bin/python3
"""What the chart renders, without a cluster: the objects of manifests/, the same each time, and nothing when a value is
wrong."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from alerts import CASES, test_file
from programs import CHART, ROOT, Helm  # before those of tests/e2e, which it finds

import binaries
import prometheus
from sharder import binary
from suite import Suite

MANIFESTS = ROOT / "manifests"
MODES = {"certManager": "cert-manager", "selfManaged": "self-managed", "existingSecret": "existing-secret"}
MONITORING = tuple(part for what in ("serviceMonitor", "prometheusRule", "dashboards")
                   for part in ("--set", f"monitoring.{what}.enabled=true"))
SYSTEM = "sharding-system"


class Rendering:
    """A folder and Helm, for all cases."""

    def __init__(self, short):
        self.short, self.figures, self.keep_logs = short, [], False

    def __enter__(self):
        self._scratch = tempfile.TemporaryDirectory(prefix="sharder-chart-")
        self.folder = Path(self._scratch.name)
        self.helm = Helm(self.folder)
        self.kubectl = binaries.find() / "kubectl"
        return self

    def __exit__(self, *_):
        self._scratch.cleanup()

    def values(self, **values):
        """A file of values, as arguments."""
        path = self.folder / f"values-{len(list(self.folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return "--values", path


suite = Suite("chart rendering", Rendering, parallel=False)


def by_name(text):
    """{(kind, namespace, name): object}, without Helm's tests."""
    items = [item for item in yaml.safe_load_all(text) if item]
    items = [item for item in items if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    found = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): item for item in items}
    assert len(found) == len(items), "an object twice"
    return found


def normal(items):
    """Without what may differ: the order in lists of named things, how the configuration is written, the checksum by
    which Helm restarts pods, the namespace itself, and that Helm keeps the CRD."""
    items = {key: item for key, item in items.items() if key[0] != "Namespace"}
    for (kind, _, _), item in items.items():
        if kind == "Deployment":
            template = item["spec"]["template"]
            template["metadata"]["annotations"].pop("checksum/config", None)
            template["spec"]["volumes"].sort(key=lambda one: one["name"])
            for container in template["spec"]["containers"]:
                container["volumeMounts"].sort(key=lambda one: one["name"])
                container["image"] = container["image"].partition(":")[0]
        if kind == "ConfigMap" and "config" in item["data"]:
            item["data"]["config"] = yaml.safe_load(item["data"]["config"])
        if kind == "CustomResourceDefinition":
            annotations = item["metadata"].pop("annotations", {})
            assert annotations in ({}, {"helm.sh/resource-policy": "keep"}), annotations
    return items


def kustomized(env, overlay, monitoring):
    folder = env.folder / f"kustomize-{overlay}-{monitoring}"
    folder.mkdir(exist_ok=True)

    def path(name):
        return f"../{'../' * (len(env.folder.resolve().parts) - 1)}{(MANIFESTS / name).resolve().relative_to('/')}"

    (folder / "kustomization.yaml").write_text(yaml.safe_dump({
        "resources": [path(f"overlays/{overlay}")],
        "components": [path("components/monitoring")] if monitoring else []}), encoding="utf-8")
    done = subprocess.run([env.kubectl, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert not done.returncode, done.stderr
    return by_name(done.stdout)


def difference(one, other):
    assert set(one) == set(other), f"only in one of them: {set(one) ^ set(other)}"
    return [(key, one[key], other[key]) for key in one if one[key] != other[key]]


@suite.case("chart and kustomize render the same objects, in each mode, with and without monitoring")
def same_objects(env):
    for mode, overlay in MODES.items():
        for monitoring in (False, True):
            chart = env.helm.template("--set", f"certificates.mode={mode}", *(MONITORING if monitoring else ())).stdout
            differing = difference(normal(by_name(chart)), normal(kustomized(env, overlay, monitoring)))
            assert not differing, differing[0]


@suite.case("the comparison notices a changed value, so it means something")
def comparison(env):
    chart = env.helm.template("--set", "replicas=3,certificates.mode=certManager").stdout
    differing = difference(normal(by_name(chart)), normal(kustomized(env, "cert-manager", False)))
    assert [key[0] for key, _, _ in differing] == ["Deployment"], differing


RING = {"name": "shop", "resources": [
    {"group": "apps", "resource": "deployments", "controlledResources": [{"group": "apps", "resource": "replicasets"},
                                                                         {"group": "", "resource": "pods"}]},
    {"group": "", "resource": "configmaps"}]}
EXTRA = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"b": "{{ x }}", "a": "1"}}


@suite.case("rendering twice gives the same bytes")
def twice(env):
    everything = env.values(rings=[RING, {**RING, "name": "other", "namespaceSelector": {}}], extraObjects=[EXTRA],
                            podLabels={"b": "1", "a": "2"}, config={"shutdownDelay": "3s"})
    for arguments in ((), MONITORING, everything, ("--set", "certificates.mode=certManager")):
        one, other = (env.helm.template(*arguments).stdout for _ in range(2))
        assert one == other and len(one) > 10000, arguments


@suite.case("templates ask neither chance nor clock nor cluster, and have no hook but Helm's test")
def nothing_generated(env):
    sources = {path: path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*") if path.is_file()}
    assert len(sources) > 12
    for path, text in sources.items():
        found = re.findall(r"\b(gen[A-Z]\w+|rand[A-Z]\w+|now|lookup|uuidv4|htpasswd|derivePassword|\.Capabilities)\b",
                           "".join(re.findall(r"{{.*?}}", text, re.DOTALL)))
        assert not found, (path, found)
    items = [item for item in yaml.safe_load_all(env.helm.template().stdout) if item]
    hooks = [item["metadata"]["annotations"]["helm.sh/hook"] for item in items
             if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    assert hooks == ["test"], hooks


@suite.case("the schema is closed everywhere, and knows exactly the values of values.yaml")
def closed(_):
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    open_ones = []

    def walk(part, path):
        if isinstance(part, dict):
            if "properties" in part and part.get("additionalProperties") is not False:
                open_ones.append(path)
            for key, value in part.items():
                walk(value, f"{path}/{key}")
        elif isinstance(part, list):
            for number, value in enumerate(part):
                walk(value, f"{path}/{number}")

    walk(schema, "")
    assert not open_ones, open_ones

    def compare(values, part, path):
        known = part.get("properties", {})
        for key, value in values.items():
            assert key in known, f"{path}.{key} is not in the schema"
            if isinstance(value, dict) and value and known[key].get("properties"):
                compare(value, known[key], f"{path}.{key}")
        if path in ("", ".image", ".certificates", ".crds", ".spread", ".networkPolicy", ".monitoring"):
            assert set(known) - set(values) <= {"global"}, f"{path}: {set(known) - set(values)} are not in values.yaml"

    compare(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), schema, "")


def ring(**changes):
    return {"rings": [{**RING, **changes}]}


# (values, what the message has to name)
WRONG = [
    ({"replica": 3}, "replica"),
    ({"replicas": "three"}, "/replicas"),
    ({"replicas": -1}, "/replicas"),
    ({"image": {"repo": "x"}}, "repo"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"image": {"tag": "a b"}}, "/image/tag"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"image": {"registry": "https://registry.example.com"}}, "/image/registry"),
    ({"imagePullSecrets": ["my-secret"]}, "/imagePullSecrets/0"),
    ({"certificates": {"mode": "certmanager"}}, "/certificates/mode"),
    ({"certificates": {"secretName": "Webhook"}}, "/certificates/secretName"),
    ({"certificates": {"certManager": {"duration": "90d"}}}, "/certificates/certManager/duration"),
    ({"certificates": {"certManager": {"issuer": {}}}}, "issuer"),
    ({"crds": {"install": True}}, "install"),
    ({"crds": {"keep": "yes"}}, "/crds/keep"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "minAvailable"),
    ({"podDisruptionBudget": {"maxUnavailable": "101%"}}, "/podDisruptionBudget/maxUnavailable"),
    ({"spread": {"nodes": "Always"}}, "/spread/nodes"),
    ({"resources": {"limits": {"memory": "512 MB"}}}, "/resources/limits/memory"),
    ({"resources": {"limit": {"memory": "512Mi"}}}, "limit"),
    ({"networkPolicy": {"apiServerPorts": [70000]}}, "/networkPolicy/apiServerPorts/0"),
    ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
    ({"monitoring": {"enabled": True}}, "enabled"),
    ({"monitoring": {"serviceMonitor": {"interval": 30}}}, "/monitoring/serviceMonitor/interval"),
    ({"monitoring": {"dashboards": {"labels": {"grafana_dashboard": 1}}}}, "/monitoring/dashboards/labels"),
    (ring(name="My-Ring"), "/rings/0/name"),
    (ring(name="a" * 64), "/rings/0/name"),
    (ring(resources=[]), "/rings/0/resources"),
    (ring(resources=[{"resource": "pods"}]), "group"),
    (ring(resources=[{"group": "apps/v1", "resource": "deployments"}]), "/rings/0/resources/0/group"),
    (ring(verbs=["delete"]), "/rings/0/verbs/0"),
    (ring(namespaceSelector={"labels": {}}), "labels"),
    ({"config": {"webhook": {"config": {"anotations": {}}}}}, "anotations"),
    ({"config": {"controller": {"sharder": {"syncPeriod": 5}}}}, "/config/controller/sharder/syncPeriod"),
    ({"config": {"leaderElection": {"resourceNamespace": "default"}}}, "resourceNamespace"),
    ({"config": {"webhook": {"certificates": "self"}}}, "/config/webhook/certificates"),
    ({"podLabels": {"app.kubernetes.io/name": "other"}}, "/podLabels"),
    ({"tolerations": [{"operator": "Equals"}]}, "/tolerations/0/operator"),
    ({"extraObjects": [{"kind": "ConfigMap"}]}, "/extraObjects/0"),
    ({"extraArgs": ["log-level=debug"]}, "/extraArgs/0"),
]


@suite.case("wrong values are refused, each with a message that names the value")
def wrong_values(env):
    assert len(WRONG) >= 30
    for values, named in WRONG:
        done = env.helm.template(*env.values(**values), check=False)
        assert done.returncode and "don't meet the specifications of the schema" in done.stderr, (values, done.stderr)
        assert f"'{named}" in done.stderr, (values, named, done.stderr)
    env.figures.append(("wrong values that were refused", len(WRONG)))


@suite.case("right values are not refused")
def right_values(env):
    env.helm.template(*env.values(
        image={"registry": "registry.example.com:5000/platform", "digest": "sha256:" + "0" * 64}, replicas=0,
        imagePullSecrets=[{"name": "mine"}], certificates={"certManager": {"issuerRef": {"name": "corp", "kind":
                                                                                         "ClusterIssuer"}}},
        resources={"limits": {"cpu": 2, "memory": "1Gi"}}, networkPolicy={"metricsFrom": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]},
        tolerations=[{"operator": "Exists"}], affinity={"nodeAffinity": {}}, extraObjects=[EXTRA], rings=[RING],
        config={"clientConnection": {"qps": 50, "burst": 100}, "gracefulShutDown": "-1s",
                "webhook": {"server": {"clientCAFile": "/etc/sharder/client-ca/ca.crt"}}}, **{"global": {"any": 1}}))


@suite.case("an image has registry, name, tag and digest; without a tag it is the chart's version")
def image(env):
    def rendered(**values):
        items = by_name(env.helm.template(*env.values(image=values)).stdout)
        return items[("Deployment", SYSTEM, "sharder")]["spec"]["template"]["spec"]["containers"][0]["image"]

    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    digest = "sha256:" + "a" * 64
    assert rendered() == f"sharder:{version}"
    assert rendered(registry="r.example/p", tag="1") == "r.example/p/sharder:1"
    assert rendered(digest=digest) == f"sharder@{digest}"
    assert rendered(tag="1", digest=digest) == f"sharder:1@{digest}"
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"project(sharder VERSION {version} " in cmake, "appVersion is the program's"


@suite.case("a ring comes with the permissions on its resources, each named once")
def rings(env):
    items = by_name(env.helm.template(*env.values(rings=[{**RING, "verbs": ["get"]}])).stdout)
    assert items[("ControllerRing", None, "shop")]["spec"] == {"resources": RING["resources"]}
    verbs = ["list", "watch", "patch", "get"]
    assert items[("ClusterRole", None, "sharding:ring:shop")]["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": verbs},
        {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": verbs}]
    assert items[("ClusterRoleBinding", None, "sharding:ring:shop")]["subjects"] == [
        {"kind": "ServiceAccount", "name": "sharder", "namespace": SYSTEM}]
    selected = by_name(env.helm.template(*env.values(rings=[{**RING, "namespaceSelector": {}}])).stdout)
    assert selected[("ControllerRing", None, "shop")]["spec"]["namespaceSelector"] == {}


def config(env, *arguments, namespace=SYSTEM):
    items = by_name(env.helm.template(*arguments, namespace=namespace).stdout)
    return items[("ConfigMap", namespace, "sharder-config")]["data"]["config"]


@suite.case("the sharder takes the configuration that the chart renders, in every mode and namespace")
def configuration(env):
    more = env.values(config={"controller": {"sharder": {"concurrentMoves": 7}}, "webhook": {"config": {
        "annotations": {"admissions.enforcer/disabled": "true"}}}})
    for mode in MODES:
        for namespace in (SYSTEM, "elsewhere"):
            text = config(env, "--set", f"certificates.mode={mode}", *more, namespace=namespace)
            path = env.folder / "config.yaml"
            path.write_text(text, encoding="utf-8")
            done = subprocess.run([binary(), f"--config={path}", "--kubeconfig", env.folder / "none"], check=False,
                                  capture_output=True, text=True, timeout=30)
            output = done.stdout + done.stderr
            assert str(env.folder / "none") in output, output  # the configuration is good, the kubeconfig is missing


@suite.case("the file of webhook.server.clientCAFile comes from a volume, as docs/security/webhook-clients.md has it")
def client_ca(env):
    more = env.values(
        extraVolumes=[{"name": "client-ca", "configMap": {"name": "sharder-client-ca"}}],
        extraVolumeMounts=[{"name": "client-ca", "mountPath": "/etc/sharder/client-ca", "readOnly": True}],
        config={"webhook": {"server": {"clientCAFile": "/etc/sharder/client-ca/ca.crt"}}})
    assert yaml.safe_load(config(env, *more))["webhook"]["server"] == {"clientCAFile": "/etc/sharder/client-ca/ca.crt"}
    pod = by_name(env.helm.template(*more).stdout)[("Deployment", SYSTEM, "sharder")]["spec"]["template"]["spec"]
    assert {"name": "client-ca", "configMap": {"name": "sharder-client-ca"}} in pod["volumes"], pod["volumes"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert {"name": "client-ca", "mountPath": "/etc/sharder/client-ca", "readOnly": True} in mounts, mounts


@suite.case("`config` is merged over the mode's, and another namespace than sharding-system is written into it")
def merged(env):
    more = env.values(certificates={"mode": "certManager"}, config={"webhook": {"config": {"annotations": {"a": "b"}}}})
    here = yaml.safe_load(config(env, *more))
    assert here["webhook"] == {"certificates": "secret", "secretName": "sharder-webhook",
                               "config": {"annotations": {"a": "b"}}}, here
    there = yaml.safe_load(config(env, *more, namespace="elsewhere"))
    assert there["leaderElection"] == {"resourceNamespace": "elsewhere"}
    assert there["webhook"]["config"]["annotations"] == {"a": "b"}
    assert there["webhook"]["config"]["clientConfig"] == {"service": {"namespace": "elsewhere", "name": "sharder"}}
    assert there["webhook"]["config"]["namespaceSelector"]["matchExpressions"][0]["values"] == [
        "kube-system", "elsewhere"]


@suite.case("with `config.webhook.certificates` the certificate comes from there in every mode")
def certificates(env):
    def rendered(*sets):
        items = by_name(env.helm.template(*(part for one in sets for part in ("--set", one))).stdout)
        pod = items[("Deployment", SYSTEM, "sharder")]["spec"]["template"]["spec"]
        mounted, = [volume["secret"]["secretName"] if "secret" in volume else "earlier"
                    for volume in pod["volumes"] if "configMap" not in volume]
        return mounted, ("Role", SYSTEM, "sharding:sharder:webhook-certificate") in items, yaml.safe_load(
            items[("ConfigMap", SYSTEM, "sharder-config")]["data"]["config"]).get("webhook")

    assert rendered("certificates.mode=existingSecret") == ("earlier", True, {"certificates": "secret"})
    assert rendered("certificates.mode=existingSecret", "certificates.secretName=mine") == (
        "earlier", True, {"certificates": "secret", "secretName": "mine"})
    assert rendered("certificates.mode=existingSecret", "config.webhook.certificates=files") == (
        "webhook-server", False, {"certificates": "files"})
    assert rendered("certificates.mode=selfManaged") == ("earlier", True, {"certificates": "selfManaged"})
    assert rendered("certificates.mode=certManager") == (
        "earlier", True, {"certificates": "secret", "secretName": "sharder-webhook"})
    # As in the Go project: cert-manager's cainjector writes the caBundle.
    assert rendered("certificates.mode=certManager", "config.webhook.certificates=files") == (
        "sharder-webhook", False, {"certificates": "files", "config": {"annotations": {
            "cert-manager.io/inject-ca-from": f"{SYSTEM}/sharder-webhook"}}})


@suite.case("the README of the chart, and its copies of manifests/, are up to date")
def generated(_):
    done = subprocess.run([ROOT / "scripts" / "chart.py", "--check"], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@suite.case("the dashboards are what their script writes; each panel says what it shows, and in what unit")
def dashboards(env):
    done = subprocess.run([ROOT / "scripts" / "dashboards.py", "--check"], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    rendered = by_name(env.helm.template(*MONITORING, *env.values(monitoring={"dashboards": {
        "labels": {"mine": "yes"}, "annotations": {"grafana_folder": "Sharder"}}})).stdout)
    boards = [item for (kind, _, name), item in rendered.items() if kind == "ConfigMap" and "dashboard" in name]
    assert len(boards) == 3
    for item in boards:
        assert {"mine": "yes", "grafana_dashboard": "1"}.items() <= item["metadata"]["labels"].items(), item["metadata"]
        assert item["metadata"]["annotations"] == {"grafana_folder": "Sharder"}
        text, = item["data"].values()
        panels = [panel for panel in json.loads(text)["panels"] if panel["type"] != "row"]
        assert 10 <= len(panels) <= 20, len(panels)
        for panel in panels:
            assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]


@suite.case("the chart has nothing that `helm lint --strict` minds")
def lint(env):
    env.helm.run("lint", "--strict", "--kube-version", "1.30.0", CHART)


@suite.case("Prometheus takes the alerts, and each fires when it should and not before")
def alerts(env):
    rule = yaml.safe_load((MANIFESTS / "components/monitoring/prometheus_rule.yaml").read_text(encoding="utf-8"))
    (env.folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
    promtool = prometheus.program("promtool")
    checked = subprocess.run([promtool, "check", "rules", env.folder / "rules.yaml"], capture_output=True, text=True,
                             check=False)
    assert not checked.returncode, checked.stdout + checked.stderr
    names = {one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]}
    assert names == set(CASES), f"without a test, or without an alert: {names ^ set(CASES)}"
    (env.folder / "alerts.yaml").write_text(yaml.safe_dump(test_file("rules.yaml")), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", env.folder / "alerts.yaml"], capture_output=True, text=True,
                          check=False)
    assert not done.returncode, done.stdout + done.stderr


@suite.case("each alert names its page; runbookBase makes an address of it")
def runbooks(env):
    def pages(*arguments):
        rule, = (item for item in yaml.safe_load_all(env.helm.template(*MONITORING, *arguments).stdout)
                 if item and item["kind"] == "PrometheusRule")
        return {one["alert"]: one["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for one in group["rules"]}

    base = "monitoring.prometheusRule.runbookBase"
    assert pages() == {alert: f"operate/alerts/{alert}.html" for alert in CASES}, pages()
    addresses = {alert: f"https://docs.example.com/sharder/operate/alerts/{alert}.html" for alert in CASES}
    assert pages("--set", f"{base}=https://docs.example.com/sharder/") == addresses
    assert env.helm.template(*MONITORING, "--set", f"{base}=docs", check=False).returncode


@suite.case("the alerts use metrics that the sharder has")
def metrics(_):
    rules = (MANIFESTS / "components/monitoring/prometheus_rule.yaml").read_text(encoding="utf-8")
    folders = ("kube", "certs", "membership", "ops", "rebalancer", "webhook", "controllerring", "sharder")
    sources = "".join(path.read_text(encoding="utf-8") for folder in folders
                      for path in (ROOT / folder).rglob("*.[ch]*"))
    names = set(re.findall(r"\b(\w+)\{job=", rules)) - {"up"}
    missing = [name for name in names if f'"{name}"' not in sources]
    assert len(names) == 19 and not missing, missing or names


if __name__ == "__main__":
    suite.main()
