"""A small Kubernetes client for tests: HTTP/1.1 with keep-alive, one connection a thread, plain dicts."""

import copy
import http.client
import json
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass

CORE, APPS, BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"

# resource -> (prefix, namespaced)
RESOURCES = {
    "namespaces": (CORE, False), "secrets": (CORE, True), "configmaps": (CORE, True), "services": (CORE, True),
    "serviceaccounts": (CORE, True), "events": (CORE, True), "pods": (CORE, True),
    "deployments": (APPS, True), "replicasets": (APPS, True),
    "poddisruptionbudgets": ("/apis/policy/v1", True),
    "jobs": (BATCH, True), "cronjobs": (BATCH, True),
    "clusterroles": (RBAC, False), "clusterrolebindings": (RBAC, False), "roles": (RBAC, True),
    "rolebindings": (RBAC, True),
    "leases": ("/apis/coordination.k8s.io/v1", True),
    "customresourcedefinitions": ("/apis/apiextensions.k8s.io/v1", False),
    "mutatingwebhookconfigurations": ("/apis/admissionregistration.k8s.io/v1", False),
    "validatingadmissionpolicies": ("/apis/admissionregistration.k8s.io/v1", False),
    "validatingadmissionpolicybindings": ("/apis/admissionregistration.k8s.io/v1", False),
    "controllerrings": ("/apis/sharding.timebertt.dev/v1alpha1", False),
}

MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# kube-apiserver closes connections that idle for longer; a request that meets the close could be lost.
_MAX_IDLE_SECONDS = 30


class ApiError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, method, path, status, body):
        super().__init__(f"{method} {path}: {status} {body.get('reason', '')}: {body.get('message', '')}")
        self.status = status
        self.reason = body.get("reason", "")
        self.message = body.get("message", "")


@dataclass(frozen=True)
class Credentials:
    """Who we are: a client certificate (files) or a token."""
    certificate: str = None
    key: str = None
    token: str = None


def path_of(resource, namespace=None, name=None, subresource=None, **query):
    """The path of an object or a list. `namespace` None: cluster-scoped, or a list over all namespaces."""
    prefix, _ = RESOURCES[resource]
    parts = [prefix]
    if namespace is not None:
        parts += ["namespaces", namespace]
    parts.append(resource)
    parts += [part for part in (name, subresource) if part]
    return "/".join(parts) + ("?" + urllib.parse.urlencode(query) if query else "")


