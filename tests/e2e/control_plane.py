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
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request

import yaml

import api_proxy
import binaries
import pki
from cluster import ROOT, Cluster, audit_policy
from kubeclient import Client, Credentials, path_of
from processes import Failed, Process, free_ports, install_signal_handlers, wait_until

# The controllers that tests need; the others would cost time and do nothing without nodes.
CONTROLLERS = ("deployment-controller", "replicaset-controller", "job-controller", "cronjob-controller",
               "garbage-collector-controller", "namespace-controller", "serviceaccount-controller")


class ControlPlane(Cluster):
    """One cluster without nodes. start() once; etcd and the API server may be paused, killed and started again."""

    def __init__(self, folder=None, controller_manager=False, audit_log=False, say=lambda line: None, etcd_bytes=None,
                 more_controllers=(), webhook_host=None, judged=None):
        """`etcd_bytes`: how much etcd takes before it refuses writes; None: as much as it takes by default.
        `more_controllers`: of kube-controller-manager, besides CONTROLLERS. `webhook_host`: "host:port"; when the API
        server calls a webhook there, it shows `webhook_client`, a certificate of `webhook_client_authority`. `judged`:
        {group: [resource]}, what tests/judge/ is to judge; the audit log has all that it needs then."""
        self._own_folder = folder is None
        super().__init__(folder or tempfile.mkdtemp(prefix="sharder-e2e-"))
        self.audit_log = self.folder / "audit.log" if audit_log or judged else None
        self._judged = judged
        self._say = say
        self.bin = None
        self._with_controller_manager = controller_manager
        self._etcd_bytes = etcd_bytes
        self._controllers = (*CONTROLLERS, *more_controllers)
        self.etcd = self.apiserver = self.controller_manager = self.proxy = None
        self.authority = None
        self._webhook_host = webhook_host
        self.webhook_client_authority = self.webhook_client = None

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
        self.kubectl_program = self.bin / "kubectl"
        begin = time.monotonic()
        self._make_pki()
        self.ca_file = self.authority.certificate
        etcd_port, peer_port, self.port = free_ports(3)
        self._prepare_etcd(etcd_port, peer_port)
        self._prepare_apiserver(etcd_port)
        self._prepare_proxy()
        self.etcd.start()
        self.apiserver.start()
        if self.proxy:
            self.proxy.start()
        self.admin = Client(self.port, self.ca_file,
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
            for log in (*self.folder.rglob("*.log"), *self.folder.rglob("*.jsonl")):
                copy = kept / log.relative_to(self.folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, copy)
            print(f"logs kept in {kept}", flush=True)
        except OSError as error:
            print(f"logs not kept: {error}", flush=True)

    def wait_ready(self, timeout=120):
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
        self._put_audit_log_by()

    def stop_apiserver(self, timeout):
        """SIGTERM: it takes no new connection and finishes what it has. As long as there are watches that may be a
        minute, so it is killed after `timeout` seconds."""
        self.apiserver.stop(timeout)
        self._put_audit_log_by()

    def _put_audit_log_by(self):
        """The next process begins a file of its own: the last line of this one may be half a line."""
        if self._judged and self.audit_log.exists():
            self.audit_log.rename(self.folder / f"audit-{len(self.audit_logs()):03}.log")

    def audit_logs(self):
        """All that there are, in order; audit_log is the last one."""
        return [*sorted(self.folder.glob("audit-*.log")), *([self.audit_log] if self.audit_log.exists() else [])]

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
            policy.write_text(audit_policy(self._judged or {}), encoding="ascii")
            command += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
            # A batch may be dropped when the API server is busy, and is lost with it.
            command += ["--audit-log-mode=blocking-strict", "--audit-log-maxsize=100000"] if self._judged else [
                "--audit-log-mode=batch", "--audit-log-batch-max-wait=500ms"]
        if self._webhook_host:
            command.append(f"--admission-control-config-file={self._write_admission_configuration()}")
        self.apiserver = Process("kube-apiserver", command, self.folder / "apiserver.log")

    def _write_admission_configuration(self):
        """As docs/security/webhook-clients.md has it."""
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
