#!/usr/bin/python3
"""Every way of having a certificate, under 30 creations a second: whatever changes, no creation fails, none is without its
shard, and the sharder has nothing to put right afterwards (docs/decisions/0008-serving-certificates.md)."""

import base64
import contextlib
import socket
import ssl
import time

from whole import Whole  # first: it finds the modules of tests/e2e
from kind_cluster import FOLDER

import pki
from cluster import SYSTEM_NAMESPACE
from environment import CONFIG_MAPS, SECRETS
from kubeclient import MERGE_PATCH
from processes import wait_until
from suite import Suite

SHARDS = ["shard-a", "shard-b", "shard-c"]
OWN, EXISTING = "sharder-webhook-server", "webhook-server"  # the Secrets of the modes
END = "-----END CERTIFICATE-----"
LONG_SECONDS = 600


class Certificates(Whole):
    """The overlay cert-manager, with cert-manager itself, and one ring."""

    def __init__(self, short):
        super().__init__(short, lambda env: env.installation.apply("cert-manager"), certificates=True)
        self.served, self._shards = None, None

    def __enter__(self):
        super().__enter__()
        self.served = self.ring("served", ((SECRETS, (CONFIG_MAPS,)),))
        self._shards = self.served.shards(*SHARDS)
        self._shards.__enter__()
        wait_until(lambda: self.served.status().get("availableShards") == 3, 30, "the ring has its shards")
        self.served.wait_webhook(60)
        return self

    def __exit__(self, *exception):
        self._shards.__exit__(*exception)
        self.plane.kubectl("delete", "namespace", self.served.namespace, "--wait=false", check=False)
        super().__exit__(*exception)

    @contextlib.contextmanager
    def unnoticed(self, what, seconds=0):
        """Traffic while something happens, for that many seconds at least; nobody noticed anything."""
        began = time.monotonic()
        with self.traffic(self.served) as traffic:
            yield
            time.sleep(max(0, seconds - (time.monotonic() - began)))
        traffic.check()
        self.figure(what, f"{time.monotonic() - began:.0f} s, {traffic.summary()}")

    def secret(self, name):
        found = self.admin.find("secrets", SYSTEM_NAMESPACE, name)
        return {key: base64.b64decode(value) for key, value in found["data"].items()} if found else {}

    def renew(self, certificate, secret):
        """As `cmctl renew` does: cert-manager issues it anew. Until the Secret has it."""
        before = self.secret(secret).get("tls.crt", b"")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        path = f"/apis/cert-manager.io/v1/namespaces/{SYSTEM_NAMESPACE}/certificates/{certificate}"
        conditions = [one for one in self.admin.request("GET", path)["status"]["conditions"] if one["type"] != "Issuing"]
        self.admin.request("PATCH", f"{path}/status", {"status": {"conditions": [*conditions, {
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
            "lastTransitionTime": now, "observedGeneration": 1}]}}, MERGE_PATCH)
        wait_until(lambda: (self.secret(secret).get("tls.crt") or before) != before, 60, f"{secret} has a new certificate",
                   interval=0.2)

    def wait_served(self, secret, timeout=60):
        """Until every pod shows the certificate of the Secret."""
        certificate = self.secret(secret)["tls.crt"]
        for pod in self.installation.pods():
            with self.installation.forwarded(pod, 9443) as port:
                wait_until(lambda port=port: shown(port) == leaf(certificate), timeout,
                           f"{pod['metadata']['name']} shows the certificate of {secret}", interval=0.2)

    # -- what happens; each ends when all is as it should be

    def renew_serving(self):
        self.renew("sharder-webhook", "sharder-webhook")
        self.wait_served("sharder-webhook")

    def renew_authority(self):
        """cert-manager does not renew the serving certificate by itself when its CA changes."""
        self.renew("webhook-ca", "webhook-ca")
        self.renew_serving()

    def rotate_own(self, key):
        """`key` of the Secret, gone: the leader makes what is missing anew."""
        before = self.secret(OWN)["tls.crt"]
        self.admin.patch("secrets", SYSTEM_NAMESPACE, OWN, {"data": {key: ""}})  # the API server wants tls.crt to be there
        wait_until(lambda: (self.secret(OWN).get("tls.crt") or before) != before, 30, "a new certificate")
        self.wait_served(OWN)

    def put_existing(self):
        """A Secret as Vault or somebody else writes it, of a new CA each time."""
        authority = pki.Authority(FOLDER / "existing-ca", f"existing-{time.monotonic_ns()}")
        pair = authority.issue("webhook", "/CN=sharder", (f"sharder.{SYSTEM_NAMESPACE}.svc",))
        data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
        self.admin.apply("secrets", SYSTEM_NAMESPACE, {
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": EXISTING},
            "data": {key: base64.b64encode(file.read_bytes()).decode() for key, file in data.items()}}, "vault", force=True)

    def rotate_existing(self):
        self.put_existing()
        self.wait_served(EXISTING)

    def change_mode(self, overlay, secret):
        if overlay == "existing-secret":
            self.put_existing()
        self.installation.apply(overlay)
        self.installation.restart()  # which configuration they read at their start is all that has changed
        wait_until(lambda: self.secret(secret).get("tls.crt"), 60, f"the Secret {secret}")
        self.wait_served(secret)

    def delete_leader(self):
        leader = self.installation.wait_leader()
        self.installation.delete_pod(leader)
        self.installation.wait_leader(other_than=leader["metadata"]["name"])
        self.installation.wait_rollout()

    def drain_node(self):
        node = self.installation.pods()[0]["spec"]["nodeName"]
        try:
            self.plane.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=110s")
            self.installation.wait_rollout()
        finally:
            self.plane.kubectl("uncordon", node)


