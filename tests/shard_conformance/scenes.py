"""A shard's life, in scenes. Each has a control plane and a process of the shard of its own, and judges some rules."""

import concurrent.futures
import contextlib
import time
from dataclasses import dataclass

import oracle
from cell import DRAINS, ELSEWHERE, HOLD, LEASES, PLAYED, RING, SHARD, SHARDED, SHARDS, WATCH, SceneOver
from evidence import labels_of
from kubeclient import path_of
from processes import allowed
from shards import RING_LABEL, SHARDER_IDENTITY, STATE_LABEL, parse_time

LEASES_PATH = path_of("leases", LEASES)
MANY = 300
RETRY_PERIOD = 2  # of shards as they usually are
NO_WRITES = "no write of the shard was seen"


@dataclass(frozen=True)
class Scene:
    title: str
    rules: tuple
    run: object
    seconds: int  # about; the longest ones begin first


SCENES = []


def scene(title, *rules, seconds):
    def add(function):
        SCENES.append(Scene(title, rules, function, seconds))
        return function
    return add


# -- the Lease


@scene("the Lease is held and renewed", "S3.1", "S3.2", "S3.3", seconds=10)
def lease_held(cell):
    subject = cell.start()
    cell.poll(lambda: len(cell.renewals()) >= 4 or _expired(cell), 4 * cell.duration(), subject)
    cell.check("S3.3", subject.alive() and len(cell.renewals()) >= 4, "the Lease is renewed again and again",
               lambda: subject.ending() if not subject.alive() else
               f"{len(cell.renewals()) - 1} renewals; it is valid until {_clock(cell.valid_until())}")
    versions = cell.renewals()
    for item in versions:
        _has_fields(cell, item)
    for before, after in zip(versions, versions[1:]):
        _is_renewal(cell, before["spec"], after["spec"])


def _expired(cell):
    return time.time() > cell.valid_until()


def _has_fields(cell, item):
    labels = labels_of(item)
    cell.check("S3.1", labels.get(RING_LABEL) == RING, f"the label {RING_LABEL}: {RING}", f"labels {labels}")
    missing = [key for key in ("acquireTime", "renewTime", "leaseDurationSeconds", "leaseTransitions")
               if key not in item["spec"]]
    cell.check("S3.2", not missing, "all four fields in spec", f"no {', '.join(missing)}")


def _is_renewal(cell, before, after):
    for key in ("acquireTime", "leaseDurationSeconds", "leaseTransitions"):
        cell.check("S3.3", before.get(key) == after.get(key), f"{key} stays {before.get(key)}",
                   f"{after.get(key)} after the renewal at {after['renewTime']}")
    pause = parse_time(after["renewTime"]) - parse_time(before["renewTime"])
    cell.check("S3.3", pause < before["leaseDurationSeconds"], "a renewal before the Lease expires",
               f"{pause:.1f} s between two renewals of a Lease of {before['leaseDurationSeconds']} s")


@scene("another takes the Lease, while a renewal is under way", "S3.4", "S3.5", "S3.7", seconds=40)
def lease_taken(cell):
    subject = cell.start()
    _settled(cell, subject)
    with cell.held_writes(LEASES_PATH) as held:
        cell.need(lambda: any(fault.hits() for fault in held), "the Lease is renewed", subject)
        until = cell.valid_until()
        taken = cell.take_lease()
        taken_at = time.time()
    cell.need(lambda: any(request.done > taken_at for request in cell.requests.leases()),
              "the renewal that was under way is answered")
    late = [request for request in cell.requests.leases() if request.done > taken_at and request.done_well()]
    if not cell.check("S3.4", not late, "the renewal that was read before the take-over is rejected (409)",
                      lambda: f"{late[0]}: the Lease is the shard's again"):
        raise SceneOver("the shard took the Lease back")
    expires = parse_time(taken["spec"]["renewTime"]) + taken["spec"]["leaseDurationSeconds"]
    _write_nothing_after(cell, "S3.7", subject, until, min(until + WATCH, expires - 2),
                         f"shardlease-controller has the Lease since {_clock(taken_at)}")
    if not subject.alive():
        subject = cell.start(ready=False)  # as the kubelet would
    cell.watch(min(WATCH / 2, expires - 2 - time.time()), subject, until=cell.holds)
    if not cell.check("S3.5", not cell.holds(), f"the Lease stays as it is until {_clock(expires)}",
                      lambda: f"the shard has acquired it: acquireTime {cell.lease()['spec']['acquireTime']}"):
        return
    cell.release_lease()
    if not subject.alive():
        subject = cell.start(ready=False)
    cell.expect("S3.5", cell.holds, "once it is released, the shard acquires it, or has ended",
                lambda: f"the process runs, and the Lease is {cell.lease()['spec']}", subject)


