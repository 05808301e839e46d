#!/usr/bin/python3
"""webhook.server.clientCAFile: only clients with a certificate of that CA may call the webhook (design, 6.14)."""

import os
import ssl
import subprocess

import admission
import oracle
import pki
from environment import Environment
from processes import free_ports, wait_until
from sharder import metric
from suite import Suite

suite = Suite("client_certificates", parallel=False)

NAMES = ["shard-a", "shard-b", "shard-c"]


class Strict(Environment):
    """Two replicas that serve only clients of plane.webhook_client_authority."""

    def __init__(self, short):
        self.port, = free_ports(1)
        # An API server that has just started permits nothing for a moment.
        super().__init__(short=short, start=False, webhook_port=self.port, may_be_forbidden=True)

    def __enter__(self):
        super().__enter__()
        self.file = self.plane.folder / "client-ca" / "ca.crt"
        self.file.parent.mkdir()
        self.trust(self.plane.webhook_client_authority)
        for replica in self.sharders.replicas:
            replica.config["webhook"]["server"]["clientCAFile"] = str(self.file)
        self.sharders.start()
        return self

    def trust(self, *authorities):
        new = self.file.with_suffix(".new")
        new.write_bytes(b"".join(one.certificate.read_bytes() for one in authorities))
        new.rename(self.file)

    def answers(self, ring, pair):
        """Whether each replica answers a client that shows this certificate (None: none)."""
        found = {answers(replica, ring, pair) for replica in self.sharders.replicas}
        return found.pop() if len(found) == 1 else None

    def assigned(self, ring):
        """Whether the webhook assigns what the API server is asked to create. A dry run: else the leader would."""
        made = self.admin.create("secrets", ring.namespace, {"metadata": {"name": "dry"}}, dryRun="All")
        return oracle.shard_of(made, ring.name) is not None


def answers(replica, ring, pair):
    """False when the client is refused in the handshake: it gets an alert, no reset."""
    webhook = admission.Webhook(replica.port, replica.ca_file, pair)
    try:
        return webhook.shard(ring.name, admission.secret_review(ring.namespace, "direct")) is not None
    except ssl.SSLError as error:
        assert "alert" in str(error).lower(), error
        return False
    finally:
        webhook.close()


def server_only(authority):
    return authority.issue("server-only", "/CN=kube-apiserver", ("127.0.0.1",))


@suite.case("only the API server is served, with the client certificate of its admission kubeconfig, also while the CA "
            "changes")
def strict(bare):
    with Strict(bare.short) as env:
        plane = env.plane
        first, second = plane.webhook_client_authority, pki.Authority(plane.folder / "second-ca", "webhook-client-ca")
        old, new = plane.webhook_client, second.issue("client", "/CN=kube-apiserver")
        ring = env.ring("strict")
        with ring.shards(*NAMES, duration=60):
            wait_until(lambda: env.assigned(ring), 30, "the API server calls the webhook")
            ring.create_secrets(20)
            ring.wait_settled(NAMES)
            assert env.answers(ring, old) is True
            for pair in (None, new, server_only(first)):
                assert env.answers(ring, pair) is False, pair
            for replica in env.sharders.replicas:
                assert "client refused in the TLS handshake" in replica.log()
                assert replica.health("/readyz")[0] == 200
                refused = metric(replica.scrape(plane.metrics_token()), "controller_sharding_refused_clients_total")
                assert refused >= 3, refused  # none, another authority's, a server's

            # A change of the CA: trust both, show the new certificate, forget the old one.
            env.trust(first, second)
            wait_until(lambda: env.answers(ring, new), 20, "both authorities are trusted")
            assert env.answers(ring, old) is True and env.assigned(ring)
            os.replace(new.certificate, old.certificate)
            os.replace(new.key, old.key)
            plane.kill_apiserver()
            plane.start_apiserver()
            wait_until(lambda: env.assigned(ring), 60, "the API server shows the new certificate")
            env.trust(second)
            wait_until(lambda: env.answers(ring, first.issue("again", "/CN=kube-apiserver")) is False, 20,
                       "the old authority is forgotten")
            wait_until(lambda: env.assigned(ring), 20, "the API server is served")

            # A file that is damaged changes nothing; another CA shuts out the API server, also on open connections.
            env.file.write_text("nonsense", encoding="ascii")
            for replica in env.sharders.replicas:
                wait_until(lambda replica=replica: "client CA not reloaded" in replica.log(), 20, "a line of the log")
            assert env.assigned(ring) and env.answers(ring, old) is True
            env.trust(first)
            wait_until(lambda: not env.assigned(ring), 20, "the API server is refused")
            env.trust(second)
            wait_until(lambda: env.assigned(ring), 20, "the API server is served again")


@suite.case("a session is not resumed without a certificate")
def resumption(bare):
    with Strict(bare.short) as env:
        replica = env.sharders.replicas[0]
        pair = env.plane.webhook_client
        for version in ("-tls1_2", "-tls1_3"):
            session = env.plane.folder / f"session{version}"
            connect = ["openssl", "s_client", "-connect", f"127.0.0.1:{replica.port}", version, "-ign_eof"]
            subprocess.run([*connect, "-cert", pair.certificate, "-key", pair.key, "-sess_out", session],
                           input=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", capture_output=True,
                           check=False, timeout=30)
            done = subprocess.run([*connect, *(["-sess_in", session] if session.exists() else [])],
                                  input=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                                  capture_output=True, check=False, timeout=30)
            assert b"HTTP/1.1" not in done.stdout and b"Reused" not in done.stdout, done.stdout[-2000:]


if __name__ == "__main__":
    suite.main()
