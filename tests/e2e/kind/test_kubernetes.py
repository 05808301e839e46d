#!/usr/bin/python3
"""What Kubernetes itself makes, on nodes: Jobs, CronJobs, Deployments with their ReplicaSets and Pods, sharded by several
rings at once; quotas, other webhooks, a namespace that is deleted."""

import base64
import contextlib
import http.server
import json
import ssl
import threading
import urllib.parse

import yaml

from whole import Whole  # first: it finds the modules of tests/e2e
from kind_cluster import FOLDER, docker
import images

import oracle
import pki
from environment import SECRETS, CONFIG_MAPS
from kubeclient import ApiError
from processes import free_ports, wait_until
from suite import Suite

DEPLOYMENTS = ("apps", "deployments", "v1", "Deployment")
REPLICA_SETS = ("apps", "replicasets", "v1", "ReplicaSet")
PODS = ("", "pods", "v1", "Pod")
JOBS = ("batch", "jobs", "v1", "Job")
CRON_JOBS = ("batch", "cronjobs", "v1", "CronJob")
NAMES = ["shard-a", "shard-b", "shard-c"]
# A program that ends at once.
SHORT = {"name": "short", "image": images.SHARDER, "args": ["--version"]}


class Kubernetes(Whole):
    """The chart with its defaults."""

    def __init__(self, short):
        super().__init__(short, lambda env: env.installation.helm("install"))

    @contextlib.contextmanager
    def working(self, name, resources):
        """A ring with three shards that work, over a namespace of its own, which is deleted afterwards."""
        ring = self.ring(name, resources)
        try:
            with ring.shards(*NAMES, working=True) as shards:
                wait_until(lambda: ring.condition().get("status") == "True" and
                           ring.status().get("availableShards") == len(NAMES), 30, f"the ring {name} is ready")
                yield ring, shards
        finally:
            self.plane.kubectl("delete", "controllerring", name, "--timeout=60s", check=False)
            self.plane.kubectl("delete", "namespace", ring.namespace, "--wait=false", check=False)


suite = Suite("kind: Kubernetes", Kubernetes, parallel=False)


def _pod(container, **more):
    return {"spec": {"containers": [container], "automountServiceAccountToken": False, **more}}


def _deployment(name, image, replicas=2):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, **_pod({"name": "lasting", "image": image})}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                                                 "template": template}}


def _job(restart="Never"):
    return {"template": _pod(SHORT, restartPolicy=restart), "backoffLimit": 0}


@suite.case("Deployments, ReplicaSets and Pods: each gets its shard, keeps working while a shard joins and one leaves, and goes "
            "with its owner")
def deployments(env):
    with env.working("web", ((DEPLOYMENTS, (REPLICA_SETS,)), (PODS, ()))) as (ring, shards):
        ring.wait_webhook()
        image = env.plane.pause_image()
        for number in range(6):
            env.admin.create("deployments", ring.namespace, _deployment(f"web-{number}", image))
        wait_until(lambda: len(env.admin.list("pods", ring.namespace)) == 12, 60, "12 pods")
        ring.wait_settled(NAMES, 30)
        assert all(oracle.shard_of(item, "web") for item in ring.items("replicasets")), "ReplicaSets have their shards"
        for number in range(6):
            env.plane.kubectl("-n", ring.namespace, "set", "env", f"deployment/web-{number}", "ROLLED=1")
        shards.start("shard-d")
        shards.release("shard-a")
        wait_until(lambda: ring.status().get("availableShards") == 3, 30, "shard-d in place of shard-a")
        ring.wait_settled(["shard-b", "shard-c", "shard-d"], 60)
        env.plane.kubectl("-n", ring.namespace, "delete", "deployments", "--all", "--cascade=foreground", "--timeout=90s")
        wait_until(lambda: not ring.items("replicasets"), 60, "ReplicaSets are gone")
        assert not shards.lost, shards.lost


