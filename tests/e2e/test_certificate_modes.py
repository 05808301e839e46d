#!/usr/bin/python3
"""The webhook's certificate in a Secret (docs/decisions/0008-serving-certificates.md): while it changes, whoever changes
it, each object gets its shard when it is created."""

import base64
import socket
import ssl
import threading
import time

import oracle
import pki
from cluster import ROOT, SYSTEM_NAMESPACE
from environment import Environment
from kubeclient import ApiError
from processes import wait_until
from sharder import merge
from suite import Suite

suite = Suite("certificate_modes", parallel=False)

NAMES = ["shard-a", "shard-b", "shard-c"]
OVERLAYS = {"secret": "existing-secret", "selfManaged": "self-managed"}
SECRETS = {"secret": "webhook-server", "selfManaged": "sharder-webhook-server"}
INJECT = "cert-manager.io/inject-ca-from"
TAKE_UP = 2  # seconds that a replica leaves other API servers to see a webhook configuration


class Modes(Environment):
    """Two replicas in one of the modes, with the Role of its overlay."""

    def __init__(self, mode, short, **more):
        self.mode = mode
        super().__init__(short=short, start=False, **more, overrides={
            "shutdownDelay": "2s",  # a replica that ends closes its connections with answers, as in a cluster
            "webhook": {"certificates": mode, "server": {"certDir": "/nonexistent"},
                        "config": {"clientConfig": {"caBundle": None}}}})

    def __enter__(self):
        super().__enter__()
        self.plane.kubectl("apply", "-f", ROOT / "manifests" / "overlays" / OVERLAYS[self.mode] / "secret_role.yaml")
        self.plane.wait_allowed(self.plane.service_account_token(), verb="watch", group="", resource="secrets",
                                namespace=SYSTEM_NAMESPACE, name=SECRETS[self.mode])
        return self

    def trust(self, roots):
        """What this test trusts when it sends admission reviews itself."""
        file = self.plane.folder / "trusted.pem"
        file.write_bytes(roots)
        for replica in self.sharders.replicas:
            replica.ca_file = str(file)

    def secret(self):
        found = self.admin.find("secrets", SYSTEM_NAMESPACE, SECRETS[self.mode])
        return {key: base64.b64decode(value) for key, value in found["data"].items()} if found else {}

    def put_secret(self, data, name=None):
        body = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"name": name or SECRETS[self.mode]},
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()}}
        self.admin.apply("secrets", SYSTEM_NAMESPACE, body, "issuer", force=True)

    def shown(self, replica):
        """The certificate that the replica's webhook port shows, PEM; None while it shows none."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", replica.port), timeout=5) as plain:
                with context.wrap_socket(plain) as connection:
                    return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True)).encode()
        except (OSError, ssl.SSLError):
            return None

    def roll(self, webhook):
        """A rolling update to this configuration, the leader last: for a while a replica with the new one serves under
        a leader with the old one."""
        leader = self.sharders.wait_leader()
        for replica in sorted(self.sharders.replicas, key=lambda one: one is leader):
            merge(replica.config["webhook"], webhook)
            with self.sharders.forgotten(replica):
                replica.process.stop(25)
                replica.start().wait_ready()
            time.sleep(2)

    def wait_shown(self, certificate, timeout=30):
        for replica in self.sharders.replicas:
            wait_until(lambda replica=replica: self.shown(replica) == certificate, timeout,
                       f"{replica.name} shows the new certificate", interval=0.1)

    def bundle(self, ring):
        configuration = ring.webhook_configuration() or {"webhooks": [{"clientConfig": {}}]}
        return base64.b64decode(configuration["webhooks"][0]["clientConfig"].get("caBundle", ""))


class Creations:
    """Creates Secrets all the time, and counts those that got no shard."""

    def __init__(self, env, ring):
        self._env, self._ring = env, ring
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.made, self.missed = 0, []

    def _run(self):
        while not self._stop.wait(0.02):
            item = self._env.admin.create("secrets", self._ring.namespace, {"metadata": {"name": f"s-{self.made}"}})
            self.made += 1
            if oracle.shard_of(item, self._ring.name) is None:
                self.missed.append((self.made, time.time()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                wait_until(lambda: self.made > 20, 30, "more than 20 creations")
        finally:
            self._stop.set()
            self._thread.join(30)
        if kind is None:
            assert not self.missed, f"{len(self.missed)} of {self.made} got no shard: {self.missed[:3]}"

    def go_on(self, seconds):
        """For so long, and for 7 creations a second: so many at least meet what goes on."""
        until, count = time.monotonic() + seconds, self.made + 7 * seconds
        wait_until(lambda: time.monotonic() > until and self.made > count, seconds + 30, "some creations", interval=0.1)


class Injector:
    """cert-manager's cainjector: writes a CA into the webhook configurations that ask for it, `delay` seconds later."""

    def __init__(self, env, roots):
        self._env, self.roots, self.delay = env, roots, 0
        self._asked = {}  # since when, by name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)

    def _run(self):
        while not self._stop.wait(0.05):
            for configuration in self._env.admin.list("mutatingwebhookconfigurations"):
                self._look(configuration)

    def _look(self, configuration):
        name, now = configuration["metadata"]["name"], time.monotonic()
        if INJECT not in configuration["metadata"].get("annotations", {}):
            self._asked.pop(name, None)
            return
        bundle = base64.b64encode(self.roots).decode()
        client = configuration["webhooks"][0]["clientConfig"]
        if client.get("caBundle") == bundle or now < self._asked.setdefault(name, now) + self.delay:
            return
        client["caBundle"] = bundle
        try:
            self._env.admin.update("mutatingwebhookconfigurations", None, name, configuration,
                                   fieldManager="cert-manager-cainjector")
        except ApiError as error:
            assert error.status == 409, error  # it looks again


