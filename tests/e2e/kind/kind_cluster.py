"""A whole cluster by kind: a control plane and two workers, each a container of docker.

$KIND and $KIND_NODE_IMAGE name the program and the image of its nodes; by default the program is built from its Go module,
and the image is kind's own. The API server writes an audit log, and shows admission webhooks a client certificate, which
only a sharder with webhook.server.clientCAFile asks for.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import binaries  # pylint: disable=wrong-import-position
import pki  # pylint: disable=wrong-import-position
from cluster import ROOT, SHARDER, SYSTEM_NAMESPACE, Cluster  # pylint: disable=wrong-import-position
from kubeclient import Client, Credentials  # pylint: disable=wrong-import-position
from processes import Failed, wait_until  # pylint: disable=wrong-import-position

KIND = ("sigs.k8s.io/kind", "0.33.0", "")
FOLDER = ROOT / "build" / "e2e" / "kind"
NAME = "sharder-e2e"
WORKERS = 2

# What the sharder asks for, and what anybody writes to the objects that tests shard.
AUDIT_POLICY = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {{level: Metadata, users: ["{SHARDER}"]}}
- level: Metadata
  verbs: [create, update, patch]
  resources:
  - {{group: "", resources: [secrets, configmaps]}}
- {{level: None}}
"""

# The API server's identity towards webhooks (kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers).
ADMISSION = """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: MutatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: /e2e/admission.kubeconfig
"""


