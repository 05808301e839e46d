"""Runs replicas of the sharder against a control plane, each with its own files and ports, behind one balancer."""

import base64
import contextlib
import http.client
import os
import shutil
import ssl
from pathlib import Path

import yaml

import pki
from cluster import ROOT, SYSTEM_NAMESPACE
from processes import Failed, Process, free_ports, wait_until
from reach import Address

GO_PORT = 9443  # where the Go project's sharder serves webhooks


def binary():
    """The program under test."""
    path = Path(os.environ.get("SHARDER_BIN") or ROOT / "build" / "bin" / "sharder")
    if not path.is_file():
        raise Failed(f"no {path}: `make build` makes it, or set SHARDER_BIN")
    return path


class CertificateVolume:
    """A folder as the kubelet mounts a Secret: tls.crt -> ..data/tls.crt, and ..data is swapped by a rename."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self._count = 0

    def publish(self, certificate, key):
        """Puts this pair (bytes) in place of the one before."""
        old = self.folder / f"..data-{self._count}"
        self._count += 1
        new = self.folder / f"..data-{self._count}"
        new.mkdir()
        (new / "tls.crt").write_bytes(certificate)
        (new / "tls.key").write_bytes(key)
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        shutil.rmtree(old, ignore_errors=True)


class Replica:
    """One process of the sharder."""

    def __init__(self, name, folder, webhook_port, ca_file, command, config, environment):
        self.name, self.folder, self.port, self.ca_file = name, folder, webhook_port, str(ca_file)
        self.config = config
        self.health_port = int(config["health"]["bindAddress"].rpartition(":")[2])
        self.metrics_port = int(config["metrics"]["bindAddress"].rpartition(":")[2])
        self.process = Process(name, command, folder / f"{name}.log", environment)

    def start(self):
        (self.folder / f"{self.name}.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")
        self.process.start()
        return self

    def health(self, path):
        """(status, text) of the health port; (0, reason) when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=5)
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def ready(self):
        return self.health("/readyz")[0] == 200

    def wait_ready(self, timeout=30):
        wait_until(self.ready, timeout, f"{self.name} is ready", alive=self.process)

    def metrics(self, token, path="/metrics"):
        """(status, text) of the metrics port, whose certificate is self-signed."""
        context = ssl._create_unverified_context()  # pylint: disable=protected-access
        connection = http.client.HTTPSConnection("127.0.0.1", self.metrics_port, timeout=10, context=context)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            with connection.getresponse() as response:
                return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def scrape(self, token):
        """The text of /metrics, for somebody who may read it. ConnectionError when it is not given."""
        status, text = self.metrics(token)
        if status != 200:
            raise ConnectionError(f"{self.name}: /metrics: {status} {text}")
        return text

    def log(self):
        try:
            return self.process.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""


