#!/usr/bin/python3
"""The ports of a replica as strangers meet them: registration, answers, hostile input, metrics and health
(docs/protocol.md, sections 5, 7 and 9; docs/design.md, section 7)."""

import base64
import http.client
import json
import socket
import ssl
import warnings

import admission
import oracle
from environment import Environment
from processes import Failed, wait_until
from sharder import metric
from suite import Suite

suite = Suite("webhook", lambda short: Environment(short=short))

SHARDS = ["shard-a", "shard-b", "shard-c"]


@suite.case("the webhook configuration, field by field")
def configuration(env):
    ring = env.ring("fields", ((("apps", "deployments", "v1", "Deployment"), (("apps", "replicasets", "v1", ""),)),
                               (("", "secrets", "v1", "Secret"), (("", "configmaps", "v1", ""),))))
    made = wait_until(ring.webhook_configuration, 20, "webhook configuration")
    assert made["metadata"]["labels"] == {"app.kubernetes.io/name": "controller-sharding",
                                          "alpha.sharding.timebertt.dev/controllerring": "fields"}
    owner = env.admin.get("controllerrings", None, "fields")
    assert made["metadata"]["ownerReferences"] == [{
        "apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "name": "fields",
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}]
    fields = made["metadata"]["managedFields"]
    assert [(entry["manager"], entry["operation"]) for entry in fields] == [("controllerring-controller", "Apply")]
    authority = base64.b64encode(env.sharders.authority.certificate.read_bytes()).decode()
    rules = [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource],
              "scope": "*"} for group, resource in (("apps", "deployments"), ("apps", "replicasets"), ("", "secrets"),
                                                    ("", "configmaps"))]
    assert made["webhooks"] == [{
        "name": "sharder.sharding.timebertt.dev", "rules": rules, "admissionReviewVersions": ["v1"],
        "clientConfig": {"caBundle": authority, "url": f"https://127.0.0.1:{env.sharders.balancer_port}"
                                                       "/webhooks/sharder/controllerring/fields"},
        "failurePolicy": "Ignore", "matchPolicy": "Equivalent", "reinvocationPolicy": "Never", "sideEffects": "None",
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "fields"}},
        "objectSelector": {"matchExpressions": [{"key": "shard.alpha.sharding.timebertt.dev/fields",
                                                 "operator": "DoesNotExist"}]}}], made["webhooks"]


