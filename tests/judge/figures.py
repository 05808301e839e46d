"""What the judge counts and lists besides the rules."""

import bisect
import collections

from findings import acknowledgements
from times import NEVER, seconds, show
from verdict import Finding

def figures(facts, lapses):
    """name -> number or text. `lapses`: as lapsed() returns them."""
    found = collections.Counter()
    for history in facts.audit.histories.values():
        if not facts.selects(history.name):
            continue
        kind = "main" if history.resource in facts.main else "controlled"
        for write in history.writes:
            _count(found, kind, write)
        if kind == "main":
            for write, accepted in acknowledgements(facts, history):
                how = "with target" if write.target else "without target"
                found[f"acknowledgements {how}" if accepted else f"acknowledgements rejected with {write.code}"] += 1
    _count_reconciliations(found, facts)
    for _, event, _, _ in facts.journals.faults:
        found[f"faults: {event}"] += 1
    for what, which in zip(("accepted", "rejected"), lapses):
        for kind in ("main", "other"):
            found[f"writes without a valid Lease, {what}, {kind}"] = sum(1 for one in which if one[0] == kind)
    text = {name: found[name] for name in sorted(found)}
    text["audit events"] = facts.audit.events
    text["shards"] = len(facts.shards)
    text["processes"] = len(facts.journals.processes)
    longest, name = without_shard(facts)
    text["longest time of an object without an available shard"] = f"{seconds(longest)} ({name})" if name else "none"
    longest, name = _until_reconciled(facts)
    text["longest time from a shard label to the reconciliation"] = f"{seconds(longest)} ({name})" if name else "none"
    longest, name = _longest_drain(facts)
    text["longest drain"] = f"{seconds(longest)} ({name})" if name else "none"
    return text


def _count(found, kind, write):
    before = write.before
    if write.gone:
        found[f"{kind} objects deleted"] += 1
        return
    if before is None or before.gone:
        found[f"{kind} objects seen first"] += 1
        return
    if before.shard and write.shard and before.shard != write.shard:
        found[f"moves, {kind}"] += 1
    elif not before.shard and write.shard:
        found[f"assignments after creation, {kind}"] += 1
    if before.drain is None and write.drain is not None:
        found["drains, with target" if write.drain != "true" else "drains, without target"] += 1


def _count_reconciliations(found, facts):
    for intervals in facts.intervals.values():
        for interval in intervals:
            found["reconciliations"] += 1
            if interval.end is None:
                found["reconciliations without an end"] += 1
            elif not interval.process.stated.around(interval.end):
                found["reconciliations that ended without a valid Lease"] += 1


# -- what is listed


def listed(facts, lapses):
    """Findings that break no rule. `lapses`: as lapsed() returns them."""
    for process in facts.journals.processes:
        for interval in process.intervals:
            if facts.validity(interval) == "thawed":
                yield Finding("thawed", f"{interval.resource} {interval.name}",
                              f"{process.shard} began at {show(interval.begin)} as it went on after a freeze, without "
                              f"a valid Lease (id {interval.number}, {process.file})")
    for what, which in zip(("accepted", "rejected"), lapses):
        for kind, caller, verb, resource, name, received, code in which:
            yield Finding("lapsed", f"{resource} {name}",
                          f"{what} ({code}), {kind}: a {verb} of {caller} at {show(received)}, when its Lease was not "
                          "valid")
    for history in facts.mains():
        for write in history.writes:
            before = write.before
            if (before is not None and before.shard in facts.shards and write.shard and write.shard != before.shard and
                    write.writer not in facts.shards and facts.held_at(before.shard, write.received)):
                yield Finding("taken", f"{history.resource} {history.name}",
                              f"{write.writer} gave it to {write.shard} at {show(write.received)} while {before.shard} "
                              "held its Lease, without an acknowledgement")