@scene("the Lease cannot be renewed, while all else works", "S3.6", seconds=30)
def lease_not_renewed(cell):
    subject = cell.start()
    _settled(cell, subject)
    with cell.fault(fault="error", status=503, path=LEASES_PATH):
        until = cell.valid_until()
        _write_nothing_after(cell, "S3.6", subject, until, until + WATCH, "renewals are answered with 503")


@scene("the API server does not answer for longer than the Lease lasts", "S3.6", seconds=30)
def away_for_long(cell):
    subject = cell.start()
    _settled(cell, subject)
    with cell.fault(fault="freeze"):
        cell.watch(cell.valid_until() + 2 - time.time(), until=_from_time_to_time(cell))
    # What was sent before is carried out now; what is sent now is not.
    cell.watch(WATCH, subject)
    if not cell.profile.writes:
        return cell.cannot_judge("S3.6", NO_WRITES)
    late = [request for request in cell.requests.work() if not _while_valid(cell, request.received)]
    cell.check("S3.6", not late, "no write while the Lease was not valid",
               lambda: f"{len(late)} such writes: {late[0]}")


def _while_valid(cell, moment):
    return any(parse_time(spec["renewTime"]) <= moment <= parse_time(spec["renewTime"]) + spec["leaseDurationSeconds"]
               for spec in (item["spec"] for item in cell.renewals()))


def _write_nothing_after(cell, rule, subject, until, end, why):
    """Gives the shard something to do all the time until `end`; what it writes after `until` breaks the rule."""
    cell.watch(end - time.time(), subject, until=_from_time_to_time(cell))
    if not cell.profile.writes:
        return cell.cannot_judge(rule, NO_WRITES)
    late = [request for request in cell.requests.work() if request.received > until]
    return cell.check(rule, not late, f"no write after {_clock(until)}, because {why}",
                      lambda: f"{len(late)} writes after that: {late[0]}; the last one: {late[-1]}")


def _from_time_to_time(cell):
    """A condition that is never true, and that makes an object each half second."""
    made = [time.monotonic()]

    def make():
        if time.monotonic() - made[-1] > 0.5:
            cell.create()
            made.append(time.monotonic())
        return False
    return make


@scene("the API server does not answer for a short time", "S3.8", seconds=20)
def away_shortly(cell):
    subject = cell.start()
    _settled(cell, subject)
    before = cell.renewals()[-1]["spec"]
    seconds = min(HOLD, cell.duration() / 5)
    for fault in ({"fault": "freeze"}, {"fault": "cut"}, {"fault": "error", "status": 503}):
        with cell.fault(**fault):
            cell.once(fault="cutWatches")
            name = cell.create()
            cell.watch(seconds, subject)
        back = time.time()
        cell.expect("S3.8", lambda: parse_time(cell.renewals()[-1]["spec"]["renewTime"]) > back,
                    "the Lease is renewed when the API server is back", lambda: f"{cell.lease()['spec']}", subject)
        if cell.profile.writes:
            cell.expect("S3.8", lambda: cell.work(name, well=True), "an object that came meanwhile is taken up",
                        lambda: f"no write for it; it has been back since {_clock(back)}", subject)
    after = cell.renewals()[-1]["spec"]
    cell.check("S3.8", after["acquireTime"] == before["acquireTime"], "the Lease was never lost",
               f"acquired again at {after['acquireTime']}")


