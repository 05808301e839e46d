"""What is seen from outside: the requests of the shard, from the audit log, and each version of each object."""

import collections
import http.client
import json
import re
import threading
import time
from dataclasses import dataclass

from kubeclient import ApiError, path_of
from shards import parse_time

KIT_AGENT = "sharder-conformance"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
LISTS = ("list", "watch")
NOT_WORK = ("leases", "events")  # writes to these are no work on an object
# Names of the kit's main objects: what belongs to one has its name somewhere in the request.
NAME = re.compile(r"object-\d{4}x")


def name_of(number):
    return f"object-{number:04d}x"


@dataclass(frozen=True)
class Request:
    """One request of a shard. Times are seconds since the epoch, by the API server."""
    verb: str
    method: str
    resource: str
    namespace: str
    name: str
    subresource: str
    uri: str
    agent: str
    code: int
    received: float
    done: float
    body: object  # None when it has none, or none in JSON
    answer: object
    about: frozenset  # names of the kit's main objects that it mentions

    def done_well(self):
        return self.code < 300

    def __str__(self):
        path = self.uri.partition("?")[0]
        clock = time.strftime("%H:%M:%S", time.localtime(self.received))
        return f"{self.method} {path}: {self.code}, at {clock}.{int(self.received * 1000) % 1000:03d}"


_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETE",
            "list": "GET", "watch": "GET"}


def _request(event):
    reference = event["objectRef"]
    body, answer = event.get("requestObject"), event.get("responseObject")
    name = reference.get("name", "")
    for known in (answer, body):
        if not name and isinstance(known, dict):
            name = (known.get("metadata") or {}).get("name", "")
    return Request(verb=event["verb"], method=_METHODS[event["verb"]], resource=reference["resource"],
                   namespace=reference.get("namespace", ""), name=name, subresource=reference.get("subresource", ""),
                   uri=event["requestURI"], agent=event.get("userAgent", ""), code=event["responseStatus"]["code"],
                   received=parse_time(event["requestReceivedTimestamp"]), done=parse_time(event["stageTimestamp"]),
                   body=body, answer=answer,
                   about=frozenset(NAME.findall(f"{event['requestURI']} {name} {json.dumps(body)}")))


class Requests:
    """Writes and lists of shards, in the order in which they were answered. `is_ours(agent)`: not of a shard."""

    def __init__(self, audit_log, is_ours):
        self._file, self._is_ours = audit_log, is_ours
        self._position, self._seen, self._agents = 0, [], set()
        self._lock = threading.Lock()

    def all(self):
        """The writes."""
        return [request for request in self._read() if request.verb in WRITES]

    def _read(self):
        with self._lock:
            if self._file.exists():
                with open(self._file, "rb") as file:
                    file.seek(self._position)
                    lines = file.read()
                whole = lines.rfind(b"\n") + 1
                self._position += whole
                for line in lines[:whole].splitlines():
                    event = json.loads(line)
                    if not self._is_ours(event["userAgent"]):
                        self._agents.add(event["userAgent"])
                        if event["verb"] in WRITES + LISTS and "objectRef" in event:
                            self._seen.append(_request(event))
            return list(self._seen)

    def agents(self):
        """The User-Agents of shards."""
        self.all()
        return set(self._agents)

    def work(self):
        """Writes to objects; Leases and Events are none."""
        return [request for request in self.all() if request.resource not in NOT_WORK]

    def leases(self):
        return [request for request in self.all() if request.resource == "leases"]

    def lists(self, resource):
        """Lists, and watches when they have ended."""
        return [request for request in self._read() if request.verb in LISTS and request.resource == resource]


class History:
    """Each version of the objects of some resources in a namespace: threads list and watch.

    `is_there(..)` and `changes(..)` are safe from any thread; `changed` is notified after each version.
    """

    def __init__(self, client):
        self._client = client
        self.changed = threading.Condition()
        self._versions = collections.defaultdict(list)  # (resource, namespace, name) -> [(type, object)]
        self._ended = False

    def follow(self, resource, namespace):
        listed = self._client.request("GET", path_of(resource, namespace))
        for item in listed["items"]:
            self._note(resource, "ADDED", item)
        threading.Thread(target=self._watch, args=[resource, namespace, listed["metadata"]["resourceVersion"]],
                         name=f"history of {resource}", daemon=True).start()

    def end(self):
        self._ended = True

    def changes(self, resource, namespace, name):
        """[(type, object)]."""
        with self.changed:
            return list(self._versions.get((resource, namespace, name), ()))

    def latest(self, resource, namespace, name):
        """The object as it is; None when it is not there."""
        changes = self.changes(resource, namespace, name)
        return changes[-1][1] if changes and changes[-1][0] != "DELETED" else None

    def objects(self, resource, namespace):
        """Those that are there."""
        with self.changed:
            return [changes[-1][1] for (of, where, _), changes in self._versions.items()
                    if of == resource and where == namespace and changes[-1][0] != "DELETED"]

    def _watch(self, resource, namespace, version):
        while not self._ended:
            try:
                path = path_of(resource, namespace, watch=1, resourceVersion=version, timeoutSeconds=300,
                               allowWatchBookmarks="true")
                for event in self._client.watch(path, timeout=320):
                    if event["type"] == "ERROR":
                        raise ApiError("GET", path, event["object"].get("code", 500), event["object"])
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._note(resource, event["type"], event["object"])
            except ApiError as error:
                # The kit lets the history expire. Versions that it has not seen by then were written before the
                # request that did it, by the kit alone; it goes on with what is now.
                version = self._list_anew(resource, namespace) if error.status == 410 else version
            except (OSError, ValueError, http.client.HTTPException):
                if not self._ended:
                    time.sleep(0.1)

    def _list_anew(self, resource, namespace):
        listed = self._client.request("GET", path_of(resource, namespace))
        there = {item["metadata"]["name"] for item in listed["items"]}
        for gone in [item for item in self.objects(resource, namespace) if item["metadata"]["name"] not in there]:
            self._note(resource, "DELETED", gone)
        for item in listed["items"]:
            known = self.latest(resource, namespace, item["metadata"]["name"])
            if known is None or known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._note(resource, "MODIFIED", item)
        return listed["metadata"]["resourceVersion"]

    def _note(self, resource, kind, item):
        key = resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]
        with self.changed:
            self._versions[key].append((kind, item))
            self.changed.notify_all()


def labels_of(item):
    return item["metadata"].get("labels") or {}


def controller_of(item):
    """The ownerReference of the object's controller, or {}."""
    references = item["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), {})
