"""Admission reviews sent to a replica directly, as the API server sends them."""

import base64
import http.client
import json
import ssl
import uuid

import load
import oracle


def webhook_path(ring):
    return f"/webhooks/sharder/controllerring/{ring}?timeout=5s"


def review(item, resource, group="", version="v1", kind=None, operation="CREATE", uid=None, dry_run=False):
    """An AdmissionReview for the creation of `item`; its kind and apiVersion are filled in."""
    kind = kind or item.get("kind")
    api_version = f"{group}/{version}" if group else version
    body = {"apiVersion": api_version, "kind": kind, **item}
    metadata = body["metadata"]
    gvk, gvr = ({"group": group, "version": version, "kind": kind},
                {"group": group, "version": version, "resource": resource})
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": uid or str(uuid.uuid4()), "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
        "name": metadata.get("name", ""), "namespace": metadata.get("namespace", ""), "operation": operation,
        "userInfo": {"username": "e2e", "groups": ["system:masters", "system:authenticated"]},
        "object": body, "oldObject": None, "dryRun": dry_run,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}}}


def secret_review(namespace, name, **options):
    return review({"metadata": {"namespace": namespace, "name": name}, "type": "Opaque"}, "secrets", kind="Secret",
                  **options)


class Webhook:
    """A replica's webhook port. One connection, kept alive; for one thread."""

    def __init__(self, port, ca_file, client=None):
        """`client`: a pki.Pair that it shows."""
        self._context = ssl.create_default_context(cafile=str(ca_file))
        if client is not None:
            self._context.load_cert_chain(client.certificate, client.key)
        self._port = port
        self._connection = None

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def post(self, path, body, headers=None):
        """(status, bytes)."""
        if self._connection is None:
            self._connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self._context)
        try:
            self._connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
            with self._connection.getresponse() as response:
                data = response.read()
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return response.status, data

    def send(self, ring, body):
        """The `response` of the answer to an admission review (a dict). AssertionError unless it is a good answer."""
        status, data = self.post(webhook_path(ring), json.dumps(body).encode())
        assert status == 200, f"HTTP {status}: {data[:300]!r}"
        answer = json.loads(data)
        assert answer["apiVersion"] == "admission.k8s.io/v1" and answer["kind"] == "AdmissionReview", answer
        assert answer["response"]["uid"] == body["request"]["uid"], answer
        return answer["response"]

    def shard(self, ring, body):
        """The shard that the answer's patch assigns; None without a patch."""
        response = self.send(ring, body)
        assert response["allowed"] is True, response
        return patched_shard(response, ring)


def patched_shard(response, ring):
    if "patch" not in response:
        return None
    assert response["patchType"] == "JSONPatch", response
    escaped = "/metadata/labels/" + oracle.shard_label(ring).replace("~", "~0").replace("/", "~1")
    for operation in json.loads(base64.b64decode(response["patch"])):
        if operation["path"] == escaped:
            return operation["value"]
    return None


def agrees(port, ca_file, ring, shards, keys=24):
    """Whether a replica's ring is the one of these shards, by the owners that it gives some Secrets."""
    expected = oracle.Ring(shards)
    webhook = Webhook(port, ca_file)
    try:
        for number in range(keys):
            body = secret_review("probe", f"probe-{number}")
            if webhook.shard(ring, body) != expected.owner(f"/Secret/probe/probe-{number}"):
                return False
        return True
    finally:
        webhook.close()


def target(replica):
    return load.Target("127.0.0.1", replica.port, str(replica.ca_file))


def request_bytes(ring, body):
    return load.post(webhook_path(ring), json.dumps(body).encode())