@scene("SIGTERM, while a reconciliation is running", "S3.9", "S3.10", "S3.11", seconds=10)
def stopped(cell):
    subject = cell.start()
    _settled(cell, subject)
    if cell.profile.writes:
        name = cell.new_name()
        method, path = cell.profile.first_write(name)
        with cell.fault(fault="freeze", method=method, path=path) as held:
            cell.create(name=name)
            cell.need(held.hits, "the shard writes for a new object", subject)
            subject.ask_to_stop()
            cell.watch(HOLD, subject, until=lambda: not cell.holds())
            cell.check("S3.10", cell.holds(), f"the Lease is held while {method} {path} is not answered",
                       lambda: f"holderIdentity is {cell.lease()['spec'].get('holderIdentity')!r} before the answer")
    else:
        cell.cannot_judge("S3.10", NO_WRITES)
        subject.ask_to_stop()
    cell.expect("S3.9", lambda: not cell.lease()["spec"].get("holderIdentity"), "holderIdentity is empty",
                lambda: f"holderIdentity is {cell.lease()['spec'].get('holderIdentity')!r}" +
                        (f"; {subject.ending()}" if not subject.alive() else ""), go_on=True)
    cell.expect("S3.11", lambda: not subject.alive(), "the process ends",
                lambda: f"it still runs {cell.options.timeout:g} s later")
    cell.check("S3.11", subject.code() == 0, "exit code 0", subject.ending)
    releases = [request for request in cell.requests.leases() if request.done_well()]
    late = [request for request in cell.requests.work() if request.done > releases[-1].received]
    if cell.profile.writes and not cell.lease()["spec"].get("holderIdentity"):
        cell.check("S3.10", not late, "no write under way when the Lease is released, or later",
                   lambda: f"{late[-1]}; released at {_clock(releases[-1].received)}")


@scene("it comes back after it has released its Lease", "S3.12", seconds=15)
def back_after_release(cell):
    _come_back(cell, "")


@scene("it comes back after the sharder has taken its Lease over", "S3.12", seconds=15)
def back_after_take_over(cell):
    _come_back(cell, SHARDER_IDENTITY)


@scene("it makes its Lease, and there are objects of its name", "S3.12", seconds=15)
def lease_made(cell):
    _come_back(cell, None)


def _come_back(cell, holder):
    """The scene plays the sharder, which moves the shard's objects until it has seen who holds the Lease. `holder`: of the
    Lease before; None: there is none."""
    cell.end_sharder()
    if holder is not None:
        cell.leave_lease(holder)
    name = cell.create()
    subject = cell.start()
    acquired = labels_of(cell.renewals()[0])
    cell.check("S3.12", STATE_LABEL not in acquired, f"the Lease is acquired without the label {STATE_LABEL}",
               f"labels {acquired}")
    cell.watch(2 * RETRY_PERIOD, subject)  # it may look for the label more often at first
    cell.need(lambda: len(cell.renewals()) > 2, "the Lease is renewed", subject)
    times = [parse_time(item["spec"]["renewTime"]) for item in cell.renewals()]
    retry_period = min(RETRY_PERIOD, times[-1] - times[-2])
    cell.watch(times[-1] + 0.75 * retry_period - time.time(), subject)  # so that the next renewal shows the label
    seen_at = time.time()
    cell.set_state("ready")

    def looked():
        return [*cell.requests.lists(cell.main.plural), *cell.requests.work()]

    cell.need(lambda: cell.work(name, well=True) if cell.profile.writes else looked(), f"{name} is taken up", subject)
    subject.kill()  # so that its watches end, and are known
    cell.need(looked, f"{cell.main.plural} are listed")
    early = [request for request in looked() if request.received < seen_at + retry_period]
    cell.check("S3.12", not early, f"{cell.main.plural} are listed and written after {_clock(seen_at)}, when the state "
               f"label was set, and {retry_period:.1f} s more", lambda: early[0])