class Sharders:
    """All replicas of one installation, and the balancer that their webhook configurations point to."""

    def __init__(self, plane, count=2, folder=None, overrides=None, address=None):
        """`overrides`: fields of SharderConfig, merged over those that a test needs. `address`: a reach.Address, where
        the API server calls the balancer; None: on loopback."""
        self.plane = plane
        self.folder = Path(folder or plane.folder / "sharder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority = pki.Authority(self.folder / "webhook-pki", "webhook-ca")
        ports = free_ports(count)
        self.address = address or Address("127.0.0.1", "127.0.0.1", *free_ports(1))
        self.balancer_port = self.address.port
        pair = self.authority.issue("webhook", "/CN=sharder", sorted({"127.0.0.1", self.address.host}))
        self.certificate, self.key = pair.certificate.read_bytes(), pair.key.read_bytes()
        self.overrides = overrides or {}
        self.kubeconfig = None
        self._forgotten = self.folder / "forgotten"
        self.balancer = Process("balancer", ["/usr/bin/python3", ROOT / "tests" / "e2e" / "balancer.py",
                                             self.address.listen, self.balancer_port, self._forgotten, *ports],
                                self.folder / "balancer.log")
        self.replicas = [self._make_replica(f"sharder-{index}", port) for index, port in enumerate(ports)]

    def _make_replica(self, name, port):
        volume = CertificateVolume(self.folder / f"{name}-certs")
        volume.publish(self.certificate, self.key)
        health, metrics = free_ports(2)
        config = {
            "apiVersion": "config.sharding.timebertt.dev/v1alpha1", "kind": "SharderConfig",
            "leaderElection": {"leaderElect": True, "resourceName": "sharder", "resourceNamespace": SYSTEM_NAMESPACE},
            "health": {"bindAddress": f"127.0.0.1:{health}"},
            "metrics": {"bindAddress": f"127.0.0.1:{metrics}"},
            "webhook": {
                "server": {"bindAddress": f"127.0.0.1:{port}", "certDir": str(volume.folder)},
                "config": {"clientConfig": {
                    "url": self.address.url,
                    "caBundle": base64.b64encode(self.authority.certificate.read_bytes()).decode()}}},
            "shutdownDelay": "0s",
        }
        merge(config, self.overrides)
        command = [binary(), "--config", self.folder / f"{name}.yaml", "--kubeconfig",
                   self.folder / "sharder.kubeconfig", "--log-level", os.environ.get("SHARDER_LOG_LEVEL", "info")]
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("KUBECONFIG", "LEADER_ELECT") and not key.lower().endswith("_proxy")}
        replica = Replica(name, self.folder, port, self.authority.certificate, command, config, environment)
        replica.volume = volume
        return replica

    def call_directly(self, replica):
        """Webhook configurations point to this replica, not to the balancer. Before they are started."""
        for one in self.replicas:
            one.config["webhook"]["config"]["clientConfig"]["url"] = f"https://127.0.0.1:{replica.port}"

    def become(self, go_sharder):
        """The only replica runs this program, the Go project's sharder. Before it is started. It serves webhooks at a
        port that is always the same."""
        replica, = self.replicas
        command = replica.process.command
        replica.process.environment["KUBECONFIG"] = command[command.index("--kubeconfig") + 1]
        replica.process.command = [str(go_sharder), f"--config={command[command.index('--config') + 1]}"]
        merge(replica.config, {"shutdownDelay": None, "webhook": {"server": {"bindAddress": None}}})
        self.balancer.command[-1], replica.port = str(GO_PORT), GO_PORT

    @contextlib.contextmanager
    def forgotten(self, replica):
        """The balancer opens no connection to this replica meanwhile, as a Service forgets a pod that is to end."""
        self._forgotten.write_text(str(replica.port), encoding="ascii")
        try:
            yield
        finally:
            self._forgotten.unlink()

    def write_kubeconfig(self):
        self.kubeconfig = self.plane.sharder_kubeconfig(self.folder / "sharder.kubeconfig")

    def start(self, wait=True):
        if self.kubeconfig is None:
            self.write_kubeconfig()
        if not self.balancer.alive():
            self.balancer.start()
        for replica in self.replicas:
            replica.start()
        if wait:
            for replica in self.replicas:
                replica.wait_ready()
        return self

    def stop(self):
        """Stops what runs; {name: exit code} of the replicas."""
        for replica in self.replicas:
            replica.process.ask_to_stop()
        codes = {replica.name: replica.process.stop(25) for replica in self.replicas}
        self.balancer.kill()
        return codes

    # -- leadership

    def lease(self):
        """The leader election's Lease, or None."""
        return self.plane.admin.find("leases", SYSTEM_NAMESPACE, "sharder")

    def holder(self):
        found = self.lease()
        return (found or {}).get("spec", {}).get("holderIdentity", "")

    def leader(self):
        """The replica that leads by its own metric; None when nobody does (yet)."""
        token = self.plane.metrics_token()
        for replica in self.replicas:
            if replica.process.alive():
                status, text = replica.metrics(token)
                if status == 200 and metric(text, "leader_election_master_status", name="sharder") == 1:
                    return replica
        return None

    def wait_leader(self, timeout=30):
        return wait_until(self.leader, timeout, "one of the replicas leads")


def merge(base, more):
    """Merges nested dicts of `more` into `base`; None takes a field away."""
    for key, value in more.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def metric(text, sample, /, **labels):
    """The sum of the samples with this name and at least these labels; None without one."""
    values = []
    for line in text.splitlines():
        if not line.startswith(sample) or line[len(sample):len(sample) + 1] not in ("{", " "):
            continue
        head, _, value = line.rpartition(" ")
        if all(f'{key}="{wanted}"' in head for key, wanted in labels.items()):
            values.append(float(value))
    return sum(values) if values else None