def shown(port):
    """The certificate that a TLS port of this machine shows, DER; None while there is none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True)
    return None


def answers(port):
    """Whether a TLS port of this machine answers a request of a client without a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):  # the server's alert, when the client reads
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: sharder\r\n\r\n")
            return bool(connection.recv(1))
    return False


def leaf(chain):
    """The first certificate of a PEM chain, DER."""
    text = chain.decode()
    return ssl.PEM_cert_to_DER_cert(text[:text.index(END) + len(END)])


suite = Suite("kind: certificates", Certificates, parallel=False)


@suite.case("cert-manager renews the certificate, and its CA twice: nobody notices")
def cert_manager(env):
    with env.unnoticed("cert-manager renews the certificate"):
        env.renew_serving()
    for number in ("first", "second"):
        with env.unnoticed(f"cert-manager renews the CA, {number} time"):
            env.renew_authority()


@suite.case("a rolling update, and the leader's pod is deleted: nobody notices")
def rolling(env):
    with env.unnoticed("rolling update"):
        env.installation.restart()
    with env.unnoticed("the leader's pod is deleted"):
        env.delete_leader()


@suite.case("from cert-manager to selfManaged, where certificate and CA are rotated: nobody notices")
def self_managed(env):
    with env.unnoticed("from cert-manager to selfManaged"):
        env.change_mode("self-managed", OWN)
    with env.unnoticed("selfManaged: certificate and CA rotated"):
        env.rotate_own("tls.crt")
        env.rotate_own("ca.key")


@suite.case("from selfManaged to somebody's Secret, where another CA comes, and back to cert-manager: nobody notices")
def existing_secret(env):
    with env.unnoticed("from selfManaged to an existing Secret"):
        env.change_mode("existing-secret", EXISTING)
    with env.unnoticed("existing Secret: a new pair of another CA"):
        env.rotate_existing()
    with env.unnoticed("from an existing Secret to cert-manager"):
        env.change_mode("cert-manager", "sharder-webhook")


@suite.case("only the API server may call the webhook: it shows its client certificate, and nobody notices; others are refused")
def client_certificates(env):
    env.plane.kubectl("-n", SYSTEM_NAMESPACE, "create", "configmap", "sharder-client-ca",
                      f"--from-file=ca.crt={env.plane.admission_ca}")
    with env.unnoticed("to Helm, selfManaged, and client certificates"):
        env.installation.helm(
            "install", "--take-ownership",
            extraVolumes=[{"name": "client-ca", "configMap": {"name": "sharder-client-ca"}}],
            extraVolumeMounts=[{"name": "client-ca", "mountPath": "/etc/sharder/client-ca", "readOnly": True}],
            config={"webhook": {"server": {"clientCAFile": "/etc/sharder/client-ca/ca.crt"}}})
        env.installation.wait_rollout()
    with env.unnoticed("client certificates: a rolling update"):
        env.installation.restart()
    for pod in env.installation.pods():
        with env.installation.forwarded(pod, 9443) as port:
            assert not answers(port), f"{pod['metadata']['name']} answers a client without a certificate"


@suite.case("ten minutes of all that, and a node drained", long=True)
def ten_minutes(env):
    steps = [env.renew_serving, env.renew_authority, env.renew_authority, env.installation.restart, env.delete_leader,
             env.drain_node, lambda: env.change_mode("self-managed", OWN), lambda: env.rotate_own("tls.crt"),
             lambda: env.rotate_own("ca.key"), env.installation.restart,
             lambda: env.change_mode("existing-secret", EXISTING), env.rotate_existing, env.delete_leader,
             lambda: env.change_mode("cert-manager", "sharder-webhook"), env.renew_authority]
    began = time.monotonic()
    with env.unnoticed("ten minutes", LONG_SECONDS):
        for number, step in enumerate(steps):
            time.sleep(max(0, began + number * LONG_SECONDS / len(steps) - time.monotonic()))
            step()
    env.figure("pods", env.installation.footprint())
    wanted = ("apiserver_admission_webhook_fail_open_count", "apiserver_admission_webhook_rejection_count",
              "apiserver_admission_webhook_admission_duration_seconds")
    for line in env.admin.text("/metrics").splitlines():
        if line.startswith(wanted) and "sharder" in line and ("_bucket" not in line or 'le="0.025"' in line):
            env.figure("API server", line)


@suite.case("an hour of load, and what the pods take afterwards", long=True)
def an_hour(env):
    env.figure("pods before", env.installation.footprint())
    try:
        with env.unnoticed("an hour of load", 3600):
            pass
    finally:  # what they take is known, whatever else went wrong
        env.figure("pods after an hour", env.installation.footprint())


if __name__ == "__main__":
    suite.main()