# -- whose objects


@scene("objects of others", "S6.1", "S6.2", seconds=10)
def others(cell):
    before = cell.create()  # there before the shard is
    subject = cell.start()
    foreign, unassigned = cell.create(shard=ELSEWHERE), cell.create(shard=None)
    moved, unlabelled, came = cell.create(), cell.create(), cell.create(shard=ELSEWHERE)
    if not cell.profile.writes:
        for rule in ("S6.1", "S6.2"):
            cell.cannot_judge(rule, NO_WRITES)
        return
    for name in (before, moved, unlabelled):
        cell.expect("S6.1", lambda: cell.work(name, well=True), f"{name} is taken up", lambda: "no write for it",
                    subject)
    _quiet(cell, moved, unlabelled)
    moved_at = time.time()
    with cell.player.pauses():  # what an object owns still has the shard's label, when it is deleted
        cell.change(moved, shard=ELSEWHERE)
        _canaries(cell, subject)
        _delete(cell, cell.owned(moved))
    cell.change(unlabelled, shard=None)
    cell.change(foreign)
    cell.label(came, shard=SHARD)
    cell.expect("S6.1", lambda: cell.work(came, well=True), f"{came} is taken up: it is the shard's now",
                lambda: "no write for it", subject)
    _canaries(cell, subject)
    wrong = [*cell.work(foreign), *cell.work(unassigned), *cell.work(moved, since=moved_at),
             *cell.work(unlabelled, since=moved_at)]
    cell.check("S6.2", not wrong, "no write for objects that have not the shard's label", lambda: f"{wrong[0]}")


def _label_of(cell, item):
    current = cell.history.latest(cell.controlled.plural, PLAYED, item["metadata"]["name"])
    return current and labels_of(current).get(SHARDS)


@scene("a controlled object is deleted", "S6.13", seconds=8)
def controlled_deleted(cell):
    if not cell.profile.owns:
        return cell.cannot_judge("S6.13", "the shard makes no objects that its objects own")
    subject = cell.start()
    name = cell.create()
    cell.need(lambda: cell.owned(name), "it makes what belongs to the object", subject)
    _quiet(cell, name)
    item = cell.owned(name)[0]
    cell.need(lambda: _label_of(cell, item) == SHARD, "what it owns has the shard's label")
    cell.client.delete(cell.controlled.plural, PLAYED, item["metadata"]["name"])
    return cell.expect("S6.13", lambda: any(again["metadata"]["uid"] != item["metadata"]["uid"]
                                            for again in cell.owned(name)),
                       f"{item['metadata']['name']} is made again", lambda: "it is not there", subject)


# -- drains


@scene("objects drain while nothing is done with them", "S6.3", "S6.4", "S6.5", "S6.6", "S6.9", "S6.14", seconds=12)
def drains(cell):
    subject = cell.start()
    names = {value: cell.create() for value in ("true", ELSEWHERE, "")}
    _settle(cell, subject, *names.values())
    for value, name in names.items():
        cell.label(name, drain=value)
        _acknowledged(cell, subject, name, value)
    at_once = cell.create(drain="true")
    _acknowledged(cell, subject, at_once, "true")
    back = names["true"]
    gone_at = time.time()
    for name in names.values():
        cell.change(name)
    if not cell.profile.writes:
        for rule in ("S6.3", "S6.9", "S6.14"):
            cell.cannot_judge(rule, NO_WRITES)
        return
    _canaries(cell, subject)
    cell.check("S6.3", not cell.work(at_once), "no write for an object that drained from the beginning",
               lambda: cell.work(at_once)[0])
    late = [request for name in names.values() for request in cell.work(name, since=gone_at)]
    cell.check("S6.9", not late, "no write for an object after its acknowledgement", lambda: f"{late[0]}")
    if not cell.profile.reacts and not cell.profile.owns:
        cell.cannot_judge("S6.14", "the shard writes nothing when an object changes, and makes nothing")
        return
    _delete(cell, cell.owned(back))  # so that there is something to do
    back_at = time.time()
    cell.change(back, shard=SHARD)
    cell.expect("S6.14", lambda: cell.work(back, since=back_at), "the object is taken up again",
                lambda: f"no write for it since {_clock(back_at)}", subject)


