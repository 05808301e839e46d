"""A Kubernetes cluster that a test may do everything on: what is put into it, who may do what, and what its audit log has.

ControlPlane (control_plane.py) is one without nodes, Kind (kind/kind.py) a whole one.
"""

import base64
import dataclasses
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import yaml

from kubeclient import ApiError, Client, Credentials, path_of
from processes import Failed, wait_until
from shards import parse_time

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_NAMESPACE = "sharding-system"
SERVICE_ACCOUNT = "sharder"
SHARDER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"  # as the API server knows it

# Resources that the sharder patches besides the users' objects.
_SHARDERS_OWN = ("leases", "events", "mutatingwebhookconfigurations", "controllerrings")


def audit_policy(judged):
    """The policy of an audit log: what the sharder asks for, and nobody else. `judged`: {group: [resource]}, see
    ControlPlane. All writes to these and to Leases are logged with their bodies, twice: when they come and when they
    are done, because of some the end is never seen. All other writes are logged without bodies."""
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    received, started = "RequestReceived", "ResponseStarted"
    rules = []
    if judged:
        resources = [{"group": group, "resources": [part for name in names for part in (name, f"{name}/*")]}
                     for group, names in {**judged, "coordination.k8s.io": ["leases"]}.items()]
        rules = [{"level": "RequestResponse", "verbs": writes, "resources": resources, "omitStages": [started]},
                 {"level": "Metadata", "verbs": writes, "omitStages": [received, started]}]
    rules += [{"level": "Metadata", "users": [SHARDER], "omitStages": [received, started]}, {"level": "None"}]
    return yaml.safe_dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitManagedFields": True,
                           "rules": rules})


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


def stored_objects(events, namespace, *resources):
    """[(event, resource, object)] of the namespace's objects as they were stored, in the order of their resourceVersions,
    by events of an audit log that has them. A dry run stores nothing."""
    found = {}
    for event in events:
        reference, item = event.get("objectRef", {}), event.get("responseObject", {})
        version = item.get("metadata", {}).get("resourceVersion")
        if (reference.get("namespace") == namespace and reference.get("resource") in resources and version and
                "dryRun" not in event["requestURI"]):
            found[int(version)] = (event, reference["resource"], item)
    return [found[version] for version in sorted(found)]


class Cluster:
    """Subclasses set, as soon as they are known: `admin`, a Client that may do everything; `kubectl_program`; `audit_log`; `port` of
    the API server on 127.0.0.1, `ca_file` of its certificate, and `sharder_port`, where the sharder finds it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.audit_log = None
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.admin = self.kubectl_program = None
        self.port = self.sharder_port = self.ca_file = None
        self._lock = threading.Lock()
        self._tokens = {}  # by ServiceAccount, guarded by _lock

    def kubectl(self, *arguments, stdin=None, check=True):
        """Runs kubectl as administrator; its CompletedProcess, output as text."""
        done = subprocess.run([self.kubectl_program, f"--kubeconfig={self.kubeconfig}", *map(str, arguments)],
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
        return Client(self.port, self.ca_file, Credentials(token=token))

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
                                                     "certificate-authority-data": inline(self.ca_file)}}],
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

    def forbid_reading_configurations(self):
        """As the Go project's ClusterRole: the sharder may only create and patch webhook configurations."""
        role = yaml.safe_load((ROOT / "manifests/rbac/role.yaml").read_text(encoding="utf-8").split("---")[0])
        for rule in role["rules"]:
            if "mutatingwebhookconfigurations" in rule["resources"]:
                rule["verbs"] = ["create", "patch"]
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(role))

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

    def sharder_requests(self, since=0.0):
        """[(verb, resource, code, name or "")] of the sharder's requests since then that the audit log has so far."""
        found = []
        for event in self.audit_events(since):
            if event["user"]["username"] != SHARDER:
                continue
            reference = event.get("objectRef", {})
            resource = "/".join(part for part in (reference.get("resource"), reference.get("subresource")) if part)
            found.append((event["verb"], resource or event["requestURI"], event["responseStatus"]["code"],
                          reference.get("name", "")))
        return found

    def sharder_patches(self, namespace=None, since=0.0):
        """Patches of objects that the sharder sent since then, from the audit log, once it has all that came before
        this call: [Patch]. Leases and what it keeps for itself are left out, and with --proxy cut what _done() says."""
        self.flush_audit_log()
        found = []
        for event in self.audit_events(since):
            reference = event.get("objectRef", {})
            if (event["verb"] == "patch" and event["user"]["username"] == SHARDER and
                    reference.get("resource") not in _SHARDERS_OWN and
                    namespace in (None, reference.get("namespace"))):
                found.append(Patch(parse_time(event["requestReceivedTimestamp"]), reference["resource"],
                                   reference.get("namespace", ""), reference["name"], event["responseStatus"]["code"]))
        return _done(found) if os.environ.get("SHARDER_E2E_PROXY") == "cut" else found

    def sharder_reads(self, resource, since=0.0):
        """(verb, code, URI) of the lists and watches of a resource that the sharder began since then and the audit log
        has. The further pages of a list are left out, and watches that are still open."""
        return [(event["verb"], event["responseStatus"]["code"], event["requestURI"])
                for event in self.audit_events(since)
                if event["user"]["username"] == SHARDER and event["verb"] in ("list", "watch") and
                event.get("objectRef", {}).get("resource") == resource and "continue=" not in event["requestURI"]]

    def audit_events(self, since=0.0, begin=0):
        """The events of the audit log, as objects, of requests that have ended. `begin`: leaves out so many bytes."""
        written, _, _ = self._audit_log_from(begin).rpartition(b"\n")  # the rest is being written
        events = (json.loads(line) for line in written.splitlines())
        return [event for event in events if event["stage"] != "RequestReceived" and
                parse_time(event["requestReceivedTimestamp"]) >= since]

    def flush_audit_log(self):
        """Until the audit log has all that came before: asks, as the sharder, for something that is not there. The
        number of bytes of what came before, for audit_events()."""
        marker, begin = f"audit-{time.monotonic_ns()}".encode(), self.audit_log.stat().st_size
        self.client(self.service_account_token()).raw("GET", path_of("namespaces", None, marker.decode()))
        wait_until(lambda: marker in self._audit_log_from(begin), 20, "the audit log is written", interval=0.1)
        written, _, _ = self._audit_log_from(begin).partition(marker)
        return begin + written.rfind(b"\n") + 1

    def _audit_log_from(self, begin):
        with open(self.audit_log, "rb") as file:
            file.seek(begin)
            return file.read()
