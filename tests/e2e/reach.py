"""Which address of this machine does a cluster's API server reach? A webhook that runs here is called there.

`candidates()` chooses, from what is known of the cluster, the addresses that are worth a try. `Probe` tries them: the API
server says, in its answer to a dry run, what came of its call.
"""

import base64
import contextlib
import fcntl
import http.server
import ipaddress
import json
import socket
import socketserver
import ssl
import struct
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import pki
from balancer import listener
from kubeclient import ApiError
from processes import Failed, wait_until

# Names under which containers and virtual machines on a desktop reach the machine that they run on.
NAMES_OF_THE_HOST = ("host.docker.internal", "host.containers.internal")
EVERYWHERE = "0.0.0.0"

REACHED = {"reached": "yes"}
_LABEL = "sharder-probe"
_CALL_SECONDS = 5  # for one call of the webhook; a firewall that drops packets costs this much
_SIOCGIFADDR = 0x8915  # of linux/sockios.h


@dataclass(frozen=True)
class Address:
    """A way to this machine: the API server calls `host`, this machine listens on `listen`."""
    host: str
    listen: str
    port: int
    why: str = ""

    @property
    def url(self):
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def is_loopback(address):
    return ipaddress.ip_address(address).is_loopback


def is_own(address, machine):
    return is_loopback(address) or machine.route_to(address) == address


def candidates(server, nodes, machine, port):
    """The addresses worth a try, those that fewest others can reach first.

    `server`: the host of the kubeconfig's server; `nodes`: (name, InternalIP) of the nodes that are known; `machine`: a
    Machine, or what stands for it; `port`: where it is to listen.
    """
    found = {}

    def add(host, why, listen=None):
        if host:
            found.setdefault(host, Address(host, listen or host, port, why))

    servers = machine.resolve(server)
    for address in filter(is_loopback, servers):
        add(address, "where the API server listens too")
    for name, address in nodes:
        route = machine.route_to(address)
        if route and not is_loopback(route):
            add(route, f"from where this machine reaches node {name}, {address}")
    for address in servers:
        if not is_loopback(address):
            add(machine.route_to(address), f"from where this machine reaches the API server, {address}")
    # Behind a server on this machine there may be a container or a virtual machine whose nodes nobody shows us, or to
    # whose nodes there is no route.
    if any(is_own(address, machine) for address in servers):
        for name, address in machine.bridges():
            add(address, f"the bridge {name} of this machine")
        for name in NAMES_OF_THE_HOST:
            add(name, "a container's name for this machine", EVERYWHERE)
    return list(found.values())


def given(text, machine, port):
    """The address that somebody chose, "HOST" or "HOST:PORT"; `port` when that has none. What is not this machine's leads
    to it somehow, by a tunnel for example, and may arrive everywhere."""
    parts = urllib.parse.urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port or port
    except ValueError:
        host = None
    if not host or parts.netloc != text or parts.username is not None:
        raise Failed(f"{text!r} is neither HOST nor HOST:PORT")
    own = [address for address in machine.resolve(host) if is_own(address, machine)]
    return Address(host, own[0] if own else EVERYWHERE, port, "as you said")


class Machine:
    """What the kernel and the resolver of this machine know."""

    def resolve(self, host):
        """The addresses of a name; [] when it has none."""
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        except OSError:
            return []
        return list(dict.fromkeys(answer[4][0].partition("%")[0] for answer in answers))

    def route_to(self, address):
        """The address of this machine from which it talks to that one; None when there is no way. Sends nothing."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                return probe.getsockname()[0]
        except OSError:
            return None

    def bridges(self):
        """(name, IPv4 address) of the bridges that have one: those of docker, podman and libvirt are among them."""
        found = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            for folder in sorted(Path("/sys/class/net").glob("*/bridge")):
                name = folder.parent.name
                with contextlib.suppress(OSError):
                    answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                    found.append((name, socket.inet_ntoa(answer[20:24])))
        return found


class Probe:
    """Tries addresses, before anything else is there: a webhook configuration of its own, whose webhooks concern nothing
    but ConfigMaps of `namespace` with a label that only the dry runs of this class have. Use as a context manager."""

    def __init__(self, client, name, namespace, addresses, folder):
        """`name`: the configuration's; `folder`: for certificates."""
        self._client, self._name, self._namespace = client, name, namespace
        self._addresses = list(addresses)
        self._authority = pki.Authority(folder, "probe-ca")
        pair = self._authority.issue("probe", "/CN=probe", [address.host for address in self._addresses])
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair.certificate, pair.key)

    def __enter__(self):
        self._client.create("mutatingwebhookconfigurations", None, {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [self._webhook(number, address) for number, address in enumerate(self._addresses)]})
        return self

    def __exit__(self, *_):
        self._client.delete("mutatingwebhookconfigurations", None, self._name)

    def refusal(self, address):
        """None when the API server reaches this machine there, else what it says, or this machine."""
        try:
            listening = listener(address.listen, address.port)
        except OSError as error:
            return f"this machine cannot listen on port {address.port} of {address.listen}: {error.strerror}"
        label = str(self._addresses.index(address))
        with _Webhook(self._tls.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)):
            try:
                # It takes the API server a moment to know of a webhook configuration.
                wait_until(lambda: self._dry_run(label).get("data") == REACHED, 20, "the API server calls the webhook")
            except ApiError as error:
                return error.message
            except Failed:
                return "no webhook is called for a ConfigMap in the namespace of this demonstration"
        return None

    def _dry_run(self, label):
        return self._client.create("configmaps", self._namespace, {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "reached", "labels": {_LABEL: label}}},
            dryRun="All")

    def _webhook(self, number, address):
        return {
            "name": f"probe-{number}.sharding.timebertt.dev", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": address.url,
                             "caBundle": base64.b64encode(self._authority.certificate.read_bytes()).decode()},
            "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": _CALL_SECONDS,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}},
            "objectSelector": {"matchLabels": {_LABEL: str(number)}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                       "operations": ["CREATE"], "scope": "Namespaced"}]}


class _Webhook(socketserver.ThreadingTCPServer):
    """Answers admission reviews on a socket that listens already, as long as the context is entered."""

    daemon_threads = True

    def __init__(self, listening):
        super().__init__(listening.getsockname()[:2], _Review, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=[0.05], name="probe", daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """What fails here the API server tells."""


class _Review(http.server.BaseHTTPRequestHandler):
    """Marks every object, so that one sees that the webhook was called."""

    def do_POST(self):  # pylint: disable=invalid-name
        uid = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]["uid"]
        patch = [{"op": "add", "path": "/data", "value": REACHED}]
        answer = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": uid, "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode()}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass
