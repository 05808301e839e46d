"""What API servers say: audit logs (audit.k8s.io/v1, one JSON object a line), turned into the history of each object.

The order of an object's states is that of their resourceVersions: the API server gives them when it commits a write,
from one counter for all objects. Times say only when a write began (requestReceivedTimestamp) and was done
(stageTimestamp of ResponseComplete); it was committed somewhere between.
"""

import json
import re
from dataclasses import dataclass, field

from times import NEVER, SECOND, from_text

RING_LABEL = "alpha.sharding.timebertt.dev/controllerring"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
LEASES = "leases.coordination.k8s.io"
# A request whose outcome nobody knows may be carried out for so long: the API server's own timeout.
UNKNOWN_FOR = 60 * SECOND
_SEPARATORS = re.compile(r"[\s/();,]+")


def full_name(namespace, name):
    return f"{namespace}/{name}" if namespace else name


@dataclass(slots=True, eq=False)
class Write:
    """A write to a main or controlled object, or to a Lease. What the object is like afterwards comes from the answer;
    of a write that was rejected, from nowhere."""
    caller: tuple  # (user, user agent)
    verb: str
    received: int
    done: int
    code: int
    precondition: int  # the resourceVersion that it carries; 0: none
    version: int = 0  # resourceVersion after it; 0: unknown, as after a deletion
    uid: str = ""
    gone: bool = False  # the object is deleted by it
    shard: str = ""  # the shard label, and the drain label, after it; None: no drain label
    drain: str = None
    same_labels: bool = False  # it is to a subresource whose answer does not show them
    lets_go: bool = False  # its body takes the drain label away
    target: str = ""  # the shard that its body names
    before: object = None  # the Write that made the state before
    writer: str = ""  # the shard that sent it, or who else

    def accepted(self):
        return 200 <= self.code < 300


@dataclass(slots=True, eq=False)
class LeaseWrite:
    """An accepted write to a Lease of the ring."""
    caller: tuple
    verb: str
    received: int
    done: int
    precondition: int
    version: int
    namespace: str
    holder: str
    expires: int  # renewTime + leaseDurationSeconds
    duration: int
    gone: bool = False
    writer: str = ""


@dataclass(eq=False)
class History:
    """One object, or one name: an object that is made anew after a deletion goes on here."""
    resource: str
    name: str
    writes: list = field(default_factory=list)  # accepted ones, in order once finish() was called
    rejected: list = field(default_factory=list)
    unknown: list = field(default_factory=list)  # when requests came of which nobody knows the outcome
    versions: dict = field(default_factory=dict)  # resourceVersion -> the Write that made it

    def finish(self):
        last = {}  # uid -> its highest version
        for write in self.writes:
            last[write.uid] = max(last.get(write.uid, 0), write.version)
        for write in self.writes:
            if not write.version:  # of a deletion
                write.version = last[write.uid] or max(other.version for other in self.writes
                                                       if other.received <= write.received)
        self.writes.sort(key=lambda write: (write.version, write.gone, write.received))
        for before, write in zip([None, *self.writes], self.writes):
            write.before = before
            if write.same_labels and before is not None:
                write.shard, write.drain = before.shard, before.drain
            if not write.gone or write.verb != "delete":
                self.versions.setdefault(write.version, write)

    def uncertain(self, since, until):
        """Whether a request of unknown outcome may have changed it between these times."""
        return any(came <= until and came + UNKNOWN_FOR >= since for came in self.unknown)


