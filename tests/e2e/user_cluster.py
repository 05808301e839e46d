"""Somebody's cluster, on which `make run KUBECONFIG=FILE` shows the sharder: what it may do there, how it is reached from
there, and taking back all that was put there."""

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import yaml

import binaries
import reach
from cluster import ROOT
from kubeclient import ApiError, Client, Credentials, path_of
from processes import Failed, Process, free_ports, wait_until
from shards import parse_time

CRD = "controllerrings.sharding.timebertt.dev"
RINGS = "sharding.timebertt.dev"
CLEAN_UP_SECONDS = 60
ADVICE = (
    "What helps: make run KUBECONFIG=FILE WEBHOOK_HOST=HOST:PORT, with the address of a tunnel that leads from the network of",
    "the API server to this machine, which listens on PORT, or with an address of this machine and a port that its firewall",
    "lets through; or the sharder in the cluster itself, by manifests/ (docs/install/kustomize.md).")
MAX_NODES = 50  # a machine reaches the nodes of one cluster in one way or two

# What the demonstration and the sharder do as the person of the kubeconfig: (group, resource, verbs).
RIGHTS = (
    ("", "namespaces", "create delete get list watch"),
    ("", "secrets", "create list patch watch"),
    ("", "configmaps", "create list patch watch"),
    ("", "events", "create deletecollection patch"),
    ("coordination.k8s.io", "leases", "create delete get list patch update watch"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create delete get list patch watch"),
    (RINGS, "controllerrings", "create delete get list watch"),
    (RINGS, "controllerrings/status", "patch update"),
)
RIGHTS_ON_CRDS = (("apiextensions.k8s.io", "customresourcedefinitions", "create delete get patch"),)


def say(line=""):
    print(line, flush=True)


class ProxyClient(Client):
    """A cluster through `kubectl proxy`, which knows every kind of credentials."""

    def __init__(self, port):
        super().__init__(port, None, Credentials())

    def open_connection(self, timeout):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


@contextlib.contextmanager
def undisturbed():
    """Ctrl-C and requests to end are ignored meanwhile, also by programs that are started."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal disturbs another thread than the main one
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


class UserCluster:
    """The cluster of a kubeconfig file. ask() first; as a context manager it makes the namespace `name`, and takes back
    everything that was put there: ring, webhook configurations, namespace, Events, and the CRD if it was not there."""

    def __init__(self, kubeconfig, name):
        self.name = name
        self.folder = None
        self._kubectl = shutil.which("kubectl") or binaries.find() / "kubectl"
        self._source = Path(kubeconfig).expanduser()
        self._touched = self._installed_crd = False
        self.admin = self._proxy = None
        self.server = ""

    # -- before anything is touched

    def ask(self, yes):
        """Says which cluster this is; True when the person at the terminal wants it, or has said so before."""
        if not self._source.is_file():
            raise Failed(f"there is no file {self._source}")
        view = yaml.safe_load(self.kubectl("config", "view", "--minify"))
        self.server = view["clusters"][0]["cluster"]["server"]
        say(f"cluster:  {self.server}")
        say(f"context:  {view['current-context']}, of {self._source}")
        say(f"will make there: namespace and ControllerRing {self.name}, webhook configurations of the same name, and the")
        say(f"CRD {CRD} if it is missing. All of it is removed at the end.")
        say("will listen here: for the webhook, on an address of this machine that the API server reaches; on loopback for the")
        say("status page, and for the figures of sharder and shards.")
        if yes:
            return True
        if not sys.stdin.isatty():
            raise Failed("make run KUBECONFIG=FILE asks before it touches a cluster: run it in a terminal, or say YES=1")
        try:
            return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            say()
            return False

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sharder-run-"))
        try:
            self.kubectl("get", "--raw", "/version")  # says better than a proxy why it does not answer
            port = free_ports(1)[0]
            self._proxy = Process("kubectl-proxy", [self._kubectl, f"--kubeconfig={self._source}", "proxy",
                                                    f"--port={port}"], self.folder / "proxy.log")
            self._proxy.start()
            self.admin = ProxyClient(port)
            wait_until(lambda: self.admin.raw("GET", "/version")[0] == 200, 15, "the cluster answers",
                       alive=self._proxy)
            self._check_rights()
            self._check_alone()
            self._touched = True
            self.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace",
                                                   "metadata": {"name": self.name}})
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _check_rights(self):
        if self._may("*", "*", "*"):
            return
        needed = RIGHTS + (() if self._serves_rings() else RIGHTS_ON_CRDS)
        lacking = [f"  {verb} {resource}{'.' if group else ''}{group}" for group, resource, verbs in needed
                   for verb in verbs.split() if not self._may(verb, group, resource)]
        if lacking:
            raise Failed("the user of this kubeconfig may not do, in the whole cluster, what this demonstration does:\n" +
                         "\n".join(lacking))

    def _may(self, verb, group, resource):
        resource, _, subresource = resource.partition("/")
        return self.admin.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource,
                                       "subresource": subresource}}})["status"]["allowed"]

    def _serves_rings(self):
        return self.admin.raw("GET", f"/apis/{RINGS}/v1alpha1")[0] == 200

    def _check_alone(self):
        """Of two sharders each would lead the rings of the other."""
        if self._serves_rings() and self.admin.list("controllerrings"):
            raise Failed("this cluster has ControllerRings already, and this demonstration would lead them too: "
                         "use a cluster without")
        for lease in self.admin.list("leases", fieldSelector="metadata.name=sharder"):
            spec = lease["spec"]
            if (spec.get("holderIdentity") and "renewTime" in spec and
                    parse_time(spec["renewTime"]) + spec.get("leaseDurationSeconds", 0) > time.time()):
                raise Failed(f"a sharder runs in this cluster already, it holds the Lease sharder of namespace "
                             f"{lease['metadata']['namespace']}, and would lead the ring of this demonstration: "
                             "use a cluster without")

    # -- with the namespace

    def reached_at(self, webhook_host=None):
        """The reach.Address where the API server reaches this machine: of those that are likely, or the one given."""
        machine, port = reach.Machine(), free_ports(1)[0]
        hints = []
        if webhook_host:
            addresses = [reach.given(webhook_host, machine, port)]
        else:
            addresses = reach.candidates(urllib.parse.urlsplit(self.server).hostname, self._nodes(hints), machine, port)
        say("looking for an address of this machine that the API server reaches")
        said = []
        if addresses:
            with reach.Probe(self.admin, f"{self.name}-probe", self.name, addresses, self.folder / "probe") as probe:
                for address in addresses:
                    refusal = probe.refusal(address)
                    if refusal is None:
                        say(f"webhook:  {address.url} ({address.why})")
                        return address
                    said.append(f"  {address.url} ({address.why}):\n      {refusal}")
        raise Failed("\n".join([
            "the API server cannot call the webhook: it reaches no address of this machine. What was tried, and what the "
            "API server said:", *said, *(f"  {hint}" for hint in hints), *ADVICE]))

    def _nodes(self, hints):
        """(name, InternalIP) of the nodes; what is in the way of knowing them is added to `hints`."""
        try:
            nodes = self.admin.request("GET", f"/api/v1/nodes?limit={MAX_NODES}")["items"]
        except ApiError as error:
            hints.append(f"(the nodes, which would show the way to them, cannot be listed: {error.message})")
            return []
        found = [(node["metadata"]["name"], address["address"]) for node in nodes
                 for address in node.get("status", {}).get("addresses", []) if address["type"] == "InternalIP"]
        if not found:
            hints.append("(the cluster shows no node with an InternalIP, to which there might be a way)")
        return found

    def install_crd(self):
        if self._serves_rings():
            return
        self._installed_crd = True  # from now on something may be there
        self.kubectl("apply", "--server-side", "-k", ROOT / "manifests" / "crd")
        wait_until(lambda: self.admin.raw("GET", path_of("controllerrings"))[0] == 200, 20, "the CRD is served")

    def kubectl(self, *arguments):
        try:
            done = subprocess.run([self._kubectl, f"--kubeconfig={self._source}", "--request-timeout=30s",
                                   *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"kubectl {arguments[0]}: no end within 60 s") from None
        if done.returncode:
            raise Failed(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def sharder_kubeconfig(self, path):
        """A copy with everything inline."""
        path.touch(mode=0o600)
        path.write_text(self.kubectl("config", "view", "--raw", "--flatten", "--minify"), encoding="utf-8")
        return path

    # -- afterwards

    def __exit__(self, kind, *_):
        with undisturbed():
            left = self._clean_up() if self._touched else []
            if self._proxy is not None:
                self._proxy.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
        if left:
            text = "\n".join(["could not be removed from the cluster:", *left])
            if kind is None:
                raise Failed(text)
            say(text)

    def _clean_up(self):
        """Removes all that was put there, and waits until it is gone; a line for each thing that stays."""
        with contextlib.suppress(OSError):  # the terminal may be gone
            say("cleaning up")
        deadline = time.monotonic() + CLEAN_UP_SECONDS
        left = [f"  {resource} {name}: {reason}" for resource, name in (
            ("controllerrings", self.name),
            ("mutatingwebhookconfigurations", f"controllerring-{self.name}"),
            ("mutatingwebhookconfigurations", f"{self.name}-probe"),
            ("namespaces", self.name)) if (reason := self._remove(resource, name, deadline))]
        with contextlib.suppress(OSError, http.client.HTTPException):
            # The ring has no namespace; Events about it are in this one.
            self.admin.raw("DELETE", path_of("events", "default", fieldSelector=f"involvedObject.name={self.name}"))
        if self._installed_crd:
            left += self._remove_crd(deadline)
        return left

    def _remove_crd(self, deadline):
        try:
            others = [ring["metadata"]["name"] for ring in self.admin.list("controllerrings")]
        except (OSError, http.client.HTTPException, ApiError):
            others = []  # they are not served (yet)
        if others:
            return [f"  customresourcedefinitions {CRD}: there are rings of somebody else by now: {', '.join(others)}"]
        reason = self._remove("customresourcedefinitions", CRD, deadline)
        return [f"  customresourcedefinitions {CRD}: {reason}"] if reason else []

    def _remove(self, resource, name, deadline):
        """Deletes the object until it is gone; after the deadline: what is in the way."""
        path = path_of(resource, None, name)
        while True:
            try:
                status, body = self.admin.raw("DELETE", path)
                if status == 404:
                    return None
                reason = _in_the_way(json.loads(body)) or f"the API server answers {status}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = str(error)
            if time.monotonic() > deadline:
                return reason
            time.sleep(0.2)


def _in_the_way(answer):
    """What an answer to DELETE says about why the object is still there: a metav1.Status, or the object."""
    conditions = answer["status"].get("conditions", []) if isinstance(answer.get("status"), dict) else []
    return " ".join(one["message"] for one in conditions if one.get("message") and one["status"] == "True") or \
        answer.get("message", "")