class Client:
    """The API server at host:port. Safe from any thread; `timeout` is that of a socket operation in seconds."""

    def __init__(self, port, ca_file, credentials, host="127.0.0.1", timeout=30):
        self.host, self.port, self.timeout = host, port, timeout
        self.ca_file, self.credentials = ca_file and str(ca_file), credentials
        self._tls = ssl.create_default_context(cafile=self.ca_file)
        if credentials.certificate:
            self._tls.load_cert_chain(str(credentials.certificate), str(credentials.key))
        self._headers = {"Accept": "application/json"}
        if credentials.token:
            self._headers["Authorization"] = f"Bearer {credentials.token}"
        self._local = threading.local()

    # -- objects

    def get(self, resource, namespace, name, **query):
        return self.request("GET", path_of(resource, namespace, name, **query))

    def find(self, resource, namespace, name):
        """The object, or None when it is not there."""
        try:
            return self.get(resource, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, resource, namespace=None, **query):
        """All items, read in pages of 500."""
        items, token = [], None
        while True:
            more = {"continue": token} if token else {}
            page = self.request("GET", path_of(resource, namespace, limit=500, **query, **more))
            items += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return items

    def create(self, resource, namespace, body, **query):
        return self.request("POST", path_of(resource, namespace, **query), body)

    def update(self, resource, namespace, name, body, subresource=None, **query):
        return self.request("PUT", path_of(resource, namespace, name, subresource, **query), body)

    def patch(self, resource, namespace, name, body, content_type=MERGE_PATCH, subresource=None, **query):
        return self.request("PATCH", path_of(resource, namespace, name, subresource, **query), body, content_type)

    def apply(self, resource, namespace, body, manager, force=False, subresource=None):
        """Server-side apply."""
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        return self.patch(resource, namespace, body["metadata"]["name"], body, APPLY_PATCH, subresource, **query)

    def delete(self, resource, namespace, name, **query):
        """Deletes the object; None when it was gone already."""
        try:
            return self.request("DELETE", path_of(resource, namespace, name, **query))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    # -- plain requests

    def request(self, method, path, body=None, content_type="application/json"):
        status, data = self.raw(method, path, None if body is None else json.dumps(body).encode(), content_type)
        try:
            answer = json.loads(data)
        except ValueError:
            answer = {"message": data.decode(errors="replace")}
        if status >= 300:
            raise ApiError(method, path, status, answer)
        return answer

    def raw(self, method, path, body=None, content_type="application/json"):
        """Status and bytes. A connection that fails is closed; the error goes to the caller, nothing is retried."""
        connection = self._connection()
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, path, body, headers)
            # Closed here, not by the garbage collector: io drops what is raised meanwhile, a signal's SystemExit too.
            with connection.getresponse() as response:
                data = response.read()
        except BaseException:
            self.close()
            raise
        self._local.used = time.monotonic()
        return response.status, data

    def text(self, path):
        """The body of a GET, whatever its status."""
        return self.raw("GET", path)[1].decode(errors="replace")

    def with_timeout(self, timeout):
        """A client of the same server and person with a timeout, and connections, of its own."""
        other = copy.copy(self)
        other.timeout, other._local = timeout, threading.local()
        return other

    def named(self, user_agent):
        """As with_timeout(), with a User-Agent."""
        other = self.with_timeout(self.timeout)
        other._headers = {**self._headers, "User-Agent": user_agent}
        return other

    def close(self):
        """Closes this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _connection(self):
        connection = getattr(self._local, "connection", None)
        if connection is not None and time.monotonic() - self._local.used > _MAX_IDLE_SECONDS:
            self.close()
            connection = None
        if connection is None:
            connection = self.open_connection(self.timeout)
            self._local.connection = connection
        return connection

    def open_connection(self, timeout):
        """A connection of the caller's own."""
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self._tls)

    # -- watch

    def watch(self, path, timeout=3600):
        """Yields watch events until the server ends the stream; `path` with watch=1. Socket errors go to the caller."""
        connection = self.open_connection(timeout)
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            if response.status != 200:
                body = response.read()
                raise ApiError("GET", path, response.status, {"message": body.decode(errors="replace")})
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()


class Recorder:
    """Keeps what happens to the objects of one resource: a thread that lists, watches, and notes each version it sees.

    `history` has (seconds since the epoch, type, object) in the order of the API server. Use as a context manager.
    """

    def __init__(self, client, resource, namespace=None, **query):
        self._client, self._resource, self._namespace, self._query = client, resource, namespace, query
        self.history = []
        self._stop = threading.Event()
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{resource}", daemon=True)

    def __enter__(self):
        self._thread.start()
        if not self._listed.wait(20):
            raise TimeoutError(f"no list of {self._resource}")
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(5)

    def changes(self, name):
        """(time, type, object) of the object called `name`, in order."""
        return [entry for entry in list(self.history) if entry[2]["metadata"]["name"] == name]

    def _run(self):
        while not self._stop.is_set():
            try:
                listed = self._client.request("GET", path_of(self._resource, self._namespace, **self._query))
                for item in listed["items"]:
                    self._note("ADDED", item)
                self._listed.set()
                self._follow(listed["metadata"]["resourceVersion"])
            except (OSError, http.client.HTTPException, ApiError, ValueError):
                self._stop.wait(0.1)  # a paused or killed API server: the next list shows what we missed

    def _follow(self, version):
        path = path_of(self._resource, self._namespace, watch=1, resourceVersion=version, timeoutSeconds=1,
                       allowWatchBookmarks="true", **self._query)
        # Streams of one second each, so that the thread ends soon after stop.
        while not self._stop.is_set():
            for event in self._client.watch(path, timeout=20):
                if event["type"] == "ERROR":
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._note(event["type"], event["object"])
            path = path_of(self._resource, self._namespace, watch=1, resourceVersion=version, timeoutSeconds=1,
                           allowWatchBookmarks="true", **self._query)

    def _note(self, kind, item):
        self.history.append((time.time(), kind, item))
