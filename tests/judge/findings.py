"""The rules J0 to J8 (README.md). Each is a generator of (Finding, certain); what is not certain is undecided."""

import bisect
import itertools

from audit import UNKNOWN_FOR
from facts import Running
from times import GRAIN, NEVER, seconds, show
from verdict import Finding


def _object(resource, name):
    return f"{resource} {name}"


def _shown(interval):
    """An interval in words."""
    end = show(interval.end) if interval.end is not None else (
        f"its process' end {show(interval.stop)}" if interval.stop < NEVER else "no end")
    return (f"{interval.process.shard} from {show(interval.begin)} to {end} "
            f"(id {interval.number}, version {interval.version}, {interval.process.file})")


def _written(write):
    return f"written by {write.writer} from {show(write.received)} to {show(write.done)}"


def _labels(write):
    if write.gone:
        return "is deleted"
    drain = "" if write.drain is None else f" and drain label {write.drain!r}"
    return f"has shard label {write.shard!r}{drain}"


# -- J0


def inputs(facts):
    """J0."""
    for problem in itertools.chain(facts.audit.problems, facts.journals.problems):
        yield Finding("J0", "inputs", problem), True
    if not any(history.writes for history in facts.mains()):
        yield Finding("J0", "inputs", f"no audit log has a write to {', '.join(facts.main)}"), True
    if not facts.intervals:
        yield Finding("J0", "inputs", "no journal has a reconciliation"), True
    for resource in sorted({resource for resource, _ in facts.intervals} - set(facts.main)):
        yield Finding("J0", "inputs", f"journals have reconciliations of {resource}, which is not main"), True
    for process in facts.journals.processes:
        if process.intervals and not process.leases:
            yield Finding("J0", process.file, "reconciliations, but no line about the Lease"), True
    for shard in sorted(facts.journals.shards()):
        if not any(write.writer == shard for write in facts.audit.leases.get(shard, ())):
            yield Finding("J0", f"lease {shard}", "no audit log has a write of this Lease by a caller whose user or "
                                                  "user agent has the shard's name"), True
    for name, writes in facts.audit.leases.items():
        if len({write.namespace for write in writes}) > 1:
            yield Finding("J0", f"lease {name}", "there are two of them, in two namespaces"), True
    yield from _missing_versions(facts)


def _missing_versions(facts):
    """States that shards or the test have seen, and that no audit log shows."""
    for (resource, name), intervals in facts.intervals.items():
        history = facts.audit.histories.get((resource, name))
        if history is None or not history.writes:
            continue  # older than the audit log, as far as it goes
        for interval in intervals:
            if interval.version not in history.versions and interval.version >= history.writes[0].version:
                yield (Finding("J0", _object(resource, name),
                               f"no audit log shows version {interval.version}, reconciled by {_shown(interval)}"),
                       not history.uncertain(0, interval.begin) and not facts.recent(interval.begin))
    for history in facts.audit.histories.values():
        for write in history.writes:
            if write.before is not None and write.precondition and write.precondition not in history.versions and (
                    write.precondition >= history.writes[0].version):
                yield (Finding("J0", _object(history.resource, history.name),
                               f"no audit log shows version {write.precondition}, which a {write.verb} carries, "
                               f"{_written(write)}"),
                       not history.uncertain(0, write.done))
    for last in facts.last() if facts.state is not None else ():
        history = facts.audit.histories.get((last.resource, last.name))
        if history is not None and history.writes and history.writes[0].version <= last.version:
            if last.version not in history.versions:
                yield (Finding("J0", _object(last.resource, last.name),
                               f"no audit log shows version {last.version}, which it has at the end"),
                       not history.uncertain(0, facts.end) and not facts.recent(facts.end))


# -- J1, J2, J7: reconciliations


def overlaps(facts):
    """J1."""
    for (resource, name), intervals in facts.intervals.items():
        parts = sorted(((begin, end, interval) for interval in intervals for begin, end in facts.counted(interval)),
                       key=lambda part: part[:2])
        latest = None
        for part in parts:
            if latest is not None and part[0] < latest[1] - GRAIN and part[2] is not latest[2]:
                until = min(latest[1], part[1])
                cut = [f"; the Lease of {which.process.shard} counts until {show(end)}"
                       for _, end, which in (latest, part) if end < which.stop]
                overlap = f"for {seconds(until - part[0])}" if until < NEVER else "without end"
                yield Finding("J1", _object(resource, name),
                              f"{_shown(latest[2])} and {_shown(part[2])} overlap {overlap}{''.join(cut)}"), True
            if latest is None or part[1] > latest[1]:
                latest = part