def bundle_owners(ring):
    """The managers that own the caBundle of the ring's webhook configuration."""
    return {entry["manager"] for entry in ring.webhook_configuration()["metadata"]["managedFields"]
            if "f:caBundle" in str(entry["fieldsV1"])}


def issued(authority, name):
    """The data of a Secret as cert-manager writes it."""
    pair = authority.issue(name, "/CN=sharder", ("127.0.0.1",))
    return {"tls.crt": pair.certificate.read_bytes(), "tls.key": pair.key.read_bytes(),
            "ca.crt": authority.certificate.read_bytes()}


@suite.case("selfManaged: it comes up with nothing but its Role; its Secret is restored when it is deleted or damaged, and "
            "a new CA costs no admission")
def self_managed(bare):
    with Modes("selfManaged", bare.short) as env:
        env.sharders.start()
        env.trust(wait_until(env.secret, 10, "the Secret")["ca.crt"])
        ring = env.ring("self-managed")
        with ring.shards(*NAMES, duration=60):
            ring.wait_ready(NAMES)
            before = env.secret()
            assert set(before) == {"tls.crt", "tls.key", "ca.crt", "ca.key"}, set(before)
            with Creations(env, ring) as creations:
                env.admin.delete("secrets", SYSTEM_NAMESPACE, SECRETS[env.mode])
                wait_until(lambda: env.secret() == before, 10, "the Secret is back as it was")
                env.put_secret({**before, "tls.key": b"nonsense"})
                wait_until(lambda: env.secret() == before, 10, "its key is back")
                creations.go_on(1)
                # A value that is absent asks for a new one.
                env.admin.patch("secrets", SYSTEM_NAMESPACE, SECRETS[env.mode], {"data": {"ca.key": None}})
                renewed = wait_until(lambda: env.secret().get("ca.key", before["ca.key"]) != before["ca.key"] and
                                     env.secret(), 20, "a new CA")
                assert renewed["ca.crt"] != before["ca.crt"] and before["ca.crt"] in renewed["ca.crt"]
                env.wait_shown(renewed["tls.crt"])
                creations.go_on(3)
            assert before["ca.crt"] in env.bundle(ring), "the old CA is trusted for an hour more"
            ring.wait_settled(NAMES)


@suite.case("secret: ten rotations of certificate and CA under load: each object gets its shard, and the CAs of the "
            "last hour are trusted")
