"""The embedded API server (tests/apiserver/) as a cluster, in a process of its own."""

import base64
import shutil
import tempfile
import urllib.parse
from pathlib import Path

import yaml

from cluster import ROOT, SYSTEM_NAMESPACE
from kubeclient import Client, Credentials
from processes import Failed, Process, wait_until
from sharder import binary


class EmbeddedCluster:
    """All that a demonstration, or a test with its own shards, needs of a cluster. Use as a context manager."""

    def __init__(self, audit_level="Metadata"):
        """`audit_level`: with "RequestResponse", the audit log has the bodies of writes."""
        self.folder = Path(tempfile.mkdtemp(prefix="sharder-run-"))
        self.kubeconfig = self.folder / "kubeconfig"
        self.audit_log = self.folder / "audit.log"
        program = binary().parent / "sharder-apiserver"
        if not program.is_file():
            program = ROOT / "build" / "bin" / "sharder-apiserver"
        if not program.is_file():
            raise Failed(f"no {program}: `cmake --build --preset release --target apiserver` makes it")
        crd = ROOT / "manifests" / "crd" / "sharding.timebertt.dev_controllerrings.yaml"
        self.process = Process("sharder-apiserver", [
            program, "--port", "0", "--kubeconfig", self.kubeconfig, "--audit-log", self.audit_log,
            "--audit-level", audit_level, "--crd", crd],
            self.folder / "apiserver.log")
        self.admin = None

    def __enter__(self):
        try:
            self.process.start()
            wait_until(self.kubeconfig.is_file, 15, "the embedded API server listens", alive=self.process)
            config = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))
            cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
            authority = self.folder / "ca.crt"
            authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
            server = urllib.parse.urlsplit(cluster["server"])
            self.admin = Client(server.port, authority, Credentials(token=user["token"]), host=server.hostname)
            wait_until(lambda: self.admin.raw("GET", "/readyz")[0] == 200, 15, "the embedded API server is ready",
                       alive=self.process)
            if self.admin.find("namespaces", None, SYSTEM_NAMESPACE) is None:
                self.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace",
                                                       "metadata": {"name": SYSTEM_NAMESPACE}})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sharder_kubeconfig(self, path):
        shutil.copy(self.kubeconfig, path)
        return path