def lapsed(facts):
    """(accepted, rejected): writes of shards that came when their Lease was not valid, without those to Leases, as
    [(main or other, shard, verb, resource, name, received, code)]. A process that is frozen between its last check and
    the send does that."""
    accepted, rejected = [], []

    def take(kind, shard, verb, resource, name, received, code):
        if shard in facts.journals.shards() and facts.selects(name) and not facts.lease_valid_at(shard, received):
            (accepted if 200 <= code < 300 else rejected).append((kind, shard, verb, resource, name, received, code))

    for history in facts.audit.histories.values():
        kind = "main" if history.resource in facts.main else "other"
        for write in (*history.writes, *history.rejected):
            take(kind, write.writer, write.verb, history.resource, history.name, write.received, write.code)
    for caller, verb, resource, name, received, code in facts.audit.others:
        take("other", facts.writer(caller), verb, resource, name, received, code)
    return accepted, rejected


# -- times: the longest ones. Those do not count in which a request came to the object of which nobody knows the outcome,
# because it may have ended them.


def without_shard(facts):
    """(the longest time, the object): without a shard label, or with that of a shard that did not hold its Lease."""
    times = {shard: _availability(shard, writes) for shard, writes in facts.audit.leases.items()}
    longest, whose = 0, None
    for history in facts.audit.histories.values():
        if history.resource not in facts.main or not facts.selects(history.name):
            continue
        since = None  # when it lost its shard
        for index, write in enumerate(history.writes):
            begin = write.done
            end = history.writes[index + 1].done if index + 1 < len(history.writes) else max(facts.end, begin)
            for when, available in [(begin, None)] if write.gone else _stretches(times.get(write.shard), begin, end):
                if available is False:
                    since = when if since is None else since
                elif since is not None:
                    if when - since > longest and not history.uncertain(since, when):
                        longest, whose = when - since, history.name
                    since = None
        if since is not None and facts.end - since > longest and not history.uncertain(since, facts.end):
            longest, whose = facts.end - since, history.name
    return longest, whose


def _availability(shard, writes):
    """([time], [whether it was available from then on])."""
    times, held = [], []
    for write in writes:
        if not held or held[-1] != (write.holder == shard):
            times.append(write.done)
            held.append(write.holder == shard)
    return times, held


def _stretches(availability, begin, end):
    """[(time, whether the shard was available from then on)], from `begin` to `end`."""
    if availability is None:
        return [(begin, False)]
    times, held = availability
    index = bisect.bisect_right(times, begin) - 1
    found = [(begin, held[index] if index >= 0 else False)]
    for when, available in zip(times[index + 1:], held[index + 1:]):
        if when >= end:
            break
        found.append((when, available))
    return found


def _until_reconciled(facts):
    """(the longest time, the object): from when a write gave it a shard to when that shard began to reconcile it."""
    longest, whose = 0, None
    for history in facts.mains():
        intervals = facts.intervals.get((history.resource, history.name), ())
        begins = [interval.begin for interval in intervals]
        for index, write in enumerate(history.writes):
            if not write.shard or (write.before is not None and write.before.shard == write.shard):
                continue
            until = next((after.done for after in history.writes[index + 1:index + 50]
                          if after.shard != write.shard), NEVER)
            first = bisect.bisect_left(begins, write.received)
            for interval in intervals[first:first + 50]:
                if interval.process.shard == write.shard:
                    took = interval.begin - write.received
                    if interval.begin < until and took > longest and not history.uncertain(
                            write.received, interval.begin):
                        longest, whose = took, history.name
                    break
    return longest, whose


def _longest_drain(facts):
    """(the longest time, the object): from the drain label to its end."""
    longest, whose = 0, None
    for history in facts.mains():
        since = None
        for write in history.writes:
            if write.drain is not None and since is None:
                since = write.done
            elif write.drain is None and since is not None:
                if write.done - since > longest and not history.uncertain(since, write.done):
                    longest, whose = write.done - since, history.name
                since = None
        if since is not None and facts.end - since > longest and not history.uncertain(since, facts.end):
            longest, whose = facts.end - since, history.name
    return longest, whose
