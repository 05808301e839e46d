#!/usr/bin/python3
"""What the shard in Python (examples/python-shard) trusts its watches for, at a server and a clock of the test's own."""

import importlib
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e")]

import python_shard  # pylint: disable=wrong-import-position
from processes import wait_until  # pylint: disable=wrong-import-position
from suite import Suite  # pylint: disable=wrong-import-position

suite = Suite("python shard", parallel=False)
LABEL = "shard.alpha.sharding.timebertt.dev/r"


class Enough(BaseException):
    """Ends the thread's loop."""


class Server:
    """Plays the API server. Each watch takes 60 s; `happens(n)` gives the events of the n-th, and may change what lists
    show."""

    def __init__(self, happens, version, **objects):
        self.happens, self.version, self.objects = happens, version, objects
        self.now, self.watches, self.lists = 0.0, 0, []
        shard = importlib.import_module("shard")
        shard.steady = lambda: self.now
        self.watched = shard.Watched(self, "/p", LABEL, "me", threading.RLock(), lambda *_: None)
        try:
            self.watched.run()
        except Enough:
            pass

    def request(self, _method, _path, **_query):
        self.lists.append(self.now)
        return {"metadata": {"resourceVersion": str(self.version)},
                "items": [self.object(name, version) for name, version in self.objects.items()]}

    def watch(self, _path, **_query):
        self.watches += 1
        self.now += 60
        yield from self.happens(self, self.watches)

    @staticmethod
    def object(name, version):
        return {"metadata": {"namespace": "ns", "name": name, "resourceVersion": str(version),
                             "labels": {LABEL: "me"}}}

    def known(self):
        return {key[1]: item["metadata"]["resourceVersion"] for key, item in self.watched.objects.items()}


def bookmark(version):
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


@suite.case("the data is restored from an older copy, and the watch is silent: what there is now is seen in two minutes")
def restored(_):
    def happens(server, number):
        if number == 1:
            yield {"type": "ADDED", "object": server.object("gone", 11)}
            server.version, server.objects = 5, {"older": 4, "kept": 3}
        elif server.now > 60 + 120:
            raise Enough

    server = Server(happens, 10, kept=9)
    assert server.known() == {"older": "4", "kept": "3"}, server.known()
    assert server.lists == [0, 180], server.lists


@suite.case("versions that go backwards lead to a list, which is taken as it is")
def backwards(_):
    def happens(server, number):
        if number == 2:
            raise Enough
        server.version, server.objects = 6, {"new": 6}
        yield {"type": "ADDED", "object": server.object("new", 6)}

    server = Server(happens, 10, old=9)
    assert server.known() == {"new": "6"}, server.known()
    assert server.lists == [0, 60], server.lists


@suite.case("with a bookmark a minute no list is needed, and a state that is older than an answer is ignored")
def quiet(_):
    def happens(server, number):
        if number == 1:
            server.watched.take(server.object("a", 12), ours=False)  # let go of, says an answer
            yield {"type": "MODIFIED", "object": server.object("a", 11)}
        elif number > 10:
            raise Enough
        yield bookmark(10 + number)

    server = Server(happens, 10, a=9)
    assert server.lists == [0], server.lists
    assert not server.known(), server.known()


@suite.case("an answer that makes no sense ends no watch for ever: it lists again, after a pause")
def nonsense(_):
    def happens(server, number):
        if number == 1:
            server.objects = {"new": 11}
            yield {"type": "ADDED", "object": {"metadata": {"namespace": "ns", "name": "no version"}}}
        elif number == 2:
            yield "neither"
        else:
            raise Enough

    server = Server(happens, 10, old=9)
    assert server.known() == {"new": "11"}, server.known()
    assert server.lists == [0, 60, 120], server.lists


@suite.case("an answer that makes no sense does not end the renewals of the Lease")
def nonsense_about_lease(_):
    shard = importlib.import_module("shard")
    now, asked = 0.0, []

    class Leases:
        """Answers in time, but the second time with something else than a Lease."""

        @staticmethod
        def find(_path):
            asked.append(now)
            return {"metadata": None, "spec": 7} if len(asked) == 2 else None if len(asked) == 1 else held

        @staticmethod
        def request(_method, _path, body):
            nonlocal held
            held = body
            return body

    held = None
    shard.steady = lambda: now
    shard.RETRY_PERIOD = 0.01
    journal = type("Journal", (), {"note": staticmethod(lambda *_, **__: None)})
    lease = shard.Lease(Leases(), "ns", "me", "r", journal)
    assert lease.acquire()
    wait_until(lambda: len(asked) >= 4, 20, "it is renewed again")
    assert lease.valid() and not lease.lost.is_set()
    lease.release()
    assert held["spec"]["holderIdentity"] == "", held


if __name__ == "__main__":
    packages, = (python_shard.interpreter().parent.parent / "lib").glob("python*/site-packages")
    sys.path[:0] = [str(python_shard.FOLDER), str(packages)]
    suite.main()