class Audit:
    """All audit logs of a run, with the requests that came `until` then. `main` and `controlled`: "secrets",
    "deployments.apps"."""

    def __init__(self, ring, main, controlled=(), until=NEVER):
        self._ring, self._until = ring, until
        self._shard_label = f"shard.alpha.sharding.timebertt.dev/{ring}"
        self._drain_label = f"drain.alpha.sharding.timebertt.dev/{ring}"
        self._resources = {*main, *controlled}
        self.histories = {}  # (resource, "ns/name") -> History
        self.leases = {}  # name -> [LeaseWrite]
        self._ours = set()  # (namespace, name) of these
        self.unknown_leases = {}  # name -> when requests came of which nobody knows the outcome
        self.others = []  # (caller, verb, resource, name, received, code): writes to what is neither
        self.problems = []
        self.events = 0
        self.end = 0  # the last event
        self._pending = {}  # auditID -> (key, received): begun, and not seen to end
        self._callers = {}

    def read(self, file):
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break  # it is being written, or was when the API server ended
                try:
                    self._take(json.loads(line))
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    self.problems.append(f"{file}, line {number}: {type(error).__name__}: {error}")

    def finish(self):
        """Once all are read."""
        for key, received in self._pending.values():
            self._note_unknown(key, received)
        for history in self.histories.values():
            history.finish()
        for writes in self.leases.values():
            last = 0
            for write in sorted(writes, key=lambda write: write.received):
                write.version = write.version or last  # of a deletion
                last = max(last, write.version)
            writes.sort(key=lambda write: (write.version, write.gone, write.received))

    # -- one event

    def _take(self, event):
        self.events += 1
        verb = event["verb"]
        if verb not in WRITES or "dryRun=" in event["requestURI"]:
            return
        reference = event.get("objectRef")
        if not reference:
            return
        group = reference.get("apiGroup")
        resource = f"{reference['resource']}.{group}" if group else reference["resource"]
        received = from_text(event["requestReceivedTimestamp"])
        if received > self._until:
            return
        answer = event.get("responseObject") or {}
        namespace = reference.get("namespace", "")
        name = reference.get("name") or (answer.get("metadata") or {}).get("name", "")
        key = (resource, full_name(namespace, name))
        if event["stage"] != "ResponseComplete":
            if event["stage"] == "RequestReceived" and (resource in self._resources or resource == LEASES):
                self._pending[event["auditID"]] = (key, received)
            return
        done = from_text(event["stageTimestamp"])
        self.end = max(self.end, done)
        self._pending.pop(event.get("auditID"), None)
        caller = (event["user"].get("username", ""), event.get("userAgent", ""))
        caller = self._callers.setdefault(caller, caller)
        code = event.get("responseStatus", {}).get("code", 0)
        if resource in self._resources:
            self._object(event, key, caller, received, done, code)
        elif resource == LEASES:
            if code >= 500 or code == 0:
                self._note_unknown(key, received)
            elif code < 300:
                self._lease(event, namespace, name, caller, received, done)
        else:
            self.others.append((caller, verb, resource, key[1], received, code))

    def _history(self, key):
        history = self.histories.get(key)
        if history is None:
            history = self.histories[key] = History(*key)
        return history

    def _note_unknown(self, key, received):
        resource, name = key
        if resource == LEASES:
            self.unknown_leases.setdefault(name.rpartition("/")[2], []).append(received)
        else:
            self._history(key).unknown.append(received)

    def _object(self, event, key, caller, received, done, code):
        verb, body, answer = event["verb"], event.get("requestObject"), event.get("responseObject")
        write = Write(caller, verb, received, done, code, _precondition(verb, body))
        if verb in ("patch", "update") and body is not None:
            write.lets_go, write.target = self._asks(verb, body)
        if not write.accepted():
            if code >= 500 or code == 0:
                self._note_unknown(key, received)
            self._history(key).rejected.append(write)
            return
        if answer is None:
            raise ValueError(f"{verb} of {key[0]} without its answer: the level has to be RequestResponse")
        if verb == "deletecollection":
            for item in answer.get("items") or []:
                self._deleted(item, key[0], caller, received, done, code)
            return
        if answer.get("kind") == "Status":  # of a deletion
            write.gone, write.uid = True, (answer.get("details") or {}).get("uid", "")
        else:
            write.same_labels = event["objectRef"].get("subresource", "status") != "status"
            self._fill(write, answer["metadata"])
        self._history(key).writes.append(write)

    def _deleted(self, item, resource, caller, received, done, code):
        metadata = item["metadata"]
        write = Write(caller, "delete", received, done, code, 0)
        self._fill(write, metadata)
        self._history((resource, full_name(metadata.get("namespace", ""), metadata["name"]))).writes.append(write)

    def _fill(self, write, metadata):
        labels = metadata.get("labels") or {}
        write.version, write.uid = int(metadata["resourceVersion"]), metadata["uid"]
        write.shard, write.drain = labels.get(self._shard_label, ""), labels.get(self._drain_label)
        stays = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        if (write.verb == "delete" or "deletionTimestamp" in metadata) and not stays:
            write.gone, write.shard, write.drain = True, "", None
            if write.verb == "delete":
                write.version = 0  # some answers show the object as it was before

    def _asks(self, verb, body):
        """(whether the body takes the drain label away, the shard that it names)."""
        if isinstance(body, list):  # a JSON patch
            escaped = {f"/metadata/labels/{label.replace('~', '~0').replace('/', '~1')}": label
                       for label in (self._shard_label, self._drain_label)}
            found = {escaped[step["path"]]: step for step in body if step.get("path") in escaped}
            return (found.get(self._drain_label, {}).get("op") == "remove",
                    found.get(self._shard_label, {}).get("value") or "")
        labels = (body.get("metadata") or {}).get("labels") or {}
        gone = self._drain_label not in labels if verb == "update" else labels.get(self._drain_label, "") is None
        return gone, labels.get(self._shard_label) or ""

    def _lease(self, event, namespace, name, caller, received, done):
        """Of the ring's Leases: those that have its label, or had it."""
        answer, verb = event.get("responseObject"), event["verb"]
        if verb in ("delete", "deletecollection"):
            for one in [name] if name else [item["metadata"]["name"] for item in (answer or {}).get("items") or []]:
                if (namespace, one) in self._ours:
                    self.leases[one].append(LeaseWrite(
                        caller, verb, received, done, 0, 0, namespace, "", 0, 0, gone=True))
            return
        if answer is None:
            raise ValueError(f"{verb} of a Lease without its answer: the level has to be RequestResponse")
        metadata, spec = answer["metadata"], answer.get("spec") or {}
        if (metadata.get("labels") or {}).get(RING_LABEL) == self._ring:
            self._ours.add((namespace, metadata["name"]))
        elif (namespace, metadata["name"]) not in self._ours:
            return
        duration = spec.get("leaseDurationSeconds", 0) * SECOND
        renewed = from_text(spec["renewTime"]) if spec.get("renewTime") else 0
        self.leases.setdefault(metadata["name"], []).append(LeaseWrite(
            caller, verb, received, done, _precondition(verb, event.get("requestObject")),
            int(metadata["resourceVersion"]), namespace, spec.get("holderIdentity") or "", renewed + duration,
            duration))


def _precondition(verb, body):
    """The resourceVersion that a request carries; 0: none."""
    if isinstance(body, list):  # a JSON patch: a test, or a replacement, which the API server compares
        found = [step.get("value") for step in body if step.get("path") == "/metadata/resourceVersion"]
        return int(found[0] or 0) if found else 0
    if not isinstance(body, dict):
        return 0
    if verb == "delete":
        return int((body.get("preconditions") or {}).get("resourceVersion") or 0)
    return int((body.get("metadata") or {}).get("resourceVersion") or 0)


def names_in(caller):
    """What may be a shard's name in (user, user agent): the user, the last part of a ServiceAccount's name, and the
    words of the user agent."""
    user, agent = caller
    return {user, user.rpartition(":")[2], *_SEPARATORS.split(agent)}