def _acknowledged(cell, subject, name, value):
    """Waits for the acknowledgement of a drain with this value, and judges it."""
    cell.expect("S6.4", lambda: cell.let_go(name), f"the drain with the value {value!r} is acknowledged",
                lambda: f"labels {labels_of(cell.object(name))}", subject)
    _one_step(cell, name, value)
    done = [request for request in cell.acknowledgements(name) if request.done_well()]
    if not done:
        cell.cannot_judge("S6.6", "the body of the acknowledgement cannot be read")
        return
    cell.check("S6.6", _precondition(done[0].body), "a resourceVersion in the patch",
               lambda: f"{done[0].method} with {done[0].body}")


def _one_step(cell, name, value):
    """The first version in which one of the two labels is another has none of them, and all else as it was."""
    cell.need(lambda: DRAINS not in labels_of(cell.history.latest(cell.main.plural, PLAYED, name) or
                                              {"metadata": {"labels": {DRAINS: ""}}}), "the history has it")
    before = None
    for _, item in cell.history.changes(cell.main.plural, PLAYED, name):
        labels = labels_of(item)
        if before is not None and (labels.get(SHARDS), labels.get(DRAINS)) != (SHARD, value):
            break
        before = item if labels.get(DRAINS) == value else None
    shards = (None,) if value in ("", "true") else (None, value)
    cell.check("S6.5", DRAINS not in labels and labels.get(SHARDS) in shards,
               f"in one step no drain label, and the shard label {' or '.join(map(str, shards))}", f"labels {labels}")
    kept, was = ({key: part for key, part in labels_of(version).items() if key not in (SHARDS, DRAINS)}
                 for version in (item, before))
    same = all(item.get(key) == before.get(key) for key in {*item, *before} - {"metadata"})
    cell.check("S6.5", kept == was and same, "nothing else changes", f"labels {kept} instead of {was}" if same else
               "other fields of the object have changed")


def _precondition(body):
    if isinstance(body, list):
        return any(step.get("path") == "/metadata/resourceVersion" for step in body)
    return isinstance(body, dict) and bool((body.get("metadata") or {}).get("resourceVersion"))


@scene("an object drains while its reconciliation is running", "S6.8", "S6.9", seconds=10)
def drain_running(cell):
    if not cell.profile.writes:
        for rule in ("S6.8", "S6.9"):
            cell.cannot_judge(rule, NO_WRITES)
        return
    subject = cell.start()
    idle = cell.create()
    _settle(cell, subject, idle)
    name = cell.new_name()
    method, path = cell.profile.first_write(name)
    with cell.fault(fault="freeze", method=method, path=path) as held:
        cell.create(name=name)
        cell.need(held.hits, "the shard writes for a new object", subject)
        cell.label(name, drain=ELSEWHERE)
        cell.label(idle, drain=ELSEWHERE)  # when that one is acknowledged, the drain labels have been seen
        # A shard that writes to the object itself has the acknowledgement held too.
        early = cell.poll(lambda: cell.let_go(name) or path.startswith(cell.path(name)) and held.hits() > 1, HOLD,
                          subject)
        cell.check("S6.8", not early, f"no acknowledgement while {method} {path} is not answered",
                   lambda: f"labels {labels_of(cell.object(name))} before the answer")
    cell.expect("S6.8", lambda: cell.let_go(name), "the drain is acknowledged after the answer",
                lambda: f"labels {labels_of(cell.object(name))}", subject)
    _canaries(cell, subject)
    done = [request for request in cell.acknowledgements(name) if request.done_well()]
    if done:
        late = [request for request in cell.work(name) if request.done > done[0].received]
        cell.check("S6.9", not late, "no write after the acknowledgement", lambda: f"{late[-1]}, after {done[0]}")