@suite.case("an absent namespaceSelector becomes the configured default, an empty one stays; no resources, no rules")
def selectors(env):
    for name, selector in (("default-selector", None), ("empty-selector", {})):
        spec = {"resources": [], **({"namespaceSelector": selector} if selector is not None else {})}
        env.admin.create("controllerrings", None, {
            "apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": spec})
        made = wait_until(lambda name=name: env.admin.find("mutatingwebhookconfigurations", None,
                                                           f"controllerring-{name}"), 20, "webhook configuration")
        webhook = made["webhooks"][0]
        assert not webhook.get("rules"), webhook
        wanted = {} if selector is not None else {"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "sharding-system"]}]}
        assert webhook["namespaceSelector"] == wanted, webhook


@suite.case("status: written when it changes and not else, conditions with their generation")
def status(env):
    ring = env.ring("status")
    with ring.shards(*SHARDS, duration=15, renew_every=1):
        ring.wait_ready(SHARDS)
        # The others are reported some seconds after Ready.
        wait_until(lambda: {one["type"] for one in ring.status()["conditions"]} ==
                   {"Ready", "WebhookReachable", "AllAssigned"}, 60, "all conditions")
        stored = env.admin.get("controllerrings", None, "status")
        condition = next(one for one in stored["status"].pop("conditions") if one["type"] == "Ready")
        assert stored["status"] == {"observedGeneration": 1, "shards": 3, "availableShards": 3}, stored["status"]
        assert {key: condition[key] for key in condition if key != "lastTransitionTime"} == {
            "type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "observedGeneration": 1,
            "message": "ControllerRing was successfully reconciled"}
        entry = next(one for one in stored["metadata"]["managedFields"] if one.get("subresource") == "status")
        assert (entry["manager"], entry["operation"]) == ("controllerring-controller", "Update"), entry
        version = stored["metadata"]["resourceVersion"]
        try:
            wait_until(lambda: env.admin.get("controllerrings", None, "status")["metadata"]["resourceVersion"] !=
                       version, 4, "a change")  # while Leases are renewed every second
        except Failed:
            return
        raise AssertionError("the status was written though nothing had changed")


@suite.case("answers to admission reviews: patches, messages, codes")
def answers(env):
    ring = env.ring("answers")
    replica = env.sharders.replicas[0]
    webhook = admission.Webhook(replica.port, replica.ca_file)
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        expected = oracle.Ring(SHARDS).owner("/Secret/ns/a")
        key = "/metadata/labels/shard.alpha.sharding.timebertt.dev~1answers"

        def send(metadata, resource="secrets", kind="Secret", **options):
            return webhook.send("answers", admission.review({"metadata": metadata}, resource, kind=kind, **options))

        response = send({"namespace": "ns", "name": "a"})
        assert json.loads(base64.b64decode(response["patch"])) == [
            {"op": "add", "path": "/metadata/labels", "value": {}}, {"op": "add", "path": key, "value": expected}]
        assert response["status"]["code"] == 200 and response["status"]["message"] == "assigning object", response
        response = send({"namespace": "ns", "name": "a", "labels": {"x": "y"}})
        assert json.loads(base64.b64decode(response["patch"])) == [{"op": "add", "path": key, "value": expected}]
        response = send({"namespace": "ns", "name": "a", "labels": {ring.label: ""}})  # means unassigned
        assert json.loads(base64.b64decode(response["patch"])) == [{"op": "add", "path": key, "value": expected}]
        response = send({"namespace": "ns", "name": "a", "labels": {ring.label: "shard-x"}})
        assert response["status"]["message"] == "object is already assigned" and "patch" not in response, response
        response = send({"namespace": "ns", "name": "a"}, "configmaps", "ConfigMap")
        assert response["status"]["message"] == "object should not be assigned" and "patch" not in response, response
        # What the Go sharder denies is allowed here (section 9).
        for response in (webhook.send("no-such-ring", admission.secret_review("ns", "a")),
                         send({"namespace": "ns", "name": "a"}, "pods", "Pod")):
            assert response["allowed"] is True and "patch" not in response, response
        reference = {"apiVersion": "a/b/c/d", "kind": "Secret", "name": "x", "uid": "1", "controller": True}
        response = send({"namespace": "ns", "name": "a", "ownerReferences": [reference]}, "configmaps", "ConfigMap")
        assert response["allowed"] is True and "patch" not in response and response["warnings"], response
        uid = "odd \" \\ uid \u00e4\u20ac"
        assert send({"namespace": "ns", "name": "a"}, uid=uid)["uid"] == uid
    wait_until(lambda: ring.status()["availableShards"] == 3, 5, "still there")


@suite.case("malformed requests get a 4xx, and the next request an answer")
def hostile_requests(env):
    ring = env.ring("hostile")
    replica = env.sharders.replicas[0]
    good = json.dumps(admission.secret_review("hostile", "a")).encode()
    nested = b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":' + b"[" * 10_000
    path = admission.webhook_path("hostile")
    # (what, method, path, body, headers, statuses that are right)
    cases = [
        ("empty body", "POST", path, b"", {}, (400,)),
        ("no JSON", "POST", path, b"nonsense", {}, (400,)),
        ("truncated", "POST", path, good[:len(good) // 2], {}, (400,)),
        ("trailing bytes", "POST", path, good + b"x", {}, (400,)),
        ("another kind", "POST", path, b'{"kind":"Pod","apiVersion":"v1"}', {}, (400,)),
        ("an array", "POST", path, b"[]", {}, (400,)),
        ("depth of 10,000", "POST", path, nested, {}, (400,)),
        ("BOM", "POST", path, b"\xef\xbb\xbf" + good, {}, (200, 400)),
        ("invalid UTF-8", "POST", path, good.replace(b'"name": "a"', b'"name": "\xff"'), {}, (200, 400)),
        ("lone surrogate", "POST", path, good.replace(b'"name": "a"', b'"name": "\\ud800"'), {}, (200, 400)),
        ("number beyond 64 bits", "POST", path, good.replace(b'"oldObject": null', b'"oldObject": ' + b"9" * 400), {},
         (200, 400)),
        ("8 MiB", "POST", path, b" " * (8 << 20), {}, (413,)),
        ("foreign path", "POST", "/webhooks/other", good, {}, (404,)),
        ("path without a ring", "POST", "/webhooks/sharder/controllerring/", good, {}, (404,)),
        ("GET", "GET", path, None, {}, (405,)),
        ("DELETE", "DELETE", path, None, {}, (405,)),
        ("Content-Encoding", "POST", path, good, {"Content-Encoding": "gzip"}, (400, 415)),
        ("header of 100 KiB", "POST", path, good, {"X-Long": "a" * 100_000}, (431,)),
        ("header line with NUL", "POST", path, good, {"X-Nul": b"a\0b"}, (400,)),
    ]
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        webhook = admission.Webhook(replica.port, replica.ca_file)
        for what, method, target, body, headers, right in cases:
            status = status_of(webhook, replica, method, target, body, headers)
            assert status in right, f"{what}: {status}, not {right}"
            assert webhook.shard("hostile", admission.secret_review("hostile", "a")), f"after: {what}"
            assert replica.ready(), f"after: {what}"


def status_of(webhook, replica, method, path, body, headers):
    if method == "POST":
        try:
            return webhook.post(path, body, headers)[0]
        except (BrokenPipeError, ConnectionResetError):
            # The server may answer and close before it has read everything; what it said is read without sending on.
            return raw(replica, f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    return raw(replica, f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def connect(replica):
    context = ssl.create_default_context(cafile=replica.ca_file)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", replica.port), timeout=15),
                               server_hostname="127.0.0.1")


def raw(replica, data):
    """The status that the server answers to these bytes, 0 when it closes without one."""
    with connect(replica) as connection:
        connection.sendall(data)
        try:
            answer = connection.recv(4096)
        except (ConnectionResetError, ssl.SSLError):
            return 0
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@suite.case("requests that smuggle, bend or break HTTP are refused")
def hostile_http(env):
    replica = env.sharders.replicas[1]
    path = admission.webhook_path("any")
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n"
    for what, text in {
        "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "negative length": "Content-Length: -1\r\n\r\n",
        "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunk of -2": "Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
        "chunk of 17 digits": "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        "unknown coding": "Transfer-Encoding: gzip\r\n\r\n",
        "space before the colon": "X-A : b\r\nContent-Length: 0\r\n\r\n",
        "folded line": "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "bare CR": "X-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n",
    }.items():
        status = raw(replica, (head + text).encode())
        assert status == 0 or 400 <= status < 600, f"{what}: {status}"
        assert status != 500, what
    for what, text in {"no HTTP": "nonsense\r\n\r\n", "HTTP/0.9": "GET /\r\n", "HTTP/3": f"POST {path} HTTP/3.0\r\n\r\n",
                       "two spaces": f"POST  {path} HTTP/1.1\r\n\r\n"}.items():
        status = raw(replica, text.encode())
        assert status == 0 or 400 <= status < 600, f"{what}: {status}"
    # Clients that leave: in the handshake, in the header, in the body, after the request.
    for data in (b"", head.encode(), (head + "Content-Length: 100\r\n\r\nabc").encode()):
        with socket.create_connection(("127.0.0.1", replica.port), timeout=5) as plain:
            plain.sendall(b"\x16\x03\x01")
        with connect(replica) as connection:
            connection.sendall(data)
    with socket.create_connection(("127.0.0.1", replica.port), timeout=5) as plain:  # HTTP without TLS
        plain.sendall((head + "\r\n").encode())
    assert replica.ready()


@suite.case("pipelined requests are answered in order, Expect: 100-continue is honoured")
def pipelined(env):
    replica = env.sharders.replicas[0]
    reviews = [json.dumps(admission.secret_review("ns", f"s-{number}", uid=f"uid-{number}")) for number in range(3)]
    head = f"POST {admission.webhook_path('none')} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    with connect(replica) as connection:
        connection.sendall("".join(f"{head}Content-Length: {len(body)}\r\n\r\n{body}" for body in reviews).encode())
        for number in range(3):
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert json.loads(response.read())["response"]["uid"] == f"uid-{number}"
    with connect(replica) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {len(reviews[0])}\r\n\r\n".encode())
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 100"), answer
        connection.sendall(reviews[0].encode())
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200"), answer


@suite.case("TLS 1.2 and 1.3, and nothing older")
def tls_versions(env):
    replica = env.sharders.replicas[0]
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=replica.ca_file)
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", replica.port), timeout=5) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                assert connection.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    context = ssl.create_default_context(cafile=replica.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():  # Python says that TLS 1.1 is old
        warnings.simplefilter("ignore")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with socket.create_connection(("127.0.0.1", replica.port), timeout=5) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1"):
                raise AssertionError("TLS 1.1 is spoken")
    except (ssl.SSLError, ConnectionResetError):
        pass


@suite.case("metrics: 401 without a good token, 403 without permission, 200 with; pprof is a 404 behind the same check")
def metrics(env):
    replica = env.sharders.wait_leader()
    reader = env.plane.metrics_token()
    nobody = env.plane.service_account_token()  # the sharder's own: may do much, but not read metrics
    assert replica.metrics(None)[0] == 401
    assert replica.metrics("nonsense")[0] == 401
    assert replica.metrics(nobody)[0] == 403
    ring = env.ring("measured")
    with ring.shards(*SHARDS):
        ring.wait_ready(SHARDS)
        uid = env.admin.get("controllerrings", None, "measured")["metadata"]["uid"]
        for name, value in {"metadata_generation": 1, "observed_generation": 1, "status_shards": 3,
                            "status_available_shards": 3}.items():
            sample = f"controller_sharding_controllerring_{name}"
            wait_until(lambda sample=sample, value=value: metric(
                replica.scrape(reader), sample, controllerring="measured", uid=uid) == value, 10, sample)
        text = replica.scrape(reader)
        assert metric(text, "controller_sharding_shard_info", namespace="measured", shard="shard-a",
                      controllerring="measured") == 1
        wait_until(lambda: metric(replica.scrape(reader), "controller_sharding_shard_state", shard="shard-a",
                                  controllerring="measured", state="ready") == 1, 10, "the state label is seen")
        text = replica.scrape(reader)
        for state in ("orphaned", "dead", "uncertain", "expired", "ready", "unknown"):
            assert metric(text, "controller_sharding_shard_state", shard="shard-a", controllerring="measured",
                          state=state) == (1 if state == "ready" else 0), state
        assert metric(text, "controller_sharding_ring_calculations_total", controllerring="measured") >= 1
        for name in ("rest_client_requests_total", "rest_client_request_duration_seconds_count",
                     "leader_election_master_status", "process_resident_memory_bytes",
                     "controller_sharding_certificate_expiry_timestamp_seconds"):
            assert metric(text, name), name
        answered = [metric(one.scrape(reader), "controller_runtime_webhook_requests_total")
                    for one in env.sharders.replicas]
        assert all(answered), answered
    assert replica.metrics(reader, "/debug/pprof/heap")[0] == 403, "may not"
    assert replica.metrics(reader, "/other")[0] == 404


@suite.case("the status page on the metrics port: for whoever is bound to sharding:sharder:status-reader, and nobody else")
def status_page(env):
    replica = env.sharders.replicas[0]
    env.admin.create("serviceaccounts", "default", {"metadata": {"name": "looks"}})
    token = env.plane.service_account_token("default", "looks")
    assert replica.metrics(None, "/status")[0] == 401
    assert replica.metrics(env.plane.metrics_token(), "/status.json")[0] == 403, "may see metrics alone"
    env.admin.create("clusterrolebindings", None, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "looks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "sharding:sharder:status-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "looks", "namespace": "default"}]})
    env.plane.wait_allowed(token, path="/status.json")
    code, text = replica.metrics(token, "/status.json")
    assert code == 200 and "rings" in json.loads(text), (code, text)
    code, text = replica.metrics(token, "/status")
    assert code == 200 and text.startswith("<!DOCTYPE html>"), (code, text)
    assert replica.metrics(token)[0] == 403, "may see the page alone"


@suite.case("health: ok and ready, other paths 404")
def health(env):
    for replica in env.sharders.replicas:
        assert replica.health("/healthz")[0] == 200
        assert replica.health("/readyz")[0] == 200
        assert replica.health("/other")[0] == 404


if __name__ == "__main__":
    suite.main()
