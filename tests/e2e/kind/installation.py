"""What operators put into a cluster: our manifests by kustomize or our chart, the Go project, cert-manager."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml

import images
from kind_cluster import FOLDER, ROOT  # first: it finds the modules of tests/e2e

import documents
from cluster import SYSTEM_NAMESPACE
from processes import Failed, Process, free_ports, wait_until
from shards import parse_time

sys.path.insert(0, str(ROOT / "tests" / "chart"))

from programs import CHART, Helm  # pylint: disable=wrong-import-position

SELECTOR = "app.kubernetes.io/component=sharder"
CRD = "controllerrings.sharding.timebertt.dev"
CERT_MANAGER_NAMESPACE = "cert-manager"


class Installation:
    """One sharder in a cluster, however it got there."""

    def __init__(self, cluster):
        self.cluster, self.admin, self.kubectl = cluster, cluster.admin, cluster.kubectl
        self._helm = Helm(FOLDER, cluster.kubeconfig)

    # -- installing

    def apply(self, overlay):
        """As docs/install/kustomize.md says: a kustomization beside the checkout that names the overlay and the image."""
        folder = FOLDER / "kustomization"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        name, tag = images.SHARDER.rsplit(":", 1)
        # kustomize takes no absolute path.
        kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                         "resources": [os.path.relpath(ROOT / "manifests" / "overlays" / overlay, folder)],
                         "images": [{"name": "sharder", "newName": name, "newTag": tag}]}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization, sort_keys=False), encoding="utf-8")
        # --force-conflicts: an installation that another tool made is taken over.
        self.kubectl("apply", "--server-side", "--force-conflicts", "-k", folder)
        self.wait_rollout()

    def delete(self):
        """What apply() applied last."""
        self.kubectl("delete", "-k", FOLDER / "kustomization", "--wait=true", "--timeout=100s")

    def helm(self, verb, *arguments, check=True, **values):
        """`helm VERB sharder` in sharding-system, with the chart, our image, and values where it takes them."""
        if verb == "install":
            name, tag = images.SHARDER.rsplit(":", 1)
            values.setdefault("image", {"repository": name, "tag": tag})
            path = FOLDER / "values.yaml"
            path.write_text(yaml.safe_dump(values), encoding="utf-8")
            arguments = (CHART, *arguments, "--create-namespace", "--wait", "--timeout=120s", "--values", path)
        return self._helm.run(verb, "sharder", *arguments, "--namespace", SYSTEM_NAMESPACE, check=check)

    def apply_go_project(self, image=images.GO_SHARDER):
        """The Go project's own manifests, with cert-manager."""
        source = images.go_project()
        copied = FOLDER / "go-project"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(source / "config", copied / "config")
        subprocess.run(["chmod", "-R", "u+w", copied], check=True)
        name, tag = image.rsplit(":", 1)
        (copied / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["config/default"],
            "images": [{"name": "ghcr.io/timebertt/kubernetes-controller-sharding/sharder", "newName": name,
                        "newTag": tag}]}), encoding="ascii")
        self.kubectl("apply", "--server-side", "--force-conflicts", "-k", copied)
        self.wait_rollout()

    def set_image(self, image):
        self.kubectl("-n", SYSTEM_NAMESPACE, "set", "image", "deployment/sharder", f"sharder={image}")
        self.wait_rollout()

    # -- what runs

    def restart(self):
        self.kubectl("-n", SYSTEM_NAMESPACE, "rollout", "restart", "deployment/sharder")
        self.wait_rollout()

    def scale(self, replicas):
        self.kubectl("-n", SYSTEM_NAMESPACE, "scale", "deployment/sharder", f"--replicas={replicas}")
        self.wait_rollout()

    def wait_rollout(self):
        """Until the Deployment's pods are ready and those of its earlier version are gone."""
        try:
            self.kubectl("-n", SYSTEM_NAMESPACE, "rollout", "status", "deployment/sharder", "--timeout=110s")
        except Failed as error:
            raise Failed(f"{error}: {self.describe()}") from None
        replicas = self.deployment()["spec"]["replicas"]
        wait_until(lambda: len(self.pods()) == replicas, 60, "the pods of the earlier version are gone", interval=0.2)

    def describe(self):
        """Why the pods are not ready, as their Events and logs say."""
        events = [event.get("message", "") for event in self.admin.list("events", SYSTEM_NAMESPACE)][-5:]
        return " | ".join([*events, *(self.log(pod, 5) for pod in self.pods())])

    def deployment(self):
        return self.admin.get("deployments", SYSTEM_NAMESPACE, "sharder")

    def pods(self):
        return [pod for pod in self.admin.list("pods", SYSTEM_NAMESPACE, labelSelector=SELECTOR)
                if pod["status"]["phase"] in ("Pending", "Running")]

    def log(self, pod, lines=-1):
        return self.kubectl("-n", SYSTEM_NAMESPACE, "logs", pod["metadata"]["name"], f"--tail={lines}",
                            check=False).stdout

    def leader(self):
        """The pod that leads; None while none does."""
        lease = self.admin.find("leases", SYSTEM_NAMESPACE, "sharder")
        holder = (lease or {"spec": {}})["spec"].get("holderIdentity") or ""
        return next((pod for pod in self.pods() if holder.startswith(pod["metadata"]["name"])), None)

    def wait_leader(self, other_than=None):
        def leads():
            pod = self.leader()
            return pod if pod and pod["metadata"]["name"] != other_than else None
        return wait_until(leads, 40, "a leader", interval=0.2)

    def delete_pod(self, pod):
        self.kubectl("-n", SYSTEM_NAMESPACE, "delete", "pod", pod["metadata"]["name"], "--wait=true", "--timeout=60s")

    def footprint(self):
        """A line for each pod: how long it took from its container's start until it was ready, and its memory now."""
        lines = []
        for pod in self.pods():
            status = pod["status"]
            started = status["containerStatuses"][0]["state"]["running"]["startedAt"]
            ready = next(one["lastTransitionTime"] for one in status["conditions"] if one["type"] == "Ready")
            lines.append(f"ready {parse_time(ready) - parse_time(started):.0f} s after its start, "
                         f"{self.cluster.resident_bytes(pod) / (1 << 20):.1f} MiB resident")
        return "; ".join(lines)

    @contextlib.contextmanager
    def forwarded(self, pod, port):
        """A port of this machine that leads to a port of a pod."""
        own, = free_ports(1)
        name = pod["metadata"]["name"]
        process = Process(f"port-forward-{name}", [
            self.cluster.kubectl_program, f"--kubeconfig={self.cluster.kubeconfig}", "-n", pod["metadata"]["namespace"],
            "port-forward", f"pod/{name}", f"{own}:{port}"], FOLDER / "port-forward.log").start()
        try:
            wait_until(lambda: _connects(own), 20, f"kubectl forwards to {name}", alive=process)
            yield own
        finally:
            process.kill()

    # -- what is left

    def all_ours(self):
        """[(kind, name)] of whatever an installation of any kind made, or its sharder."""
        found = []
        for kinds, where in (("all,configmaps,secrets,leases,roles,rolebindings,networkpolicies,poddisruptionbudgets,"
                              "resourcequotas,serviceaccounts", ("-n", SYSTEM_NAMESPACE)),
                             ("clusterroles,clusterrolebindings,crd,mutatingwebhookconfigurations,namespaces", ())):
            for item in json.loads(self.kubectl("get", kinds, *where, "-o", "json").stdout)["items"]:
                name, labels = item["metadata"]["name"], item["metadata"].get("labels", {})
                by_kubernetes = name in ("kube-root-ca.crt", "default")
                if where and not by_kubernetes or labels.get("app.kubernetes.io/name") == "controller-sharding" or (
                        name.startswith(("controllerring-", "sharding:"))):
                    found.append((item["kind"], name))
        return found

    def wait_nothing_left(self, timeout=90):
        left = []

        def nothing():
            left[:] = self.all_ours()
            return not left

        try:
            wait_until(nothing, timeout, "nothing is left", interval=0.5)
        except Failed as error:
            raise Failed(f"{error}: {left}") from None

    def remove_rings(self):
        """As docs/install/remove.md says: until the webhook configurations are gone, too."""
        rings, _ = documents.blocks("install/remove.md", "kind")
        documents.run(rings, self.cluster.kubeconfig, self.cluster.kubectl_program.parent)

    def remove_everything(self):
        """Of any installation, so that the next file begins with none."""
        if self.admin.find("customresourcedefinitions", None, CRD):
            self.remove_rings()
        if self.helm("status", check=False).returncode == 0:
            self.helm("uninstall", "--wait")
        overlays = [ROOT / "manifests" / "overlays" / name for name in ("cert-manager", "self-managed", "existing-secret")]
        for folder in (*overlays, *filter(Path.exists, [FOLDER / "go-project"])):
            self.kubectl("delete", "-k", folder, "--ignore-not-found", "--timeout=100s", check=False)
        self.kubectl("delete", "namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--timeout=100s")
        self.wait_nothing_left()