def labels(facts):
    """J2."""
    for (resource, name), intervals in facts.intervals.items():
        history = facts.audit.histories.get((resource, name))
        if history is None:
            continue
        for interval in intervals:
            given = history.versions.get(interval.version)
            if given is not None and (given.shard != interval.process.shard or given.drain is not None):
                yield Finding("J2", _object(resource, name),
                              f"{_shown(interval)} was given a state that {_labels(given)}, {_written(given)}"), True
        yield from _labels_in_time(facts, history, intervals)


def _labels_in_time(facts, history, intervals):
    """A reconciliation is wrong when every state that the object may have had when it began is another shard's: the
    last one whose write was done, and those of later writes that were under way."""
    by_done = sorted((write.done, index) for index, write in enumerate(history.writes))
    by_received = sorted((write.received, index) for index, write in enumerate(history.writes))
    done = received = 0
    newest, under_way = -1, []
    for interval in intervals:
        while done < len(by_done) and by_done[done][0] + GRAIN < interval.begin:
            newest = max(newest, by_done[done][1])
            done += 1
        while received < len(by_received) and by_received[received][0] <= interval.begin + GRAIN:
            under_way.append(by_received[received][1])
            received += 1
        under_way = [index for index in under_way if index > newest]
        if newest < 0 or facts.validity(interval) != "valid":
            continue  # J7 says what is wrong without a valid Lease
        states = [history.writes[index] for index in (newest, *under_way)]
        shard = interval.process.shard
        if all(_not_of(state, shard) for state in states):
            state = states[0]
            around = interval.process.promised.around(interval.begin)
            lease = f"; its Lease was valid since {show(around[0])}" if around else ""
            yield (Finding("J2", _object(history.resource, history.name),
                           f"{_shown(interval)} began when it {_labels(state)} (version {state.version}), "
                           f"{_written(state)}{lease}"),
                   not history.uncertain(state.received, interval.begin) and
                   not (facts.recent(interval.begin) and interval.version > history.writes[-1].version))


def _not_of(state, shard):
    """Whether a shard knows, or would have been told, that an object in this state is not its own: it has another's
    label, or it let go of it itself."""
    return state.shard != shard and (state.shard != "" or (state.writer == shard and not state.gone))


def leases_at_begin(facts):
    """J7."""
    for (resource, name), intervals in facts.intervals.items():
        for interval in intervals:
            process = interval.process
            if facts.validity(interval) == "no":
                index = bisect.bisect_right([when for when, _ in process.leases], interval.begin) - 1
                said = (f"at {show(process.leases[index][0])} it was valid until {show(process.leases[index][1])}"
                        if index >= 0 else "it was never valid before")
                yield Finding("J7", _object(resource, name),
                              f"{_shown(interval)} began without a valid Lease: {said}"), True
                continue
            times = facts.lease_times.get(process.shard)
            states = times.at(interval.begin) if times else []
            if states and all(state.holder == "" and state.writer == process.shard for state in states):
                yield Finding("J7", _object(resource, name),
                              f"{_shown(interval)} began when its shard had released its Lease, "
                              f"{_written(states[0])}"), not facts.recent(interval.begin)


# -- J3, J6: writes to main objects


def writes(facts):
    """J3."""
    for history in facts.mains():
        for write in history.writes:
            before, shard = write.before, write.writer
            if before is None or before.gone or shard not in facts.shards or before.shard in ("", shard):
                continue
            certain = write.precondition == before.version or not history.uncertain(before.received, write.done)
            yield Finding("J3", _object(history.resource, history.name),
                          f"a {write.verb} of {shard} from {show(write.received)} to {show(write.done)} was accepted "
                          f"(version {write.version}) when it {_labels(before)} (version {before.version}), "
                          f"{_written(before)}"), certain


def acknowledgements(facts, history):
    """The writes by which shards let go of this object: [(Write, whether it was accepted)]."""
    found = []
    for write in history.writes:
        before = write.before
        if (before is not None and write.writer in facts.shards and before.shard == write.writer and not write.gone and
                before.drain is not None and write.drain is None):
            found.append((write, True))
    for write in history.rejected:
        if write.lets_go and write.writer in facts.shards:
            asked = history.versions.get(write.precondition)
            if write.verb == "patch" or (asked is not None and asked.drain is not None):
                found.append((write, False))
    return found


def acknowledged(facts):
    """J6."""
    for history in facts.mains():
        running = {}  # process -> Running
        for write, accepted in acknowledgements(facts, history):
            what = (f"{write.writer} acknowledged from {show(write.received)} to {show(write.done)} "
                    f"({f'version {write.version}' if accepted else f'rejected with {write.code}'})")
            if not write.precondition:
                yield Finding("J6", _object(history.resource, history.name), f"{what} without a resourceVersion"), True
            process = facts.journals.process_at(write.writer, write.received)
            if process is None:
                continue
            if process not in running:
                running[process] = Running([interval for interval in facts.intervals.get(
                    (history.resource, history.name), ()) if interval.process is process])
            for interval in running[process].between(write.received, write.done if accepted else write.received):
                # A state that came after the acknowledgement may be reconciled before the audit log notes its end.
                if not accepted or interval.version < write.version:
                    yield Finding("J6", _object(history.resource, history.name),
                                  f"{what} during {_shown(interval)}"), True