def rotations(bare):
    count = 3 if bare.short else 10
    with Modes("secret", bare.short) as env:
        authorities = [pki.Authority(env.plane.folder / f"ca-{number}", "webhook-ca") for number in range(count + 1)]
        env.put_secret(issued(authorities[0], "first"))
        env.trust(authorities[0].certificate.read_bytes())
        env.sharders.start()
        ring = env.ring("rotations")
        other = env.ring("rotations-other")
        with ring.shards(*NAMES, duration=60), other.shards(*NAMES, duration=60):
            ring.wait_ready(NAMES)
            other.wait_ready(NAMES)
            slowest = 0
            with Creations(env, ring) as creations, Creations(env, other):
                for number in range(1, count + 1):
                    data = issued(authorities[number], f"pair-{number}")
                    began = time.monotonic()
                    env.put_secret(data)
                    env.wait_shown(data["tls.crt"])
                    slowest = max(slowest, time.monotonic() - began)
                    creations.go_on(0.5)
                made = creations.made
            bundle = env.bundle(ring)
            for authority in authorities[max(0, count - 8):]:
                assert authority.certificate.read_bytes().strip() in bundle, "the CAs of the last hour are trusted"
            assert slowest >= TAKE_UP, f"{slowest:.2f} s"
        env.figure(f"{count} rotations of certificate and CA", f"{made} objects, each with its shard; at the longest "
                   f"{slowest:.2f} s until both replicas showed the new certificate")
        bare.figures += env.figures


@suite.case("secret: without a good certificate it is not ready and says why; the old one stays when the Secret breaks")
def bad_secret(bare):
    with Modes("secret", bare.short) as env:
        authority = pki.Authority(env.plane.folder / "ca", "webhook-ca")
        good = issued(authority, "good")
        env.trust(good["ca.crt"])
        env.sharders.start(wait=False)
        replica = env.sharders.replicas[0]
        reason = "the webhook's Secret does not exist"
        wait_until(lambda: reason in replica.health("/readyz")[1], 20, "not ready: no Secret", alive=replica.process)
        env.put_secret({**good, "tls.key": b"MARKER"})
        reason = "the webhook's Secret has no good certificate"
        wait_until(lambda: reason in replica.health("/readyz")[1], 20, "not ready: a bad key", alive=replica.process)
        wait_until(lambda: "tls.key" in replica.log(), 10, "the log names the key")
        assert "MARKER" not in replica.log()
        assert env.shown(replica) is None
        env.put_secret(good)
        for one in env.sharders.replicas:
            one.wait_ready()
        ring = env.ring("bad-secret")
        with ring.shards(*NAMES, duration=60):
            ring.wait_ready(NAMES)
            with Creations(env, ring) as creations:
                env.put_secret({**good, "tls.crt": b"nonsense"})
                creations.go_on(1)
                env.admin.delete("secrets", SYSTEM_NAMESPACE, SECRETS[env.mode])
                creations.go_on(2)
            assert good["ca.crt"].strip() in env.bundle(ring)
            assert replica.ready()


@suite.case("a change from files to selfManaged in a rolling update: the old pair and caBundle serve until the new ones do")
def change_of_mode(bare):
    with Modes("selfManaged", bare.short) as env:
        authority = env.sharders.authority.certificate.read_bytes()
        for replica in env.sharders.replicas:
            replica.config["shutdownDelay"] = "2s"  # connections from before end meanwhile, each with an answer
            replica.config["webhook"]["certificates"] = "files"
            replica.config["webhook"]["server"]["certDir"] = str(replica.volume.folder)
            replica.config["webhook"]["config"]["clientConfig"]["caBundle"] = base64.b64encode(authority).decode()
        env.sharders.start()
        ring = env.ring("change-of-mode")
        with ring.shards(*NAMES, duration=60):
            ring.wait_ready(NAMES)
            leader = env.sharders.wait_leader()
            old = env.shown(leader)
            with Creations(env, ring) as creations:
                # The leader last: for a while a replica of the new mode serves under a leader of the old one.
                for replica in sorted(env.sharders.replicas, key=lambda one: one is leader):
                    replica.config["webhook"]["certificates"] = "selfManaged"
                    del replica.config["webhook"]["config"]["clientConfig"]["caBundle"]
                    with env.sharders.forgotten(replica):
                        creations.go_on(1)  # without new connections to it
                        replica.process.stop(25)
                        replica.start().wait_ready()
                    assert env.shown(replica) == old or replica is leader
                    creations.go_on(2)
                secret = wait_until(env.secret, 30, "the new leader has made the Secret")
                env.wait_shown(secret["tls.crt"])
                creations.go_on(1)
            bundle = env.bundle(ring)
            assert authority.strip() in bundle and secret["ca.crt"] in bundle