@scene("the object changes while the acknowledgement is under way", "S6.6", "S6.7", seconds=10)
def conflicts(cell):
    subject = cell.start()
    drained, kept = cell.create(), cell.create()
    _settle(cell, subject, drained, kept)
    with _acknowledging(cell, subject, drained):
        cell.client.patch(cell.main.plural, PLAYED, drained, {"metadata": {"annotations": {"kit": "meanwhile"}}})
    cell.expect("S6.7", lambda: cell.let_go(drained), "what still drains is acknowledged at the second try",
                lambda: f"labels {labels_of(cell.object(drained))}", subject)
    _rejected(cell, drained)
    cell.check("S6.7", (cell.object(drained)["metadata"].get("annotations") or {}).get("kit") == "meanwhile",
               "the other change is still there", lambda: f"annotations {cell.object(drained)['metadata']}")
    with _acknowledging(cell, subject, kept):
        cell.label(kept, drain=None)
        withdrawn = time.time()
    cell.need(lambda: any(request.done > withdrawn for request in cell.acknowledgements(kept)), "the answer")
    _rejected(cell, kept)
    if cell.profile.reacts and labels_of(cell.object(kept)).get(SHARDS) == SHARD:
        cell.change(kept)
        cell.expect("S6.7", lambda: cell.work(kept, since=withdrawn),
                    "the object whose drain was withdrawn is the shard's as before", lambda: "no write for it", subject)
    _canaries(cell, subject)
    cell.check("S6.7", labels_of(cell.object(kept)).get(SHARDS) == SHARD,
               "the object whose drain was withdrawn keeps its shard", lambda: f"labels {labels_of(cell.object(kept))}")


@contextlib.contextmanager
def _acknowledging(cell, subject, name):
    """The object drains; in the block its acknowledgement is under way, and not carried out yet."""
    with cell.held_writes(cell.path(name)) as held:
        cell.label(name, drain=ELSEWHERE)
        cell.need(lambda: any(fault.hits() for fault in held), "the drain is acknowledged", subject)
        yield


def _rejected(cell, name):
    """The first acknowledgement, which was decided on an older version."""
    first = cell.acknowledgements(name)[:1]
    if not first:
        cell.cannot_judge("S6.6", "the body of the acknowledgement cannot be read")
        return
    cell.check("S6.6", first[0].code in (409, 422), "the acknowledgement of an older version is rejected (409)",
               lambda: f"{first[0]}, with {first[0].body}")


@scene("the watch shows how it was before the acknowledgement", "S6.9", seconds=10)
def back_in_time(cell):
    if not cell.profile.reacts:
        return cell.cannot_judge("S6.9", "no write of the shard was seen when an object changes")
    subject = cell.start()
    name = cell.create()
    _settle(cell, subject, name)
    with contextlib.ExitStack() as stack:
        watches = stack.enter_context(contextlib.ExitStack())
        with _acknowledging(cell, subject, name):
            watches.enter_context(cell.fault(fault="freeze", verb="watch"))
            cell.change(name, drain=None)  # the shard's, and something to do
            cell.label(name, drain=ELSEWHERE)
        # A shard that waits for the watch after the conflict has to be shown it.
        cell.poll(lambda: cell.let_go(name), HOLD, subject)
        # What was before is shown event by event, so that there is time to believe each.
        stack.enter_context(cell.fault(fault="trickle", milliseconds=500, verb="watch"))
        watches.close()
        cell.need(lambda: cell.let_go(name), "the drain is acknowledged", subject)
        _canaries(cell, subject)
    done = [request for request in cell.acknowledgements(name) if request.done_well()]
    if not done:
        return cell.cannot_judge("S6.9", "the body of the acknowledgement cannot be read")
    late = [request for request in cell.work(name) if request.received > done[0].done]
    return cell.check("S6.9", not late, "no write after the acknowledgement, though the watch shows an older version",
                      lambda: f"{late[0]}, after {done[0]}")