@suite.case("Jobs and CronJobs, sharded by two rings at once: all Jobs complete, each object has a shard of each ring")
def jobs(env):
    with env.working("batch", ((CRON_JOBS, (JOBS,)), (JOBS, ()))) as (ring, _):
        second = env.ring("batch-too", ((JOBS, (PODS,)),), namespace=ring.namespace)
        with second.shards("other-a", "other-b"):
            wait_until(lambda: second.condition().get("status") == "True", 30, "the second ring is ready")
            for one in (ring, second):
                one.wait_webhook()
            env.admin.create("cronjobs", ring.namespace, {"metadata": {"name": "tick"}, "spec": {
                "schedule": "* * * * *", "jobTemplate": {"spec": _job()}}})
            for number in range(12):
                env.admin.create("jobs", ring.namespace, {"metadata": {"name": f"job-{number}"}, "spec": _job()})

            def complete():
                items = ring.items("jobs")
                return len(items) >= 13 and all(item.get("status", {}).get("succeeded") for item in items)

            wait_until(complete, 120, "12 Jobs and one of the CronJob complete", interval=0.5)
            env.plane.kubectl("-n", ring.namespace, "patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
            ring.wait_settled(NAMES, 30)
            second.wait_settled(["other-a", "other-b"], 30)
        env.plane.kubectl("delete", "controllerring", "batch-too", "--timeout=60s")


@suite.case("a namespace is deleted while its objects move to other shards: it goes in time")
def terminated(env):
    with env.working("leaving", ((SECRETS, (CONFIG_MAPS,)),)) as (ring, shards):
        ring.wait_webhook()
        ring.create_secrets(400, owned=200)
        shards.start("shard-d")
        shards.release("shard-b")
        env.plane.kubectl("delete", "namespace", ring.namespace, "--timeout=60s")


@suite.case("ResourceQuota and LimitRange: the quota refuses what it should, and what it admits has its shard")
def quotas(env):
    with env.working("limited", ((SECRETS, ()), (PODS, ()))) as (ring, _):
        ring.wait_webhook()
        env.plane.kubectl("-n", ring.namespace, "create", "quota", "few", "--hard=count/secrets=20,pods=5")
        env.plane.kubectl("-n", ring.namespace, "apply", "-f", "-", stdin=yaml.safe_dump({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": [{
                "type": "Container", "default": {"cpu": "100m"}, "defaultRequest": {"cpu": "10m"}}]}}))
        wait_until(lambda: env.plane.kubectl("-n", ring.namespace, "get", "quota", "few", "-o",
                                             "jsonpath={.status.hard}").stdout, 20, "the quota counts")
        refused = 0
        for number in range(30):
            try:
                env.admin.create("secrets", ring.namespace, {"metadata": {"name": f"s-{number}"}})
            except ApiError as error:
                assert error.status == 403 and "exceeded quota" in error.message, error
                refused += 1
        assert refused == 10, refused
        pod = env.admin.create("pods", ring.namespace, {"metadata": {"name": "limited"},
                                                        **_pod(SHORT, restartPolicy="Never")})
        assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "10m"}, pod["spec"]
        ring.wait_settled(NAMES)


class OtherWebhook:
    """A mutating webhook of somebody else on this machine, which puts an annotation on each Secret, and takes our label off
    where it is asked to."""

    def __init__(self, env):
        self._env = env
        gateway = json.loads(docker("network", "inspect", "kind").stdout)[0]["IPAM"]["Config"]
        self.host = next(one["Gateway"] for one in gateway if "." in one.get("Gateway", ""))
        authority = pki.Authority(FOLDER / "other-webhook")
        pair = authority.issue("webhook", "/CN=other", (self.host,))
        self.port, = free_ports(1)
        self._server = http.server.ThreadingHTTPServer((self.host, self.port), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._ca = authority.certificate.read_bytes()
        self._names = []

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        for name in self._names:
            self._env.admin.delete("mutatingwebhookconfigurations", None, name)
        self._server.shutdown()
        self._server.server_close()

    def register(self, name, namespace, path):
        self._names.append(name)
        self._env.admin.create("mutatingwebhookconfigurations", None, {"metadata": {"name": name}, "webhooks": [{
            "name": f"{name}.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}],
            "clientConfig": {"url": f"https://{self.host}:{self.port}/{path}",
                             "caBundle": base64.b64encode(self._ca).decode()}}]})


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        metadata = request["object"]["metadata"]
        mark = urllib.parse.urlsplit(self.path).path.strip("/")
        patch = []
        if mark not in metadata.get("annotations", {}):
            patch = [{"op": "add", "path": "/metadata/annotations",
                      "value": {**metadata.get("annotations", {}), mark: "seen"}}]
        response = {"uid": request["uid"], "allowed": True}
        if patch:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@suite.case("webhooks of others before and after ours, with reinvocation: all changes are there, each object has its shard")
def other_webhooks(env):
    with env.working("shared", ((SECRETS, ()),)) as (ring, _), OtherWebhook(env) as other:
        ring.wait_webhook()
        other.register("a-first", ring.namespace, "first")
        other.register("z-last", ring.namespace, "last")

        def both():
            made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": "probe"}}, dryRun="All")
            return set(made["metadata"].get("annotations", {})) >= {"first", "last"}

        wait_until(both, 20, "the API server calls both")
        for number in range(50):
            made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": f"s-{number}"}})
            assert set(made["metadata"]["annotations"]) == {"first", "last"}, made
            assert oracle.shard_of(made, ring.name) == oracle.Ring(NAMES).owner(
                f"/Secret/{ring.namespace}/s-{number}"), made


if __name__ == "__main__":
    suite.main()
