"""Histories that nobody has lived: audit logs and journals for the judge's own tests, written line by line.

Times are seconds after BEGIN. One counter gives the resourceVersions, as in an API server.
"""

import contextlib
import datetime
import json
import tempfile
from pathlib import Path

from judge import Judge
from times import SECOND, from_seconds

BEGIN = 1_790_000_000
RING = "demo"
SHARD_LABEL, DRAIN_LABEL = (f"{what}.alpha.sharding.timebertt.dev/{RING}" for what in ("shard", "drain"))
SHARDER = "system:serviceaccount:sharding-system:sharder"


def _text(when):
    """RFC 3339, cut off after microseconds, as API servers write it."""
    micros = from_seconds(BEGIN + when)
    moment = datetime.datetime.fromtimestamp(micros // SECOND, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros % SECOND:06d}Z"


class Story:
    """One run. Methods that write return the resourceVersion afterwards."""

    def __init__(self):
        self.version = 100
        self.audit = []  # events
        self.lines = {}  # file -> [journal event]
        self.objects = {}  # (resource, name) -> metadata
        self.leases = {}  # shard -> spec
        self.begun = {}  # file -> how many reconciliations

    # -- the API server

    def event(self, verb, resource, name, by, at, took=0.01, code=200, body=None, answer=None, group="", **more):
        """A request that came `at` that time; `by`: a shard, "sharder", or any user. Of `took` None the end was never
        logged."""
        user = SHARDER if by == "sharder" else f"system:serviceaccount:default:{by}"
        line = {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
                "auditID": f"a{len(self.audit)}", "stage": "ResponseComplete",
                "requestURI": f"/api/v1/namespaces/ns/{resource}/{name}", "verb": verb,
                "user": {"username": user}, "userAgent": "test/1", "objectRef": {
                    "resource": resource, "namespace": "ns", "name": name, "apiGroup": group},
                "responseStatus": {"code": code}, "requestReceivedTimestamp": _text(at), "stageTimestamp": _text(at)}
        if took is None:
            self.audit.append({**line, "stage": "RequestReceived"})
            return
        line.update(stageTimestamp=_text(at + took), **more)
        if body is not None:
            line["requestObject"] = body
        if answer is not None:
            line["responseObject"] = answer
        self.audit.append(line)

    def create(self, name, shard, at, by="user", resource="secrets"):
        self.version += 1
        metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}-{self.version}",
                    "labels": {SHARD_LABEL: shard} if shard else {}, "resourceVersion": str(self.version)}
        if resource != "secrets":
            metadata["ownerReferences"] = [{"controller": True, "name": "x"}]
        self.objects[resource, name] = metadata
        self.event("create", resource, name, by, at, code=201, body={"metadata": {"name": name}},
                   answer={"metadata": dict(metadata)})
        return self.version

    def patch(self, name, by, at, labels=None, took=0.01, precondition=True, code=200, resource="secrets", verb="patch",
              then=None):
        """Changes labels (None takes one away). `precondition`: True: the version it has; None: none. `then`: labels
        that a webhook adds. One that is rejected changes nothing."""
        metadata = self.objects[resource, name]
        asked = {"labels": labels or {}}
        if precondition:
            asked["resourceVersion"] = metadata["resourceVersion"] if precondition is True else str(precondition)
        body = {"metadata": asked}
        if code >= 300:
            self.event(verb, resource, name, by, at, took, code, body, {"kind": "Status"})
            return self.version
        self.version += 1
        after = {**metadata["labels"], **(labels or {}), **(then or {})}
        metadata = {**metadata, "labels": {key: value for key, value in after.items() if value is not None},
                    "resourceVersion": str(self.version)}
        self.objects[resource, name] = metadata
        if verb == "update":
            body = {"metadata": {**metadata, "resourceVersion": asked.get("resourceVersion", "")}}
        if took is None:
            self.event(verb, resource, name, by, at, None)
        else:
            self.event(verb, resource, name, by, at, took, code, body, {"metadata": metadata})
        return self.version

    def reassign(self, name, shard, at, by="sharder", **more):
        return self.patch(name, by, at, {SHARD_LABEL: shard, DRAIN_LABEL: None}, **more)

    def drain(self, name, target, at, **more):
        return self.patch(name, "sharder", at, {DRAIN_LABEL: target}, **more)

    def acknowledge(self, name, shard, at, target=None, then=None, **more):
        return self.patch(name, shard, at, {SHARD_LABEL: target, DRAIN_LABEL: None},
                          then={SHARD_LABEL: then} if then else None, **more)

    def delete(self, name, by, at, resource="secrets"):
        metadata = self.objects.pop((resource, name))
        self.version += 1
        self.event("delete", resource, name, by, at, answer={
            "kind": "Status", "status": "Success", "details": {"name": name, "uid": metadata["uid"]}})

    def lease_write(self, shard, by, at, holder, duration=15, precondition=True, verb="update", **more):
        before = self.version
        spec = self.leases.get(shard, {})
        self.version += 1
        self.leases[shard] = {"version": self.version, "holder": holder}
        metadata = {"namespace": "ns", "name": shard, "resourceVersion": str(self.version),
                    "labels": {"alpha.sharding.timebertt.dev/controllerring": RING}}
        asked = {**metadata, "resourceVersion": str(spec.get("version", before)) if precondition else ""}
        spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": _text(at)}
        self.event(verb, "leases", shard, by, at, body={"metadata": asked, "spec": spec},
                   answer={"metadata": metadata, "spec": spec}, group="coordination.k8s.io", **more)
        return self.version

    # -- shards

    def line(self, file, event, at, **more):
        shard = file.partition("-")[0]
        self.lines.setdefault(file, []).append({"event": event, "shard": shard, "time": BEGIN + at, **more})

    def hold(self, file, *times, valid_for=10):
        """The Lease of the shard is acquired at the first of these times, and renewed at the others."""
        shard = file.partition("-")[0]
        for at in times:
            known = shard in self.leases
            self.lease_write(shard, shard, at, shard, verb="update" if known else "create")
            self.line(file, "lease", at + 0.02, validUntil=BEGIN + at + valid_for)

    def release(self, file, at, says=True):
        shard = file.partition("-")[0]
        if says:
            self.line(file, "lease", at - 0.01, validUntil=0)
        self.lease_write(shard, shard, at, "", duration=1)

    def begin(self, file, name, at, version=None):
        """A reconciliation begins, with the newest version or the given one; its id."""
        number = self.begun[file] = self.begun.get(file, 0) + 1
        given = version if version is not None else self.objects["secrets", name]["resourceVersion"]
        self.line(file, "begin", at, id=number, resource="secrets", namespace="ns", name=name,
                  resourceVersion=str(given))
        return number

    def end(self, file, number, at):
        self.line(file, "end", at, id=number)

    def reconcile(self, file, name, begin, end, version=None):
        self.end(file, self.begin(file, name, begin, version), end)

    def note(self, event, shard, at, **more):
        self.lines.setdefault("test", []).append({"event": event, "shard": shard, **more, "time": BEGIN + at})

    # -- the judge

    @contextlib.contextmanager
    def files(self):
        """(the audit log, the journals), in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="judge-") as folder:
            audit = Path(folder) / "audit.log"
            audit.write_text("".join(json.dumps(event) + "\n" for event in self.audit), encoding="utf-8")
            journals = []
            for name, lines in self.lines.items():
                journals.append(Path(folder) / f"{name}.jsonl")
                journals[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            yield audit, journals

    def state(self, at):
        state = {"time": BEGIN + at, "secrets": [], "configmaps": []}
        for (resource, _), metadata in self.objects.items():
            state[resource].append({"metadata": metadata})
        return state

    def verdict(self, at=None, **options):
        """`at`: when the last state was read; None: the judge is given none."""
        judge = Judge(RING, ["secrets"], ["configmaps"], **options)
        with self.files() as (audit, journals):
            judge.read_audit(audit)
            for journal in journals:
                judge.read_journal(journal)
        if at is not None:
            judge.give_state(self.state(at))
        return judge.verdict()