@scene("objects are deleted while they drain", "S6.10", seconds=10)
def deleted(cell):
    subject = cell.start()
    gone, waiting = cell.create(), cell.create(finalizers=["kit.example/waits"])
    _settle(cell, subject, gone, waiting)
    with _acknowledging(cell, subject, gone):
        cell.client.delete(cell.main.plural, PLAYED, gone)
    cell.client.delete(cell.main.plural, PLAYED, waiting)
    cell.label(waiting, drain=ELSEWHERE)
    cell.expect("S6.10", lambda: cell.let_go(waiting), "an object that waits for its finalizers is acknowledged",
                lambda: f"labels {labels_of(cell.object(waiting))}", subject)
    after = cell.create()
    _settle(cell, subject, after)
    cell.label(after, drain=ELSEWHERE)
    cell.expect("S6.10", lambda: cell.let_go(after), "other objects are acknowledged afterwards",
                lambda: f"labels {labels_of(cell.object(after))}", subject)
    cell.check("S6.10", cell.object(gone) is None, "what was deleted stays deleted",
               lambda: cell.object(gone)["metadata"])


@scene(f"{MANY} objects drain at once", "S6.1", "S6.11", seconds=30)
def many(cell):
    subject = cell.start()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: cell.create(), range(MANY)))
        patience = cell.options.timeout + MANY / 10
        if cell.profile.writes:
            cell.expect("S6.1", lambda: not _not_worked_on(cell, names),
                        f"all {MANY} are taken up within {patience:g} s",
                        lambda: f"no write for {len(_not_worked_on(cell, names))} of them", subject, patience,
                        go_on=True)
        began = time.time()
        list(pool.map(lambda name: cell.label(name, drain=ELSEWHERE), names))

    def draining():
        return [item for item in cell.history.objects(cell.main.plural, PLAYED) if DRAINS in labels_of(item)]

    cell.expect("S6.11", lambda: not draining(), f"all {MANY} are acknowledged within {patience:g} s",
                lambda: f"{len(draining())} of {MANY} still drain {time.time() - began:.0f} s later", subject, patience)


def _not_worked_on(cell, names, since=0.0):
    """Those without a write that has succeeded, or since a moment for which nothing was written."""
    worked = set()
    for request in cell.requests.work():
        if (request.done_well() or since) and request.received > since:
            worked |= request.about
    return [name for name in names if name not in worked]


# -- the watch


@scene("the watch's history expires", "S6.12", seconds=12)
def expired(cell):
    subject = cell.start()
    moved, draining, emptied = cell.create(), cell.create(), cell.create()
    _settle(cell, subject, moved, draining, emptied)
    items = {name: cell.owned(name) for name in (moved, emptied)}
    for item in (*items[moved], *items[emptied]):
        cell.need(lambda item=item: _label_of(cell, item) == SHARD, "what it owns has the shard's label")
    with cell.player.pauses():  # what an object owns still has the shard's label, when it is deleted
        with cell.fault(fault="freeze", verb="watch"):
            cell.once(fault="cutWatches")  # they end when they are not frozen any more
            new = cell.create()
            cell.change(moved, shard=ELSEWHERE)
            cell.label(draining, drain=ELSEWHERE)
            _delete(cell, items[emptied])
            cell.client.request("POST", "/-/faults", {"fault": "expire"})
        cell.expect("S6.12", lambda: cell.let_go(draining), "a drain of that time is acknowledged",
                    lambda: f"labels {labels_of(cell.object(draining))}", subject)
        if cell.profile.writes:
            cell.expect("S6.12", lambda: cell.work(new, well=True), "an object of that time is taken up",
                        lambda: "no write for it", subject)
        if items[emptied]:
            cell.expect("S6.12", lambda: cell.owned(emptied), "what was deleted in that time is made again",
                        lambda: "it is not there", subject)
        _quiet(cell, moved)
        known_at = time.time()  # that it went has been seen by now
        _delete(cell, items[moved])
        _canaries(cell, subject)
    late = cell.work(moved, since=known_at)
    cell.check("S6.12", not late, "an object that went in that time is not written", lambda: late[0])


