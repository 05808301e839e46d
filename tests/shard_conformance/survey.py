"""What the kit finds out about a shard before it judges it."""

import time
from dataclasses import dataclass

from cell import SHARD, SceneOver
from evidence import KIT_AGENT


class NotStarted(Exception):
    """The shard acquires no Lease, or cannot be told from others."""


@dataclass
class Profile:
    agents: tuple = ()  # its User-Agents
    writes: bool = False  # it writes something for an object that it takes up
    first: tuple = ()  # (method, path with {name}) of the first of these writes
    reacts: bool = False  # it writes too when the object changes, or tries to
    owns: bool = False  # it makes objects that the main object owns
    duration: int = 0  # leaseDurationSeconds

    def first_write(self, name):
        """(method, path) of the first write for an object of this name."""
        method, path = self.first
        return method, path.replace("{name}", name)


def survey(cell):
    """Starts the shard and looks. SceneOver, with a verdict, when it is too far from a shard to be judged."""
    profile = cell.profile = Profile()
    earlier = cell.create()
    subject = cell.start(ready=False)
    _started(cell, subject)
    profile.duration = cell.renewals()[0]["spec"].get("leaseDurationSeconds", 0)
    seen = cell.poll(lambda: cell.work(earlier, well=True), cell.options.timeout, subject)
    name = cell.create()  # it has listed what was there by now
    cell.poll(lambda: cell.work(name, well=True), cell.options.timeout if seen else cell.options.timeout / 3, subject)
    taken = [one for one in (earlier, name) if cell.work(one, well=True)]
    _be_quiet(cell, name)
    profile.writes = bool(taken)
    if len(taken) == 1:
        cell.breaks("S6.1", "objects are taken up, those from before the shard's start and those from after it",
                    f"{'the earlier' if taken == [earlier] else 'the later'} one alone is written")
        raise SceneOver("objects are not taken up, so nothing else can be judged")
    if profile.writes:
        cell.keeps("S6.1")
        writes = cell.work(name)
        profile.first = writes[0].method, writes[0].uri.partition("?")[0].replace(name, "{name}")
        profile.owns = bool(cell.owned(name))
        began = time.time()
        cell.change(name)
        profile.reacts = bool(cell.poll(lambda: cell.work(name, since=began), 5, subject))
    else:
        cell.cannot_judge("S6.1", "no write of the shard was seen" + ("" if subject.alive() else
                                                                      f": {subject.ending()}"))
    profile.agents = tuple(sorted(cell.requests.agents()))
    if "" in profile.agents:
        raise NotStarted("some of its requests have no User-Agent, so faults cannot be aimed at them")
    if KIT_AGENT in profile.agents:
        raise NotStarted(f"its User-Agent is {KIT_AGENT}, as the kit's own")
    return profile


def _started(cell, subject):
    if not cell.poll(lambda: cell.holds() or cell.requests.leases(), cell.options.timeout, subject):
        raise NotStarted(subject.ending() if not subject.alive() else
                         f"it runs, and has not tried to write a Lease within {cell.options.timeout:g} s")
    if not cell.poll(cell.holds, cell.options.timeout, subject):
        tried = "; ".join(map(str, cell.requests.leases()[-3:]))
        if not any(request.done_well() for request in cell.requests.leases()):
            raise NotStarted(f"it cannot write its Lease: {tried}")
        cell.breaks("S3.1", f"a Lease {SHARD} in the namespace leases, with holderIdentity {SHARD}", tried)
        raise SceneOver(f"there is no Lease that {SHARD} holds")


def _be_quiet(cell, name):
    """Until no write for the object has come for a second."""
    def quiet():
        writes = cell.work(name)
        return not writes or time.time() - writes[-1].done > 1

    cell.poll(quiet, cell.options.timeout)


