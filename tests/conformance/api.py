"""HTTPS and JSON, as plain as it goes: one client for any API server, by its kubeconfig. No retries, nothing hidden."""

import base64
import http.client
import json
import os
import ssl
import threading
import time
import urllib.parse
from pathlib import Path

import yaml

MERGE, JSON_PATCH, APPLY = "application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

PREFIXES = {
    "apps": ("deployments", "replicasets"),
    "coordination.k8s.io": ("leases",),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
    "admissionregistration.k8s.io": ("mutatingwebhookconfigurations",),
}
RINGS = "/apis/sharding.timebertt.dev/v1alpha1/controllerrings"


def path(resource, namespace=None, name=None, subresource=None):
    """The path of a built-in resource, or of ControllerRings."""
    if resource == "controllerrings":
        prefix = RINGS.rpartition("/")[0]
    else:
        group = next((group for group, names in PREFIXES.items() if resource in names), None)
        prefix = f"/apis/{group}/v1" if group else "/api/v1"
    parts = [prefix, *(["namespaces", namespace] if namespace else []), resource, name, subresource]
    return "/".join(part for part in parts if part)


class Answer:
    """A response: `status`, `headers`, and `body`, which is JSON where it is, else text."""

    def __init__(self, what, status, headers, data):
        self.what, self.status, self.headers = what, status, headers
        try:
            self.body = json.loads(data)
        except ValueError:
            self.body = data.decode(errors="replace")

    def ok(self, status=200):
        """The body; AssertionError unless the status is this one."""
        assert self.status == status, f"{self.what}: {self.status} instead of {status}: {self.body}"
        return self.body

    def refused(self, status, reason, *texts):
        """The metav1.Status; AssertionError unless it has this code, reason, and these texts in its message."""
        body = self.ok(status)
        assert isinstance(body, dict), f"{self.what}: {status} without a Status: {body!r}"
        assert (body.get("kind"), body.get("apiVersion"), body.get("status")) == ("Status", "v1", "Failure"), body
        assert (body.get("code"), body.get("reason")) == (status, reason), f"{self.what}: {body}"
        for text in texts:
            assert text in body["message"], f"{self.what}: {text!r} is not in: {body['message']}"
        return body


class Api:
    """Safe from any thread: a connection each."""

    def __init__(self, kubeconfig, folder):
        config = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        address = urllib.parse.urlsplit(cluster["server"])
        self.host, self.port = address.hostname, address.port
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        self._tls = ssl.create_default_context(cadata=authority)
        self.token = user.get("token")
        if not self.token:
            files = []
            for kind in ("client-certificate-data", "client-key-data"):
                files.append(Path(folder) / kind)
                with open(os.open(files[-1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(base64.b64decode(user[kind]))
            self._tls.load_cert_chain(*map(str, files))
        self.anonymous_tls = ssl.create_default_context(cadata=authority)
        self._local = threading.local()
        self._epoch = 0

    def forget_connections(self):
        """After a restart of the server: all that are open are dead."""
        self._epoch += 1

    def send(self, method, target, body=None, content_type="application/json", headers=None, **query):
        """`body`: bytes as they are, else JSON. A query parameter None is left out."""
        target = with_query(target, query)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        sent = self._headers(headers)
        if body is not None:
            sent.setdefault("Content-Type", content_type)
        connection = self._connection()
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            data = response.read()
        except BaseException:
            connection.close()
            self._local.connection = None
            raise
        return Answer(f"{method} {target}", response.status, response.headers, data)

    def get(self, target, **query):
        return self.send("GET", target, **query)

    def post(self, target, body, **query):
        return self.send("POST", target, body, **query)

    def put(self, target, body, **query):
        return self.send("PUT", target, body, **query)

    def delete(self, target, body=None, **query):
        return self.send("DELETE", target, body, **query)

    def merge(self, target, body, **query):
        return self.send("PATCH", target, body, MERGE, **query)

    def json_patch(self, target, *operations, **query):
        return self.send("PATCH", target, list(operations), JSON_PATCH, **query)

    def apply(self, target, body, manager, **query):
        return self.send("PATCH", target, body, APPLY, fieldManager=manager, **query)

    def watch(self, target, headers=None, timeout=20, **query):
        """An open Watch, or AssertionError. `timeout`: seconds that an event may take."""
        query.setdefault("watch", "true")
        return Watch(self._open(timeout), with_query(target, query), self._headers(headers), timeout)

    def _headers(self, more):
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        headers.update(more or {})
        return {name: value for name, value in headers.items() if value is not None}

    def _open(self, timeout):
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self._tls)

    def _connection(self):
        connection, epoch, used = getattr(self._local, "connection", None) or (None, 0, 0)
        if connection is None or epoch != self._epoch or time.monotonic() - used > 30:
            if connection is not None:
                connection.close()
            connection = self._open(30)
        self._local.connection = (connection, self._epoch, time.monotonic())
        return connection


class Watch:
    """An open watch: events one by one."""

    def __init__(self, connection, target, headers, timeout):
        self._connection, self._target, self._timeout = connection, target, timeout
        connection.request("GET", target, headers=headers)
        self._response = connection.getresponse()
        if self._response.status != 200:
            answer = Answer(f"GET {target}", self._response.status, self._response.headers, self._response.read())
            connection.close()
            raise Refused(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    @property
    def headers(self):
        return self._response.headers

    def event(self):
        """The next (type, object); (None, None) at the stream's orderly end."""
        try:
            line = self._response.readline()
        except TimeoutError:
            raise AssertionError(f"GET {self._target}: no event in {self._timeout} s") from None
        if not line:
            return None, None
        event = json.loads(line)
        return event["type"], event["object"]

    def events(self, count):
        """The next events as (type, name), bookmarks left out."""
        found = []
        while len(found) < count:
            kind, item = self.event()
            assert kind is not None, f"GET {self._target}: it ended after {found}"
            if kind != "BOOKMARK":
                found.append((kind, item["metadata"].get("name")))
        return found

    def until(self, wanted):
        """The object of the next event of this type; what comes before it is skipped."""
        while True:
            kind, item = self.event()
            assert kind is not None, f"GET {self._target}: it ended without {wanted}"
            if kind == wanted:
                return item


class Refused(Exception):
    """A watch that was not opened; `answer` says why."""

    def __init__(self, answer):
        super().__init__(f"{answer.what}: {answer.status}: {answer.body}")
        self.answer = answer


def with_query(target, query):
    pairs = [(name, str(value).lower() if isinstance(value, bool) else value)
             for name, value in query.items() if value is not None]
    return target + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