def _delete(cell, items):
    for item in items:
        cell.client.delete(cell.controlled.plural, PLAYED, item["metadata"]["name"])


# -- with the sharder


@scene("two shards, one comes and one goes", "S6.1", "S6.4", "S3.9", "S3.11", seconds=25)
def life(cell):
    objects, other = 60, "kit-b"
    first = cell.start(namespace=SHARDED)
    cell.wait(lambda: _status(cell).get("availableShards") == 1, "the sharder knows the shard", 20)
    names = [cell.create(shard=None, namespace=SHARDED) for _ in range(objects)]
    if cell.profile.writes:
        cell.expect("S6.1", lambda: not _not_worked_on(cell, names),
                    "the objects that the webhook assigns are taken up",
                    lambda: f"no write for {len(_not_worked_on(cell, names))} of {len(names)}", first)
    else:
        cell.cannot_judge("S6.1", NO_WRITES)
    cell.watch(5, first)  # what comes to the other shard is not new
    second = cell.start(shard=other, namespace=SHARDED)
    _placed(cell, second, names, {SHARD, other}, "S6.4", "a shard joins, and the objects that belong to it are let go")
    first.ask_to_stop()
    _placed(cell, second, names, {other}, "S3.9", "after SIGTERM all objects are moved to the other shard")
    cell.expect("S3.11", lambda: not first.alive(), "the process ends", lambda: "it still runs")
    cell.check("S3.11", first.code() == 0, "exit code 0", first.ending)


def _status(cell):
    return cell.client.get("controllerrings", None, RING).get("status") or {}


def _placed(cell, subject, names, shards, rule, expected):
    """Until each object has the shard of the ring, and is written by a shard when it changes."""
    ring = oracle.Ring(shards)

    def wrong():
        return [name for name in names if oracle.shard_of(cell.object(name, SHARDED), RING) != ring.owner(
            oracle.main_key(cell.main.group, cell.main.kind, SHARDED, name)) or
                DRAINS in labels_of(cell.object(name, SHARDED))]

    cell.expect(rule, lambda: not wrong(), expected,
                lambda: f"{len(wrong())} of {len(names)} are not where they belong: "
                        f"{labels_of(cell.object(wrong()[0], SHARDED))}", subject, cell.options.timeout + 30)
    if not cell.profile.reacts:
        return
    began = time.time()
    for name in names:
        cell.change(name, SHARDED)
    cell.expect("S6.1", lambda: not _not_worked_on(cell, names, began), f"{expected}, and taken up by the other",
                lambda: f"no write for {len(_not_worked_on(cell, names, began))} of {len(names)}", subject, go_on=True)


# -- steps


def _settle(cell, subject, *names):
    """Until the shard has done what these objects ask for, as far as it writes."""
    if cell.profile.writes:
        for name in names:
            cell.need(lambda: cell.work(name, well=True), f"{name} is taken up", subject)
        _quiet(cell, *names)


def _settled(cell, subject):
    name = cell.create()
    _settle(cell, subject, name)
    return name


def _quiet(cell, *names):
    """Until nothing has been written for these objects for a while: half a second, or longer if the machine is slow."""
    def quiet():
        return all(not cell.work(name) or time.time() - cell.work(name)[-1].done > allowed(0.5) for name in names)

    cell.need(quiet, "the reconciliations have ended")


def _canaries(cell, subject, count=2):
    """New objects, one after the other, until each is taken up, or let go by a shard that writes nothing: what came
    before has been seen by then."""
    for _ in range(count):
        name = cell.create()
        if cell.profile.writes:
            cell.need(lambda: cell.work(name, well=True), "a new object is taken up", subject)
        else:
            cell.label(name, drain=ELSEWHERE)
            cell.need(lambda: cell.let_go(name), "a new object is let go", subject)


def _clock(moment):
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment * 1000) % 1000:03d}"

