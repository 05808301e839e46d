"""Creates many objects with many clients, cheaply enough not to be what is measured.

Processes of a few connections each; each connection sends one prebuilt request after the other over a TLS socket and
reads no more of the answer than it must. 32 clients reach well over 1,000 creations a second on two cores together with
the API server.
"""

import json
import multiprocessing
import selectors
import socket
import ssl
import time
from dataclasses import dataclass, field

from kubeclient import path_of

PROCESSES = 2
LONGEST = 600  # seconds of a load


@dataclass
class Result:
    """What became of a load. Latencies in seconds, in no order."""
    latencies: list = field(default_factory=list)
    failures: list = field(default_factory=list)  # (status, body's begin); status 0: the connection broke
    seconds: float = 0.0
    bodies: list = field(default_factory=list)  # the answers, where they were asked for

    def quantile(self, fraction):
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else float("nan")

    def summary(self):
        return (f"{len(self.latencies)} requests in {self.seconds:.1f} s ({len(self.latencies) / self.seconds:.0f}/s), "
                f"median {self.quantile(0.5) * 1000:.2f} ms, p99 {self.quantile(0.99) * 1000:.2f} ms, "
                f"{len(self.failures)} failed")


@dataclass(frozen=True)
class Target:
    """A TLS server: an API server (with the client's certificate) or a webhook."""
    host: str
    port: int
    ca_file: str
    certificate: str = None
    key: str = None

    @staticmethod
    def of(client):
        credentials = client.credentials
        return Target(client.host, client.port, client.ca_file, str(credentials.certificate), str(credentials.key))


def creation(resource, namespace, body):
    """The bytes of a POST that creates an object."""
    return post(path_of(resource, namespace), json.dumps(body).encode())


def post(path, body):
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def run(target, requests, clients=32, rate=None, keep_bodies=False, timeout=60):
    """Sends all requests (bytes), `clients` at a time; `rate` a second where it is given. Order is not kept."""
    processes = max(1, min(PROCESSES, clients))
    if rate is not None or len(requests) < 200:
        processes = 1
    shares = [requests[index::processes] for index in range(processes)]
    counts = [clients // processes + (index < clients % processes) for index in range(processes)]
    if processes == 1:
        parts = [_run_share(target, requests, clients, rate, keep_bodies, timeout)]
    else:
        # Not forked: what other threads hold at that moment would stay locked for ever in the child.
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            parts = pool.starmap_async(_run_share, [(target, share, count, None, keep_bodies, timeout)
                                                    for share, count in zip(shares, counts)]).get(LONGEST)
    result = Result(seconds=max(part[1] for part in parts) - min(part[0] for part in parts))
    for _, _, latencies, failures, bodies in parts:
        result.latencies += latencies
        result.failures += failures
        result.bodies += bodies
    return result


def _run_share(target, requests, clients, rate, keep_bodies, timeout):
    began = time.monotonic()
    done = _Loop(target, requests, clients, rate, keep_bodies, timeout).run()
    return began, time.monotonic(), *done


class _Connection:
    def __init__(self, target, context):
        plain = socket.create_connection((target.host, target.port), timeout=20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=target.host)
        self.socket.setblocking(False)
        self.began = 0.0
        self.unsent = b""
        self.received = b""
        self.busy = False


class _Loop:
    """One process's share: a selector over its connections."""

    def __init__(self, target, requests, clients, rate, keep_bodies, timeout):
        self._target, self._requests, self._rate = target, requests, rate
        self._clients, self._keep_bodies, self._timeout = clients, keep_bodies, timeout
        self._context = ssl.create_default_context(cafile=target.ca_file)
        if target.certificate:
            self._context.load_cert_chain(target.certificate, target.key)
        self._selector = selectors.DefaultSelector()
        self._next = self._open = 0
        self._latencies, self._failures, self._bodies = [], [], []

    def run(self):
        self._idle = []
        for _ in range(min(self._clients, len(self._requests))):
            self._connect()
        self._began = last = time.monotonic()
        while len(self._latencies) + len(self._failures) < len(self._requests):
            self._start_idle()
            done = len(self._latencies) + len(self._failures)
            for key, _ in self._selector.select(0.002 if self._rate else 1.0):
                self._advance(key.data)
            now = time.monotonic()
            if len(self._latencies) + len(self._failures) > done:
                last = now
            elif now - last > self._timeout:
                self._failures.append((0, f"no answer for {self._timeout} s"))
                break
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()
        return self._latencies, self._failures, self._bodies

    def _connect(self):
        connection = _Connection(self._target, self._context)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._idle.append(connection)

    def _start_idle(self):
        while self._idle and self._next < len(self._requests):
            if self._rate and self._next >= (time.monotonic() - self._began) * self._rate:
                return
            connection = self._idle.pop()
            connection.unsent = self._requests[self._next]
            self._next += 1
            connection.received = b""
            connection.busy = True
            connection.began = time.monotonic()
            self._write(connection)

    def _advance(self, connection):
        if connection.unsent:
            self._write(connection)
        try:
            while True:
                data = connection.socket.recv(65536)
                if not data:
                    if not (connection.busy and self._finish(connection, closed=True)):
                        self._broken(connection, "closed by the server")
                    return
                connection.received += data
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError as error:
            self._broken(connection, str(error))
            return
        self._finish(connection)

    def _write(self, connection):
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent):]
            events = selectors.EVENT_READ
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            events = selectors.EVENT_READ | selectors.EVENT_WRITE
        except OSError as error:
            self._broken(connection, str(error))
            return
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)

    def _finish(self, connection, closed=False):
        """When the whole answer is there: notes it, the connection is free for the next request, and true."""
        answer = _split(connection.received)
        if answer is None:
            return False
        status, body, closes = answer
        if 200 <= status < 300:
            self._latencies.append(time.monotonic() - connection.began)
            if self._keep_bodies:
                self._bodies.append(body)
        else:
            self._failures.append((status, body[:300].decode(errors="replace")))
        connection.busy = False
        if closes or closed:
            self._replace(connection)
        else:
            self._idle.append(connection)
        return True

    def _broken(self, connection, why):
        if connection.busy:
            connection.busy = False
            self._failures.append((0, why))
        elif connection in self._idle:
            self._idle.remove(connection)
        self._replace(connection)

    def _replace(self, connection):
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if self._next < len(self._requests):
            try:
                self._connect()
            except OSError as error:
                self._failures.append((0, f"reconnect: {error}"))
                self._next += 1


def _split(received):
    """(status, body, whether the server closes) of a complete answer, or None."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    status = int(received[9:12])
    closes = b"\r\nconnection: close" in head
    begin = end + 4
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(head[at + 17:].split(b"\r\n", 1)[0])
        if len(received) < begin + length:
            return None
        return status, received[begin:begin + length], closes
    if b"\r\ntransfer-encoding: chunked" in head:
        if not received.endswith(b"0\r\n\r\n"):
            return None
        body, at = b"", begin
        while True:
            line = received.index(b"\r\n", at)
            size = int(received[at:line], 16)
            if size == 0:
                return status, body, closes
            body += received[line + 2:line + 2 + size]
            at = line + 2 + size + 2
    return status, b"", closes