def _connects(port):
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return True


def install_cert_manager(cluster):
    """The real one, by its own chart; once for a cluster."""
    if cluster.admin.find("namespaces", None, CERT_MANAGER_NAMESPACE):
        return
    source, copied = images.cert_manager(), FOLDER / "cert-manager"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(source / "deploy" / "charts" / "cert-manager", copied)
    subprocess.run(["chmod", "-R", "u+w", copied], check=True)
    chart = (copied / "Chart.template.yaml").read_text(encoding="utf-8").replace("v0.1.0",
                                                                                f"v{images.CERT_MANAGER[1]}")
    (copied / "Chart.yaml").write_text(chart, encoding="utf-8")
    (copied / "Chart.template.yaml").unlink()
    for crd in sorted((source / "deploy" / "crds").glob("crd-*.yaml")):
        lines = crd.read_text(encoding="utf-8").splitlines()  # what its release fills in: labels alone
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin="\n".join(
            line for line in lines if "{{" not in line))

    def image(program):
        name, tag = images.cert_manager_image(program).split(":")
        return {"repository": name, "tag": tag}

    values = FOLDER / "cert-manager-values.yaml"
    values.write_text(yaml.safe_dump({
        "image": image("controller"), "cainjector": {"image": image("cainjector")},
        "webhook": {"image": image("webhook")}, "startupapicheck": {"enabled": False},
        "global": {"leaderElection": {"namespace": CERT_MANAGER_NAMESPACE}}}), encoding="ascii")
    Helm(FOLDER, cluster.kubeconfig).run(
        "install", "cert-manager", copied, "--namespace", CERT_MANAGER_NAMESPACE, "--create-namespace", "--values",
        values, "--wait", "--timeout=170s")
    # Ready, and yet its webhook may not be trusted for a moment.
    issuer = yaml.safe_dump({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "probe"},
                             "spec": {"selfSigned": {}}})
    deadline = time.monotonic() + 90
    while cluster.kubectl("-n", CERT_MANAGER_NAMESPACE, "apply", "-f", "-", stdin=issuer, check=False).returncode:
        if time.monotonic() > deadline:
            raise Failed("cert-manager's webhook does not answer")
        time.sleep(0.5)
    cluster.kubectl("-n", CERT_MANAGER_NAMESPACE, "delete", "issuer", "probe")
