"""Audit logs and journals together: what the rules look at."""

import bisect
import itertools
from dataclasses import dataclass

from audit import Audit, full_name, names_in
from journal import Journals
from times import GRAIN, NEVER, SECOND, from_seconds

NOT_SELECTED = ("kube-system", "sharding-system")  # the sharder's default namespaceSelector


@dataclass(frozen=True)
class Last:
    """An object at the end."""
    resource: str
    name: str
    uid: str
    version: int
    shard: str
    drain: str


class LeaseTimes:
    """Who held a Lease at which time, by the audit log."""

    def __init__(self, writes):
        self._writes = writes  # in order of their versions
        by_done = sorted((write.done, index) for index, write in enumerate(writes))
        self._done = [done for done, _ in by_done]
        self._newest = list(itertools.accumulate((index for _, index in by_done), max))

    def at(self, when):
        """The writes that may have made the state that it had then: the last one that was done, and later ones that
        had begun. Empty before the first."""
        count = bisect.bisect_left(self._done, when - GRAIN)
        first = self._newest[count - 1] if count else -1
        states = [self._writes[first]] if count else []
        for write in self._writes[first + 1:first + 9]:  # no Lease has more writers at a time
            if write.received <= when:
                states.append(write)
        return states


class Facts:
    """Everything that is known about a run. Fill `audit` and `journals`, then finish()."""

    def __init__(self, ring, main, controlled, namespaces, live, tolerance, thaw_grace, until):
        self.ring, self.main, self.controlled = ring, tuple(main), tuple(controlled)
        self._namespaces, self._live = namespaces, live
        self.tolerance, self.thaw_grace = from_seconds(tolerance), from_seconds(thaw_grace)
        self.until = NEVER if until is None else from_seconds(until)
        self.audit, self.journals = Audit(ring, main, controlled, self.until), Journals(self.until)
        self.state = None
        self.end = 0  # when the last states were read
        self.shards = set()
        self.intervals = {}  # (resource, name) -> [Interval], by begin
        self.lease_times = {}  # shard -> LeaseTimes
        self._writers = {}

    def finish(self):
        self.audit.finish()
        self.journals.finish()
        self.shards = self.journals.shards() | set(self.audit.leases)
        plurals = {resource.partition(".")[0]: resource for resource in self.main}
        for process in self.journals.processes:
            for interval in process.intervals:
                interval.resource = plurals.get(interval.resource, interval.resource)
                self.intervals.setdefault((interval.resource, interval.name), []).append(interval)
        for intervals in self.intervals.values():
            intervals.sort(key=lambda interval: interval.begin)
        for history in self.audit.histories.values():
            for write in itertools.chain(history.writes, history.rejected):
                write.writer = self.writer(write.caller)
        for shard, writes in self.audit.leases.items():
            for write in writes:
                write.writer = self.writer(write.caller)
            self.lease_times[shard] = LeaseTimes(writes)
        self.end = min(self.audit.end, self.until)
        if self.state is not None and "time" in self.state:
            self.end = from_seconds(self.state["time"])

    def writer(self, caller):
        """The shard that sent a request; else the user and the user agent."""
        name = self._writers.get(caller)
        if name is None:
            shards = sorted(names_in(caller) & self.shards)
            name = self._writers[caller] = shards[0] if shards else f"{caller[0]} ({caller[1].partition(' ')[0]})"
        return name

    def mains(self):
        """The histories of main objects."""
        return (history for history in self.audit.histories.values() if history.resource in self.main)

    def validity(self, interval):
        """Whether its shard's Lease was valid when it began: "valid"; "close", within the tolerance; "thawed", not, but
        its process went on just then after a freeze; "no"."""
        process = interval.process
        if not process.leases or process.stated.around(interval.begin):
            return "valid"
        if process.stated.touches(interval.begin - self.tolerance, interval.begin + self.tolerance):
            return "close"
        if any(thaw <= interval.begin <= thaw + self.thaw_grace for thaw in process.thaws):
            return "thawed"
        return "no"

    def counted(self, interval):
        """The times of a reconciliation that count: those at which its Lease was valid by what was promised once. One
        that began without a valid Lease counts whole, because nothing excuses it."""
        if not interval.process.leases or self.validity(interval) == "no":
            return [(interval.begin, interval.stop)]
        return interval.process.promised.within(interval.begin, interval.stop)

    def lease_valid_at(self, shard, when):
        """Whether a process of this shard had a valid Lease then, by its journal."""
        return any(process.stated.around(when) for process in self.journals.of(shard))

    def held_at(self, shard, when):
        """Whether the audit log says for sure that this shard held its Lease then."""
        states = self.lease_times[shard].at(when) if shard in self.lease_times else []
        return bool(states) and all(state.holder == shard for state in states)

    def recent(self, when):
        """Whether the audit log of shards that still work may lack what happened then: its lines are written a little
        later."""
        return self.until != NEVER and when > self.until - SECOND

    def live(self):
        """The shards that live at the end: as the test says, else those that hold a Lease that has not expired."""
        if self._live is not None:
            return set(self._live)
        alive = set()
        for shard, writes in self.audit.leases.items():
            last = None
            for write in writes:
                if write.received <= self.end:
                    last = write
            if last is not None and last.holder == shard and last.expires >= self.end:
                alive.add(shard)
        return alive

    def selects(self, name):
        """Whether the ring selects the namespace of "ns/name"."""
        namespace, slash, _ = name.partition("/")
        if not slash:
            return True
        return namespace in self._namespaces if self._namespaces is not None else namespace not in NOT_SELECTED

    def last(self):
        """The objects that there are at the end and that belong to the ring: by the state that the test gave, else by
        the audit log."""
        if self.state is None:
            for history in self.audit.histories.values():
                write = history.writes[-1] if history.writes else None
                if write is not None and not write.gone and self.selects(history.name):
                    yield Last(history.resource, history.name, write.uid, write.version, write.shard, write.drain)
            return
        shard_label = f"shard.alpha.sharding.timebertt.dev/{self.ring}"
        drain_label = f"drain.alpha.sharding.timebertt.dev/{self.ring}"
        for resource in (*self.main, *self.controlled):
            for item in self.state[resource]:
                metadata = item["metadata"]
                name = full_name(metadata.get("namespace", ""), metadata["name"])
                owned = any(owner.get("controller") for owner in metadata.get("ownerReferences") or [])
                if self.selects(name) and (owned or resource in self.main):
                    labels = metadata.get("labels") or {}
                    yield Last(resource, name, metadata["uid"], int(metadata["resourceVersion"]),
                               labels.get(shard_label, ""), labels.get(drain_label))


class Running:
    """The intervals of some process, or of some object in it, by time."""

    def __init__(self, intervals):
        self._intervals = sorted(intervals, key=lambda interval: interval.begin)
        self._begins = [interval.begin for interval in self._intervals]
        self._latest = list(itertools.accumulate((interval.stop for interval in self._intervals), max))

    def between(self, since, until):
        """Those that began before `until` and had not ended at `since`, the latest first."""
        index = bisect.bisect_left(self._begins, until) - 1
        while index >= 0 and self._latest[index] > since + GRAIN:
            if self._intervals[index].stop > since + GRAIN:
                yield self._intervals[index]
            index -= 1