@suite.case("from files to another Secret, to the Secret of the files, and back to files with an injector that is late: no "
            "creation is missed")
def there_and_back(bare):
    with Modes("secret", bare.short, may_be_forbidden=True) as env:  # each mode's Role takes that of the one before
        theirs = env.sharders.authority.certificate.read_bytes()
        ours = pki.Authority(env.plane.folder / "ca", "webhook-ca")
        renewed = pki.Authority(env.plane.folder / "renewed-ca", "webhook-ca")
        volumes = [replica.volume for replica in env.sharders.replicas]
        annotation = {INJECT: f"{SYSTEM_NAMESPACE}/webhook-server"}
        for replica in env.sharders.replicas:
            merge(replica.config["webhook"], {"certificates": "files", "config": {"annotations": annotation},
                                              "server": {"certDir": str(replica.volume.folder)}})
        env.sharders.start()
        ring = env.ring("there-and-back")
        with Injector(env, theirs) as injector, ring.shards(*NAMES, duration=60) as shards:
            ring.wait_ready(NAMES)
            with Creations(env, ring) as creations:
                mine = issued(ours, "ours")
                env.put_secret(mine, "sharder-webhook")
                env.plane.kubectl("apply", "-f", ROOT / "manifests" / "overlays" / "cert-manager" / "secret_role.yaml")
                env.roll({"certificates": "secret", "secretName": "sharder-webhook", "config": {"annotations": None}})
                env.wait_shown(mine["tls.crt"])
                creations.go_on(1)
                assert INJECT not in ring.webhook_configuration()["metadata"].get("annotations", {})

                # The Certificate of the files has another CA by now. The pair that is trusted is in a subfolder.
                again = issued(renewed, "renewed")
                env.put_secret(again)
                for volume in volumes:
                    volume.publish(again["tls.crt"], again["tls.key"])
                    (volume.folder / "sharder-webhook").mkdir()
                    for name in ("tls.crt", "tls.key"):
                        (volume.folder / "sharder-webhook" / name).write_bytes(mine[name])
                env.plane.kubectl("apply", "-f", ROOT / "manifests/overlays/existing-secret/secret_role.yaml")
                env.roll({"secretName": "webhook-server"})
                env.wait_shown(again["tls.crt"])
                creations.go_on(1)

                # The configuration and the permissions of the Go project: it may not read webhook configurations.
                env.plane.forbid_reading_configurations()
                injector.roots, injector.delay = again["ca.crt"], 5
                env.roll({"certificates": "files", "secretName": None, "config": {"annotations": annotation}})
                wait_until(lambda: env.bundle(ring) == again["ca.crt"], 30, "the injector has written its CA")
                wait_until(lambda: bundle_owners(ring) == {"cert-manager-cainjector"}, 10, "and owns the caBundle")
                generation = ring.webhook_configuration()["metadata"]["generation"]
                env.trust(again["ca.crt"])
                shards.start("shard-d")  # the configuration is applied
                ring.wait_members([*NAMES, "shard-d"])
                creations.go_on(2)
            configuration = ring.webhook_configuration()
            assert env.bundle(ring) == again["ca.crt"] and bundle_owners(ring) == {"cert-manager-cainjector"}
            assert configuration["metadata"]["generation"] == generation
        env.figure("files, secret, secret, files, in rolling updates", f"{creations.made} objects, each with its shard")
        bare.figures += env.figures


if __name__ == "__main__":
    suite.main()
