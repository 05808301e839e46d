"""The two API servers that must behave alike."""

import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

import api

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

# pylint: disable=wrong-import-position
from control_plane import ControlPlane  # noqa: E402
from processes import Failed, Process, wait_until  # noqa: E402

CRD = ROOT / "manifests" / "crd" / "sharding.timebertt.dev_controllerrings.yaml"


class Real:
    """etcd, kube-apiserver, and kube-controller-manager for the garbage collection."""

    name = "real"

    def __init__(self):
        self._plane = ControlPlane()
        self.api = None

    def __enter__(self):
        self._plane.__enter__()
        try:
            self._plane.install_manifests("crd")
            # The garbage collector knows the resources that exist when it starts; of later ones it learns 30 s later.
            self._plane.start_controller_manager()
            self.api = api.Api(self._plane.kubeconfig, self._plane.folder)
        except BaseException:
            self._plane.stop()
            raise
        return self

    def __exit__(self, *_):
        self._plane.stop()

    def expire_history(self):
        """etcd forgets what was before now, and so does the API server's watch cache, which begins anew."""
        etcd = next(part.partition("=")[2] for part in self._plane.etcd.command if "advertise-client-urls" in part
                    and "peer" not in part)
        status = _post(f"{etcd}/v3/maintenance/status", {})
        revision = status["header"]["revision"]
        _post(f"{etcd}/v3/kv/compaction", {"revision": revision, "physical": True})
        self._plane.stop_controller_manager()
        self._plane.kill_apiserver()
        self._plane.start_apiserver()
        self._plane.start_controller_manager()
        self.api.forget_connections()
        # Until its caches are filled, the server puts watches off with a 429.
        for target in (api.RINGS, api.path("secrets")):
            wait_until(lambda target=target: self.api.get(target, watch="true", resourceVersion="0",
                                                          timeoutSeconds=1).status == 200, 30, f"watches of {target}")

    def log_end(self):
        return self._plane.apiserver.log_end(15)


class Embedded:
    """build/bin/sharder-apiserver, or what $SHARDER_APISERVER_BIN names."""

    name = "embedded"

    def __init__(self):
        self.program = Path(os.environ.get("SHARDER_APISERVER_BIN") or ROOT / "build" / "bin" / "sharder-apiserver")
        if not self.program.is_file():
            raise Failed(f"no {self.program}: cmake --build --preset release --target apiserver makes it")
        self._folder = None
        self._process = None
        self.api = None

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="sharder-conformance-")
        folder = Path(self._folder.name)
        kubeconfig = folder / "kubeconfig"
        self._process = Process("sharder-apiserver", [
            self.program, "--port", "0", "--kubeconfig", kubeconfig, "--audit-log", folder / "audit.log", "--crd", CRD],
            folder / "apiserver.log")
        try:
            self._process.start()
            wait_until(lambda: kubeconfig.is_file() and kubeconfig.stat().st_size, 20, "a kubeconfig",
                       alive=self._process)
            self.api = api.Api(kubeconfig, folder)
            wait_until(lambda: self.api.get("/readyz").status == 200, 20, "the API server is ready",
                       alive=self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        code = self._process.stop()
        self._folder.cleanup()
        if not any(_) and code != 0:
            raise Failed(f"sharder-apiserver ended with {code} after SIGTERM")

    def expire_history(self):
        self.api.post("/-/faults", {"fault": "expire"}).ok()

    def log_end(self):
        return self._process.log_end(15)


def _post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return json.load(answer)
