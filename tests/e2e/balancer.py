#!/usr/bin/python3
"""A TCP balancer that stands for a Kubernetes Service: connections go to the backends in turn.

    balancer.py ADDRESS PORT FORGOTTEN BACKEND_PORT...

It listens on ADDRESS and PORT; the backends are on loopback, and one that refuses is passed over, as is one whose port
stands in the file FORGOTTEN: a Service forgets pods that are to end. Bytes are only forwarded, so TLS is between the client
and the backend.
"""

import selectors
import socket
import sys
from pathlib import Path


def listener(address, port):
    """A socket that listens there, for IPv4 or IPv6."""
    return socket.create_server((address, port), backlog=512,
                                family=socket.AF_INET6 if ":" in address else socket.AF_INET)


class Balancer:
    """One thread; every connection is a pair of sockets that feed each other."""

    def __init__(self, address, port, forgotten, backends):
        self._forgotten, self._backends, self._turn = forgotten, backends, 0
        self._selector = selectors.DefaultSelector()
        self._listener = listener(address, port)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers = {}  # socket -> the socket at the other end

    def run(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._peers:  # not closed by an event before this one
                    self._forward(key.fileobj)

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        forgotten = self._forgotten_ports()
        for _ in self._backends:
            self._turn = (self._turn + 1) % len(self._backends)
            if str(self._backends[self._turn]) in forgotten:
                continue
            try:
                backend = socket.create_connection(("127.0.0.1", self._backends[self._turn]), timeout=1)
            except OSError:
                continue
            for end in (client, backend):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(5)  # of a send to an end that does not read; we read only what has arrived
                self._selector.register(end, selectors.EVENT_READ)
            self._peers[client], self._peers[backend] = backend, client
            return
        client.close()

    def _forgotten_ports(self):
        try:
            return self._forgotten.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return []

    def _forward(self, source):
        try:
            data = source.recv(262144)
            if data:
                self._peers[source].sendall(data)
                return
        except OSError:
            pass
        other = self._peers.pop(source)
        del self._peers[other]
        for end in (source, other):
            self._selector.unregister(end)
            end.close()


if __name__ == "__main__":
    Balancer(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), [int(port) for port in sys.argv[4:]]).run()
