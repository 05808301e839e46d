#!/usr/bin/python3
"""A throw-away Kubernetes control plane on loopback ports: etcd, kube-apiserver and, if asked, kube-controller-manager.

    with ControlPlane() as plane:
        plane.install_manifests()
        plane.admin.list("namespaces")

Everything is in a temporary folder and gone afterwards. With $SHARDER_E2E_PROXY the sharder's kubeconfig leads to an
api_proxy.py of that mode. By hand: `control_plane.py` starts one, prints the path of its kubeconfig on the first line of
standard output, and stops it on Ctrl-C or when standard input ends (--stdin).
"""

import argparse
import base64
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import yaml

import api_proxy
import binaries
import pki
from kubeclient import ApiError, Client, Credentials, path_of
from processes import Failed, Process, free_ports, install_signal_handlers, wait_until
from shards import parse_time

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_NAMESPACE = "sharding-system"
SERVICE_ACCOUNT = "sharder"

# The controllers that tests need; the others would cost time and do nothing without nodes.
CONTROLLERS = ("deployment-controller", "replicaset-controller", "job-controller", "cronjob-controller",
               "garbage-collector-controller", "namespace-controller", "serviceaccount-controller")

# What the sharder asks for, and nobody else.
AUDIT_POLICY = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {{level: Metadata, users: ["system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"]}}
- {{level: None}}
"""


# Resources that the sharder patches besides the users' objects.
_SHARDERS_OWN = ("leases", "events", "mutatingwebhookconfigurations", "controllerrings")


@dataclasses.dataclass(frozen=True)
class Patch:
    """A patch of an object by the sharder."""
    time: float
    resource: str
    namespace: str
    name: str
    code: int


def _done(patches):
    """Where connections are cut, patches end with them (504), done or not, and what was done though its answer was lost
    is refused when it is sent anew (409). Without these, except where an object has no other patch: it was done then."""
    answered = [patch for patch in patches if patch.code not in (409, 504)]
    seen = {(patch.resource, patch.namespace, patch.name) for patch in answered}
    for patch in patches:
        if (patch.resource, patch.namespace, patch.name) not in seen:
            seen.add((patch.resource, patch.namespace, patch.name))
            answered.append(dataclasses.replace(patch, code=200))
    return answered


class ControlPlane:
    """One cluster without nodes. start() once; etcd and the API server may be paused, killed and started again."""

    def __init__(self, folder=None, controller_manager=False, audit_log=False, say=lambda line: None, etcd_bytes=None,
                 more_controllers=(), webhook_host=None):
        """`etcd_bytes`: how much etcd takes before it refuses writes; None: as much as it takes by default.
        `more_controllers`: of kube-controller-manager, besides CONTROLLERS. `webhook_host`: "host:port"; when the API
        server calls a webhook there, it shows `webhook_client`, a certificate of `webhook_client_authority`."""
        self._own_folder = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="sharder-e2e-"))
        self._say = say
        self.bin = None
        self._with_controller_manager = controller_manager
        self._etcd_bytes = etcd_bytes
        self._controllers = (*CONTROLLERS, *more_controllers)
        self.audit_log = self.folder / "audit.log" if audit_log else None
        self.etcd = self.apiserver = self.controller_manager = self.proxy = None
        self.port = None
        self.sharder_port = None  # where the sharder finds the API server
        self.authority = None
        self._webhook_host = webhook_host
        self.webhook_client_authority = self.webhook_client = None
        self.admin = None  # a Client that may do everything
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self._sharder_client = None
        self._lock = threading.Lock()
        self._tokens = {}  # by ServiceAccount, guarded by _lock

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.save_logs()
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    # -- life

    def start(self):
        self.bin = binaries.find()
        begin = time.monotonic()
        self._make_pki()
        etcd_port, peer_port, self.port = free_ports(3)
        self._prepare_etcd(etcd_port, peer_port)
        self._prepare_apiserver(etcd_port)
        self._prepare_proxy()
        self.etcd.start()
        self.apiserver.start()
        if self.proxy:
            self.proxy.start()
        self.admin = Client(self.port, self.authority.certificate,
                            Credentials(self._admin.certificate, self._admin.key))
        self.write_kubeconfig(self.kubeconfig, self.admin.credentials)
        self.wait_ready()
        if self._with_controller_manager:
            self.start_controller_manager()
        self._say(f"control plane ready in {time.monotonic() - begin:.1f} s on port {self.port}, {self.folder}")
        return self

    def stop(self):
        for process in (self.controller_manager, self.proxy, self.apiserver, self.etcd):
            if process is not None:
                process.kill()  # nothing in there is worth a graceful shutdown
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def save_logs(self):
        """Copies all logs to build/e2e/failed/, for whoever looks for what went wrong."""
        kept = ROOT / "build" / "e2e" / "failed" / self.folder.name
        try:
            for log in self.folder.rglob("*.log"):
                copy = kept / log.relative_to(self.folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, copy)
            print(f"logs kept in {kept}", flush=True)
        except OSError as error:
            print(f"logs not kept: {error}", flush=True)

    def wait_ready(self, timeout=60):
        def ready():
            status, _ = self.admin.raw("GET", "/readyz")
            # Tokens are made with the namespace, which the API server creates after it is ready.
            return status == 200 and self.admin.raw("GET", path_of("namespaces", None, "default"))[0] == 200

        wait_until(ready, timeout, "the API server is ready", alive=self.apiserver)

    def start_controller_manager(self):
        if self.controller_manager is None:
            self.controller_manager = Process("kube-controller-manager", [
                self.bin / "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
                "--secure-port=0", f"--controllers={','.join(self._controllers)}", "--kube-api-qps=200",
                "--kube-api-burst=400"], self.folder / "controller-manager.log")
        if not self.controller_manager.alive():
            self.controller_manager.start()

    def stop_controller_manager(self):
        if self.controller_manager is not None:
            self.controller_manager.kill()

    def kill_apiserver(self):
        self.apiserver.kill()

    def start_apiserver(self, wait=True):
        """On the same port, with the data that etcd has."""
        self.apiserver.start()
        if wait:
            self.wait_ready()

    def kill_etcd(self):
        self.etcd.kill()

    def start_etcd(self):
        """With the data it had. What it wrote last may be lost: it does not wait for the disk."""
        self.etcd.start()

    def copy_etcd(self):
        """A copy of etcd's data, for restore_etcd(). etcd is away meanwhile."""
        copy = self.folder / "etcd-copy"
        self.kill_etcd()
        shutil.copytree(self.folder / "etcd", copy)
        self.start_etcd()
        self.wait_ready()
        return copy

    def restore_etcd(self, copy):
        """As administrators do it: the API server is down while the data is replaced."""
        self.kill_apiserver()
        self.kill_etcd()
        shutil.rmtree(self.folder / "etcd")
        shutil.copytree(copy, self.folder / "etcd")
        self.start_etcd()
        self.start_apiserver()
    def enlarge_etcd(self):
        """Starts etcd anew with as much room as it takes by default; it forgets that it was full."""
        self.etcd.kill()
        self.etcd.command = [part for part in self.etcd.command if "--quota-backend-bytes" not in part]
        self.etcd.start()

        def alarms(action, **more):
            request = urllib.request.Request(f"http://127.0.0.1:{self._etcd_port}/v3/maintenance/alarm", method="POST",
                                             data=json.dumps({"action": action, **more}).encode())
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer).get("alarms", [])

        def disarmed():
            try:
                for alarm in alarms("GET"):
                    alarms("DEACTIVATE", **alarm)
                return not alarms("GET")
            except OSError:
                return False

        wait_until(disarmed, 20, "etcd takes writes", alive=self.etcd)

    # -- contents

    def kubectl(self, *arguments, stdin=None, check=True):
        """Runs kubectl as administrator; its CompletedProcess, output as text."""
        done = subprocess.run([self.bin / "kubectl", f"--kubeconfig={self.kubeconfig}", *map(str, arguments)],
                              input=stdin, capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, "HOME": str(self.folder)})
        if check and done.returncode:
            raise Failed(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done

    def install_manifests(self, *folders):
        """Applies kustomizations of manifests/: the CRD and the RBAC when none is named."""
        for folder in folders or ("crd", "rbac"):
            self.kubectl("apply", "--server-side", "-k", ROOT / "manifests" / folder)
        if not folders or "crd" in folders:
            self.wait_established("controllerrings.sharding.timebertt.dev", "controllerrings")

    def wait_established(self, crd, resource):
        """Until the API server serves a custom resource."""
        def served():
            status = self.admin.get("customresourcedefinitions", None, crd).get("status", {})
            established = any(condition["type"] == "Established" and condition["status"] == "True"
                              for condition in status.get("conditions") or [])
            return established and self.admin.raw("GET", path_of(resource, limit=1))[0] == 200

        wait_until(served, 20, f"{crd} is established")

    def service_account_token(self, namespace=SYSTEM_NAMESPACE, name=SERVICE_ACCOUNT, seconds=4 * 3600):
        """A token from the TokenRequest API."""
        answer = self.admin.request("POST", path_of("serviceaccounts", namespace, name, "token"), {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}})
        return answer["status"]["token"]

    def client(self, token):
        return Client(self.port, self.authority.certificate, Credentials(token=token))

    def write_kubeconfig(self, path, credentials, server=None):
        """A kubeconfig file with everything inline, as the given person; readable by the owner only. `server`: a URL
        instead of the API server's own."""
        def inline(file):
            return base64.b64encode(Path(file).read_bytes()).decode()

        user = {"token": credentials.token} if credentials.token else {
            "client-certificate-data": inline(credentials.certificate), "client-key-data": inline(credentials.key)}
        text = yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": {"server": server or f"https://127.0.0.1:{self.port}",
                                                     "certificate-authority-data": inline(self.authority.certificate)}}],
            "users": [{"name": "e2e", "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}]}, sort_keys=False)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        return Path(path)

    def sharder_kubeconfig(self, path=None):
        """For the sharder's ServiceAccount, with nothing but the permissions of manifests/ and grant_sharding()."""
        token = self.service_account_token()
        self.wait_allowed(token, verb="list", group="sharding.timebertt.dev", resource="controllerrings")
        self.wait_allowed(token, verb="create", group="coordination.k8s.io", resource="leases",
                          namespace=SYSTEM_NAMESPACE)
        return self.write_kubeconfig(path or self.folder / "sharder.kubeconfig", Credentials(token=token),
                                     f"https://127.0.0.1:{self.sharder_port}")

    def wait_allowed(self, token, **access):
        """Until whoever has this token may do that: `path`, or `verb`, `group` and `resource`. The API server takes up
        roles and bindings a little after it has stored them, and its 403 until then is remembered by some."""
        spec = ({"nonResourceAttributes": {"verb": "get", **access}} if "path" in access else
                {"resourceAttributes": access})
        client = self.client(token)

        def allowed():
            try:
                return client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                    "spec": spec})["status"]["allowed"]
            except ApiError:
                return False  # so soon after its start it may refuse the question itself

        wait_until(allowed, 20, f"RBAC allows {access}")

    def grant_sharding(self, role_name, resources, verbs=("list", "watch", "patch")):
        """What the user of a ring grants the sharder on the ring's resources. `resources`: {group: [resource, ...]}."""
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role_name},
                "rules": [{"apiGroups": [group], "resources": list(names), "verbs": list(verbs)}
                          for group, names in resources.items()]}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                   "metadata": {"name": role_name},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role_name},
                   "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE}]}
        self.admin.apply("clusterroles", None, role, "e2e", force=True)
        self.admin.apply("clusterrolebindings", None, binding, "e2e", force=True)
        token = self.service_account_token()
        for group, names in resources.items():
            for name in names:
                for verb in verbs:
                    self.wait_allowed(token, verb=verb, group=group, resource=name)

    def metrics_token(self):
        """The token of somebody who may read /metrics, and nothing else."""
        with self._lock:
            if "metrics-reader" not in self._tokens:
                self.admin.apply("clusterroles", None, {
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "metadata": {"name": "metrics-reader"},
                    "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}, "e2e", force=True)
            return self._account_token("metrics-reader", "metrics-reader")

    def all_powerful_token(self, name):
        """The token of a ServiceAccount of this name that may do everything. What sends much must not come with a
        client certificate: the API server verifies that for each request, which costs it a fifth of a patch."""
        with self._lock:
            return self._account_token(name, "cluster-admin")

    def _account_token(self, name, role):
        """Of a ServiceAccount in the namespace `default`, bound to a ClusterRole; made when it is first asked for."""
        if name not in self._tokens:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            self.admin.apply("serviceaccounts", "default", account, "e2e", force=True)
            self.admin.apply("clusterrolebindings", None, {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]}, "e2e", force=True)
            token = self.service_account_token("default", name)
            self.wait_allowed(token, path="/metrics")  # both roles that are asked for allow it
            self._tokens[name] = token
        return self._tokens[name]

    def sharder_requests(self):
        """[(verb, resource, code, name or "")] of all requests of the sharder that the audit log has so far."""
        found = []
        for event in self._audit_events():
            reference = event.get("objectRef", {})
            resource = "/".join(part for part in (reference.get("resource"), reference.get("subresource")) if part)
            found.append((event["verb"], resource or event["requestURI"], event["responseStatus"]["code"],
                          reference.get("name", "")))
        return found

    def sharder_patches(self, namespace=None, since=0.0):
        """Patches of objects that the sharder sent since then, from the audit log, once it has all that came before
        this call: [Patch]. Leases and what it keeps for itself are left out, and with --proxy cut what _done() says."""
        self._flush_audit_log()
        found = []
        for event in self._audit_events(since):
            reference = event.get("objectRef", {})
            if (event["verb"] == "patch" and reference.get("resource") not in _SHARDERS_OWN and
                    namespace in (None, reference.get("namespace"))):
                found.append(Patch(parse_time(event["requestReceivedTimestamp"]), reference["resource"],
                                   reference.get("namespace", ""), reference["name"], event["responseStatus"]["code"]))
        return _done(found) if os.environ.get("SHARDER_E2E_PROXY") == "cut" else found

    def sharder_reads(self, resource, since=0.0):
        """(verb, code, URI) of the lists and watches of a resource that the sharder began since then and the audit log
        has. The further pages of a list are left out, and watches that are still open."""
        return [(event["verb"], event["responseStatus"]["code"], event["requestURI"])
                for event in self._audit_events(since)
                if event["verb"] in ("list", "watch") and event.get("objectRef", {}).get("resource") == resource and
                "continue=" not in event["requestURI"]]

    def _audit_events(self, since=0.0):
        written, _, _ = self.audit_log.read_text(encoding="utf-8").rpartition("\n")  # the rest is being written
        events = (json.loads(line) for line in written.splitlines())
        return [event for event in events if parse_time(event["requestReceivedTimestamp"]) >= since]

    def _flush_audit_log(self):
        """Asks, as the sharder, for something that is not there, and waits for that in the audit log."""
        if self._sharder_client is None:
            self._sharder_client = self.client(self.service_account_token())
        marker = f"audit-{time.monotonic_ns()}"
        self._sharder_client.raw("GET", path_of("namespaces", None, marker))
        wait_until(lambda: marker in self.audit_log.read_text(encoding="utf-8"), 20, "the audit log is written",
                   interval=0.1)

    # -- parts

    def _make_pki(self):
        self.authority = pki.Authority(self.folder / "pki", "e2e-ca")
        self._serving = self.authority.issue("apiserver", "/CN=kube-apiserver",
                                             ("127.0.0.1", "localhost", "kubernetes.default.svc"))
        self._admin = self.authority.issue("admin", "/O=system:masters/CN=e2e-admin")
        if self._webhook_host:
            self.webhook_client_authority = pki.Authority(self.folder / "webhook-client", "webhook-client-ca")
            self.webhook_client = self.webhook_client_authority.issue("client", "/CN=kube-apiserver")
        self._token_key = pki.make_key(self.folder / "pki" / "service-account.key")
        self._token_public_key = pki.make_public_key(self._token_key, self.folder / "pki" / "service-account.pub")

    def _prepare_etcd(self, port, peer_port):
        self.etcd = Process("etcd", [
            self.bin / "etcd", "--name=e2e", f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{port}", f"--advertise-client-urls=http://127.0.0.1:{port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-cluster=e2e=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync", "--log-level=warn",
            *([f"--quota-backend-bytes={self._etcd_bytes}"] if self._etcd_bytes else [])], self.folder / "etcd.log")
        self._etcd_port = port

    def _prepare_apiserver(self, etcd_port):
        command = [
            self.bin / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1", f"--secure-port={self.port}", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/16",
            f"--tls-cert-file={self._serving.certificate}", f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self.authority.certificate}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._token_public_key}",
            f"--service-account-signing-key-file={self._token_key}",
            f"--cert-dir={self.folder / 'pki'}", "--profiling=false"]
        if self.audit_log:
            policy = self.folder / "audit-policy.yaml"
            policy.write_text(AUDIT_POLICY, encoding="ascii")
            command += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}",
                        "--audit-log-mode=batch", "--audit-log-batch-max-wait=500ms"]
        if self._webhook_host:
            command.append(f"--admission-control-config-file={self._write_admission_configuration()}")
        self.apiserver = Process("kube-apiserver", command, self.folder / "apiserver.log")

    def _write_admission_configuration(self):
        """As docs/operations.md has it."""
        kubeconfig, configuration = (self.folder / f"admission{end}.yaml" for end in ("-kubeconfig", ""))
        kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [
            {"name": self._webhook_host, "user": {"client-certificate": str(self.webhook_client.certificate),
                                                  "client-key": str(self.webhook_client.key)}}]}), encoding="ascii")
        group = "apiserver.config.k8s.io/v1"
        configuration.write_text(yaml.safe_dump({"apiVersion": group, "kind": "AdmissionConfiguration", "plugins": [
            {"name": "MutatingAdmissionWebhook", "configuration": {
                "apiVersion": group, "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": str(kubeconfig)}}]}),
            encoding="ascii")
        return configuration

    def _prepare_proxy(self):
        self.sharder_port = self.port
        mode = os.environ.get("SHARDER_E2E_PROXY")
        if mode:
            self.sharder_port, = free_ports(1)
            self.proxy = Process("api-proxy", [api_proxy.__file__, mode, self.sharder_port, self.port,
                                               self._serving.certificate, self._serving.key,
                                               self.authority.certificate], self.folder / "api-proxy.log")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--controller-manager", action="store_true", help="run kube-controller-manager too")
    parser.add_argument("--audit-log", action="store_true",
                        help="log the requests of the sharder's ServiceAccount in audit.log")
    parser.add_argument("--no-manifests", action="store_true", help="leave out the CRD and the RBAC of manifests/")
    parser.add_argument("--stdin", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    install_signal_handlers()
    try:
        with ControlPlane(controller_manager=options.controller_manager, audit_log=options.audit_log,
                          say=lambda line: print(line, file=sys.stderr, flush=True)) as plane:
            if not options.no_manifests:
                plane.install_manifests()
                plane.sharder_kubeconfig()
            print(plane.kubeconfig, flush=True)
            if options.stdin:
                sys.stdin.read()
            else:
                while plane.apiserver.alive() and plane.etcd.alive():
                    time.sleep(0.5)
                raise Failed("the control plane ended by itself\n" + plane.apiserver.log_end())
    except KeyboardInterrupt:
        pass
    except (Failed, binaries.Unavailable) as error:
        sys.exit(f"control_plane.py: {error}")


if __name__ == "__main__":
    main()