def docker(*arguments, check=True, **more):
    done = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True, check=False,
                          timeout=600, **more)
    if check and done.returncode:
        raise Failed(f"docker {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done


class Kind(Cluster):
    """The one cluster of a run. create() makes it, attach() takes the one that is there, by whichever process."""

    def __init__(self):
        super().__init__(FOLDER)
        self.api_folder = FOLDER / "apiserver"  # /e2e of the API server
        self.audit_log = self.api_folder / "audit.log"
        self.admission_ca = FOLDER / "pki" / "ca.crt"  # of the API server's certificate towards webhooks
        self.nodes = [f"{NAME}-control-plane", f"{NAME}-worker", *(f"{NAME}-worker{n}" for n in range(2, WORKERS + 1))]

    # -- life

    def create(self):
        self.delete()
        self.api_folder.mkdir(parents=True, exist_ok=True)
        self.audit_log.unlink(missing_ok=True)
        self._write_api_server_files()
        config = self.folder / "cluster.yaml"
        config.write_text(yaml.safe_dump(self._config(), sort_keys=False), encoding="ascii")
        image = os.environ.get("KIND_NODE_IMAGE")
        self.kind("create", "cluster", f"--config={config}", f"--kubeconfig={self.kubeconfig}", "--wait=180s",
                  *([f"--image={image}"] if image else []))
        return self.attach()

    def attach(self):
        """The cluster that create() made."""
        if not self.kubeconfig.exists():
            raise Failed("there is no cluster: tests/e2e/kind/run.py --keep makes one")
        self.kubectl_program = binaries.find() / "kubectl"
        config = yaml.safe_load(self.kubeconfig.read_text(encoding="ascii"))
        server = config["clusters"][0]["cluster"]
        self.port = self.sharder_port = int(server["server"].rsplit(":", 1)[1])
        files = {"ca": server["certificate-authority-data"], **config["users"][0]["user"]}
        for name, data in files.items():
            with open(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(base64.b64decode(data))
        self.ca_file = self.folder / "ca"
        self.admin = Client(self.port, self.ca_file, Credentials(self.folder / "client-certificate-data",
                                                                 self.folder / "client-key-data"))
        wait_until(lambda: self.admin.raw("GET", "/readyz")[0] == 200, 60, "the API server is ready")
        return self

    def delete(self):
        self.kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")
        self.kubeconfig.unlink(missing_ok=True)

    def save_logs(self):
        """For whoever looks for what went wrong."""
        kept = ROOT / "build" / "e2e" / "failed" / "kind"
        self.kind("export", "logs", kept, check=False)
        print(f"logs kept in {kept}", flush=True)

    def kind(self, *arguments, check=True):
        program = os.environ.get("KIND") or binaries.tool(*KIND)
        done = subprocess.run([program, *map(str, arguments), "--name", NAME], capture_output=True, text=True,
                              check=False, timeout=600)
        if check and done.returncode:
            raise Failed(f"kind {' '.join(map(str, arguments))}: {done.stderr.strip()[-3000:]}")
        return done

    def load(self, *images):
        """Images of the docker daemon into all nodes."""
        self.kind("load", "docker-image", *images)

    # -- what happened

    def creations(self, resource, namespace, since):
        """{name: the webhook configurations that changed it} of the creations that succeeded, from the audit log."""
        self.flush_audit_log()
        found = {}
        for event in self.audit_events(since):
            reference = event.get("objectRef", {})
            if ((event["verb"], reference.get("resource"), reference.get("namespace")) ==
                    ("create", resource, namespace) and event["responseStatus"]["code"] == 201):
                notes = [json.loads(text) for key, text in event.get("annotations", {}).items()
                         if key.startswith("mutation.webhook.admission.k8s.io/")]
                found[reference["name"]] = [note["configuration"] for note in notes if note["mutated"]]
        return found

    # -- nodes

    def on_node(self, node, *command, check=True):
        return docker("exec", node, *command, check=check)

    def pause_image(self):
        """The image of a program that does nothing, which every node has."""
        listed = json.loads(self.on_node(self.nodes[1], "crictl", "images", "-o", "json").stdout)["images"]
        return next(tag for image in listed for tag in image["repoTags"] if tag.split(":")[0].endswith("/pause"))

    def containers(self, pod):
        """{name of the container: its process id on the node} of a pod's running containers."""
        found = {}
        for status in pod["status"]["containerStatuses"]:
            identity = status["containerID"].rsplit("/", 1)[1]
            inspected = self.on_node(pod["spec"]["nodeName"], "crictl", "inspect", identity).stdout
            found[status["name"]] = json.loads(inspected)["info"]["pid"]
        return found

    def kill(self, pod):
        """The first process of each container of a pod, from outside: in its own namespace, it would ignore a KILL."""
        for process in self.containers(pod).values():
            self.on_node(pod["spec"]["nodeName"], "kill", "-KILL", process)

    def resident_bytes(self, pod):
        """Of the first process of a pod's first container."""
        process = next(iter(self.containers(pod).values()))
        status = self.on_node(pod["spec"]["nodeName"], "cat", f"/proc/{process}/status").stdout
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    # -- parts

    def _config(self):
        # The API server's user may not read what only root may; the log is written by root in the container.
        mounts = [{"hostPath": str(self.api_folder), "containerPath": "/e2e"}]
        arguments = {"audit-policy-file": "/e2e/audit-policy.yaml", "audit-log-path": "/e2e/audit.log",
                     "audit-log-maxsize": "1000", "audit-log-mode": "batch", "audit-log-batch-max-wait": "500ms",
                     "admission-control-config-file": "/e2e/admission.yaml"}
        return {
            "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "name": NAME,
            "networking": {"kubeProxyMode": "nftables"},
            "kubeadmConfigPatches": [
                yaml.safe_dump({"kind": "KubeletConfiguration", "failCgroupV1": False}),
                yaml.safe_dump({"kind": "ClusterConfiguration", "apiServer": {
                    "extraArgs": [{"name": name, "value": value} for name, value in arguments.items()],
                    "extraVolumes": [{"name": "e2e", "hostPath": "/e2e", "mountPath": "/e2e",
                                      "pathType": "Directory"}]}})],
            "nodes": [{"role": "control-plane", "extraMounts": mounts}, *({"role": "worker"} for _ in range(WORKERS))]}

    def _write_api_server_files(self):
        client = pki.Authority(self.admission_ca.parent, "admission-ca").issue("api-server", "/CN=kube-apiserver-admission")
        user = {"client-certificate-data": _encoded(client.certificate), "client-key-data": _encoded(client.key)}
        for name, text in (("audit-policy.yaml", AUDIT_POLICY), ("admission.yaml", ADMISSION),
                           ("admission.kubeconfig", yaml.safe_dump({
                               "apiVersion": "v1", "kind": "Config",
                               "users": [{"name": f"sharder.{SYSTEM_NAMESPACE}.svc", "user": user}]}))):
            (self.api_folder / name).write_text(text, encoding="ascii")


def _encoded(file):
    return base64.b64encode(Path(file).read_bytes()).decode()