# -- J4, J5: the end


def forgotten(facts, newest):
    """J4. `newest`: the reconciliation was given the newest state that somebody else than this shard has written."""
    for last in facts.last():
        if last.resource not in facts.main or last.shard not in facts.shards:
            continue  # J5 says it
        since = None
        history = facts.audit.histories.get((last.resource, last.name))
        for write in history.writes if history is not None else ():
            if write.uid != last.uid or write.version > last.version:
                continue
            got = write.shard == last.shard and (write.before is None or write.before.uid != write.uid or
                                                 write.before.shard != last.shard)
            if got or (newest and write.writer != last.shard):
                since = write
        needed = since.version if since is not None else 0
        mine = [interval for interval in facts.intervals.get((last.resource, last.name), ())
                if interval.process.shard == last.shard]
        if any(interval.version >= needed and interval.end is not None for interval in mine):
            continue
        after = f"version {needed}, {_written(since)}" if since is not None else "any version"
        latest = f"the last time by {_shown(mine[-1])}" if mine else "never"
        yield (Finding("J4", _object(last.resource, last.name),
                       f"{last.shard} has not reconciled it at {after} or a later one, {latest}"), True)


def settled(facts):
    """J5."""
    live = facts.live()
    found = False
    for last in facts.last():
        found = True
        if last.drain is not None:
            yield Finding("J5", _object(last.resource, last.name),
                          f"it still drains from {last.shard!r} (drain label {last.drain!r})"), True
        if last.shard not in live:
            yield Finding("J5", _object(last.resource, last.name),
                          f"its shard label is {last.shard!r}; live shards: {', '.join(sorted(live)) or 'none'}"), True
    if not found:
        yield Finding("J5", "objects", "there is none at the end"), True


# -- J8: Leases


def leases(facts):
    """J8."""
    for name, history in facts.audit.leases.items():
        running = {}  # process -> Running
        for before, write in zip([None, *history], history):
            if write.writer in facts.shards:
                for text, certain in _lease_write(facts, name, before, write, running):
                    yield Finding("J8", f"lease {name}", text), certain
    for process in facts.journals.processes:
        yield from _lease_lines(facts, process)


def _lease_write(facts, name, before, write, running):
    """What is wrong with a write of a shard to a Lease."""
    what = f"a {write.verb} of {write.writer} from {show(write.received)} to {show(write.done)}"
    if write.writer != name:
        yield f"{what}: it is another shard's", True
        return
    if write.verb in ("update", "patch") and not write.precondition:
        yield f"{what} has no resourceVersion", True
    if before is None or before.gone:
        return
    unknown = write.precondition != before.version and any(
        before.received - UNKNOWN_FOR <= came <= write.done for came in facts.audit.unknown_leases.get(name, ()))
    if before.holder not in ("", name) and before.expires > write.received:
        yield (f"{what} was accepted while {before.holder} held it until {show(before.expires)}, {_written(before)}",
               not unknown)
    if (write.holder == "" or write.gone) and before.holder == name:
        process = facts.journals.process_at(name, write.received)
        if process is not None:
            if process not in running:
                running[process] = Running(process.intervals)
            still = list(running[process].between(write.received, write.received))
            if still:
                yield (f"{what} released it while {len(still)} reconciliations ran, as that of {still[0].name}: "
                       f"{_shown(still[0])}"), True


def _lease_lines(facts, process):
    """validUntil of a journal is at most leaseDuration after the last renewal that the API server has received."""
    shard = process.shard
    own = sorted((write.received, write.received + write.duration) for write in facts.audit.leases.get(shard, ())
                 if write.writer == shard and write.holder == shard)
    if not own:
        return  # J0 says it
    received = [when for when, _ in own]
    until = list(itertools.accumulate((end for _, end in own), max))
    unknown, longest = facts.audit.unknown_leases.get(shard, ()), max(end - when for when, end in own)
    for when, valid_until in process.leases:
        if valid_until <= when:
            continue
        index = bisect.bisect_right(received, when + GRAIN) - 1
        carried = until[index] if index >= 0 else 0
        if valid_until > carried + GRAIN:
            yield (Finding("J8", f"lease {shard}",
                           f"{process.file} says at {show(when)} that it is valid until {show(valid_until)}; "
                           f"what was renewed carries until {show(carried) if carried else 'never'}"),
                   not facts.recent(when) and
                   not any(came <= when and came + longest >= valid_until for came in unknown))
