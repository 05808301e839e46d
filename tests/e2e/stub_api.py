"""An API server that says what a test wants: for what a real one hardly ever says."""

import contextlib
import json
import pathlib
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import yaml

import shards


def ring(name, *resources):
    """A ControllerRing, ready, over (group, resource) pairs."""
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": {"resources": [{"group": group, "resource": resource} for group, resource in resources]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m"}]}}


def lease(ring_name, name, namespace="shards"):
    """The Lease of a shard that holds it for long."""
    held = shards.lease(ring_name, name, duration=2_000_000_000)
    held["metadata"]["namespace"] = namespace
    return held


def secret(name, **labels):
    """An object's metadata."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default", "labels": labels}}


class StubApi:
    """A context manager. `answers`: path -> object, or a list of objects, or seconds of silence; all else is 404."""

    def __init__(self, rings, leases, **answers):
        self.answers = {"/apis/sharding.timebertt.dev/v1alpha1/controllerrings": list(rings),
                        "/apis/coordination.k8s.io/v1/leases": list(leases), **answers}
        self._serve_kinds("", "v1", secrets="Secret", configmaps="ConfigMap")

    def serve_kinds(self, group, version, **kinds):
        """It has a group with these resources: plural=kind."""
        self.answers[f"/apis/{group}"] = {"kind": "APIGroup", "name": group, "versions": [{"version": version}],
                                          "preferredVersion": {"version": version}}
        self._serve_kinds(group, version, **kinds)

    def _serve_kinds(self, group, version, **kinds):
        self.answers[f"/apis/{group}/{version}" if group else f"/api/{version}"] = {
            "kind": "APIResourceList", "resources": [{"name": plural, "kind": kind, "namespaced": True}
                                                     for plural, kind in kinds.items()]}

    def __enter__(self):
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                answer = answers.get(urlsplit(self.path).path)
                if isinstance(answer, (int, float)):
                    time.sleep(answer)
                    answer = None
                if isinstance(answer, list):
                    answer = {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": answer}
                status = 200 if answer else 404
                body = json.dumps(answer or {"kind": "Status", "code": 404, "reason": "NotFound"}).encode()
                with contextlib.suppress(ConnectionError):  # nobody waited so long
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def do_POST(self):  # pylint: disable=invalid-name
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._folder = tempfile.TemporaryDirectory()
        self.kubeconfig = pathlib.Path(self._folder.name) / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
            "users": [{"name": "stub", "user": {}}]}), encoding="utf-8")
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()
