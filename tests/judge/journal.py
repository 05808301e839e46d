"""What shards and the test say themselves: journals, one JSON object a line (shard/observer.h, and Notes below).

One file is one process. Several processes may have the same shard name, one after the other.
"""

import bisect
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from audit import full_name
from times import NEVER, from_seconds

SHARD_EVENTS = ("begin", "end", "lease")
ENDS = ("killed", "exited")  # of a process, as the test saw it


class Notes:
    """The test's own journal: what it did to shards, and when. Any other `event` is counted as a fault of that kind.

    killed, exited: the process has ended: note it when wait() has returned.
    frozen: just before SIGSTOP; thawed: just before SIGCONT.
    `journal`: the file of the process that is meant; None: the last one of the shard that has written a line.
    """

    def __init__(self, file):
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, event, shard=None, journal=None):
        line = {"event": event, "shard": shard, "journal": Path(journal).name if journal else None,
                "time": round(time.time(), 6)}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self):
        os.close(self._file)


@dataclass(slots=True, eq=False)
class Interval:
    """One reconciliation. `end` None: there is no line of it; `stop`: when it had ended for sure, at the latest."""
    process: object
    resource: str
    name: str  # "ns/name"
    number: int  # its id in the process
    version: int  # resourceVersion that it was given; 0: unknown
    begin: int
    end: int = None
    stop: int = NEVER


@dataclass(eq=False)
class Process:
    """What one file says."""
    file: str
    shard: str
    began: int  # its first line
    leases: list = field(default_factory=list)  # (time, valid until)
    intervals: list = field(default_factory=list)
    ended: int = NEVER  # killed or exited, by the test's journal
    thaws: list = field(default_factory=list)
    promised: object = None  # Spans, see finish()
    stated: object = None

    def finish(self, known_until):
        """`promised`: the Lease was valid by what was said once, though it may have been lost or released earlier.
        `stated`: as it was said last, so it ends early with such a line."""
        self.leases.sort(key=lambda lease: lease[0])
        promised, stated = [], []
        for index, (when, until) in enumerate(self.leases):
            following = self.leases[index + 1][0] if index + 1 < len(self.leases) else NEVER
            if until > when:
                promised.append((when, until))
                stated.append((when, min(until, following)))
        self.promised, self.stated = Spans(promised), Spans(stated)
        for interval in self.intervals:
            interval.stop = min(NEVER if interval.end is None else interval.end, self.ended, known_until)


class Spans:
    """Times at which something held: disjoint, in order."""

    def __init__(self, spans):
        self.spans = []
        for begin, end in sorted(spans):
            if self.spans and begin <= self.spans[-1][1]:
                self.spans[-1] = (self.spans[-1][0], max(end, self.spans[-1][1]))
            else:
                self.spans.append((begin, end))
        self._begins = [begin for begin, _ in self.spans]

    def around(self, when):
        """The span that `when` is in; None without one."""
        index = bisect.bisect_right(self._begins, when) - 1
        return self.spans[index] if index >= 0 and when <= self.spans[index][1] else None

    def within(self, begin, end):
        """The parts between these two times."""
        first = max(0, bisect.bisect_right(self._begins, begin) - 1)
        found = []
        for index in range(first, len(self.spans)):
            low, high = self.spans[index]
            if low >= end:
                break
            if high > begin:
                found.append((max(low, begin), min(high, end)))
        return found

    def touches(self, begin, end):
        """Whether it held at some time from `begin` to `end`."""
        index = bisect.bisect_right(self._begins, end) - 1
        return index >= 0 and self.spans[index][1] >= begin


class Journals:
    """All journals of a run, up to a point in time."""

    def __init__(self, until=NEVER):
        self._until = until
        self.processes = []
        self.faults = []  # (time, event, shard or None, the name of a file or None)
        self.problems = []  # what cannot be read, a line each
        self._of_shard = {}

    def read(self, file):
        """A shard's journal or the test's own. The end of a line that a kill has cut off is left out."""
        process, running = None, {}
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    event = json.loads(line)
                    kind, when = event["event"], from_seconds(event["time"])
                    if when > self._until:
                        continue
                    if kind not in SHARD_EVENTS:
                        self.faults.append((when, kind, event.get("shard"), event.get("journal")))
                        continue
                    if process is None:
                        process = Process(str(file), event["shard"], when)
                        self.processes.append(process)
                    if event["shard"] != process.shard:
                        raise ValueError(f"a line of {event['shard']} in the journal of {process.shard}")
                    self._take(process, running, event, kind, when)
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    self.problems.append(f"{file}, line {number}: {type(error).__name__}: {error}")

    @staticmethod
    def _take(process, running, event, kind, when):
        process.began = min(process.began, when)
        if kind == "lease":
            process.leases.append((when, from_seconds(event["validUntil"])))
        elif kind == "begin":
            if event["id"] in running:
                raise ValueError(f"the id {event['id']} begins twice")
            interval = Interval(process, event["resource"], full_name(event["namespace"], event["name"]), event["id"],
                                int(event["resourceVersion"] or 0), when)
            process.intervals.append(interval)
            running[interval.number] = interval
        else:
            interval = running.get(event["id"])
            if interval is None or interval.end is not None:
                raise ValueError(f"the id {event['id']} ends without a begin")
            interval.end = when

    def finish(self):
        """Once all are read."""
        for process in self.processes:
            self._of_shard.setdefault(process.shard, []).append(process)
        for processes in self._of_shard.values():
            processes.sort(key=lambda process: process.began)
        files = {Path(process.file).name: process for process in self.processes}
        for when, event, shard, file in sorted(self.faults, key=lambda fault: fault[0]):
            process = self.process_at(shard, when) if file is None else files.get(file)
            if process is not None and event in ENDS:
                process.ended = min(process.ended, when)
            elif process is not None and event == "thawed":
                process.thaws.append(when)
        for process in self.processes:
            process.finish(self._until)

    def of(self, shard):
        """Its processes, in order."""
        return self._of_shard.get(shard, [])

    def shards(self):
        return set(self._of_shard)

    def process_at(self, shard, when):
        """The process of that name that ran then: the last one that had begun."""
        processes = self.of(shard)
        index = bisect.bisect_right(processes, when, key=lambda process: process.began) - 1
        return processes[index] if index >= 0 else None
