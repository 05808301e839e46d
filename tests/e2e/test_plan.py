#!/usr/bin/python3
"""The members of a ring change at random, one or several at a time. What `sharderctl plan` lists before a change is
what the API server's audit log has after it, object by object; what `sharderctl explain` says of random objects, at rest
and while objects move, is what oracle.py says.

$SHARDER_PLAN_SEED repeats the changes of a run; else it is drawn and printed."""

import collections
import itertools
import os
import random
import time

import oracle
from cluster import stored_objects
from environment import CONFIG_MAPS, SECRETS, Environment
from processes import wait_until
from sharderctl import document
from suite import Suite

suite = Suite("plan", lambda short: Environment(short=short, judged={"": ["secrets", "configmaps"]}), parallel=False)

CORDONED = "sharder.alpha.sharding.timebertt.dev/cordoned"
# More than 11 of a StatefulSet: some of their tokens collide (docs/protocol.md, section 4).
POOL = [f"ctl-{number}" for number in range(16)]
LIKE_GO = POOL[::4]  # they remove both labels, and the webhook assigns
FIRST, FEWEST, MOST = 6, 3, 14  # members
FLAGS = {"join": "--add", "uncordon": "--add", "leave": "--remove", "crash": "--remove", "cordon": "--cordon"}
# Changes are drawn like cards; one that is not possible is drawn later. "several": up to 4 shards at once.
DECK = [*FLAGS, "several"]
SEVERAL = range(2, 5)

Write = collections.namedtuple("Write", "resource name shard target")  # an object as it was stored


class Shards:
    """The shards of a ring, and what changes them."""

    def __init__(self, ring, started, rng):
        self._ring, self._started, self._rng = ring, started, rng
        self._cordoned = set()
        self._deck = []
        self.running = set(POOL[:FIRST])

    @property
    def members(self):
        return self.running - self._cordoned

    def draw(self):
        """The next change: [(what, shard)]."""
        if not self._deck:
            self._deck = self._rng.sample(DECK, len(DECK))
        possible = self._choices([])
        card = next((card for card in self._deck if card == "several" or possible[card]), None)
        if card is not None:
            self._deck.remove(card)
        steps = []
        for _ in range(self._rng.choice(SEVERAL) if card == "several" else 1):
            choices = self._choices(steps)
            what = card if choices.get(card) else self._rng.choice([one for one in choices if choices[one]])
            steps.append((what, self._rng.choice(choices[what])))
        return steps

    def _choices(self, steps):
        """{what: shards}, after these steps, which touch other shards."""
        touched = {shard for _, shard in steps}
        members = after(self.members, steps)
        may_end = sorted(members - touched) if len(members) > FEWEST else []
        may_come = len(members) < MOST
        return {"join": [name for name in POOL if may_come and name not in self.running | touched],
                "uncordon": sorted(self._cordoned - touched) if may_come else [],
                "leave": may_end, "crash": may_end, "cordon": may_end}

    def carry_out(self, steps):
        for what, shard in steps:
            if what == "join":
                self._started.start(shard)
                self.running.add(shard)
            elif what in ("leave", "crash"):
                self._started.release(shard) if what == "leave" else self._started.crash(shard)
                self.running.remove(shard)
            else:
                self._mark(shard, what == "cordon")

    def _mark(self, shard, cordoned):
        self._ring.env.admin.patch("leases", self._ring.namespace, shard,
                                   {"metadata": {"annotations": {CORDONED: "true" if cordoned else None}}})
        (self._cordoned.add if cordoned else self._cordoned.remove)(shard)

    def acknowledge(self, does):
        """Whether they acknowledge drains."""
        self._started.agent.acknowledge(does, *self.running)


def after(members, steps):
    come = {shard for what, shard in steps if FLAGS[what] == "--add"}
    return members - {shard for _, shard in steps} | come


class Objects:
    """The ring's objects as the audit log shows them. `keys`: {(resource, name): key} of all of them.

    With --proxy cut, a write may have been done though the log has only that its connection ended (504). Then what is
    stored in the end says what has moved."""

    def __init__(self, ring):
        self._ring, self._plane = ring, ring.env.plane
        self._seen = 0  # bytes of the audit log
        self._cut = False  # by 504s of the last writes
        self._hidden = set()  # (resource, name) of those that a 504 may ever have changed
        self._versions = {}  # resourceVersion -> Write
        self._labels = {}  # (resource, name) -> (shard, whether it drains), by the last write
        self.keys = {}

    def next_writes(self):
        """[Write] since the last call, in the order in which they were stored."""
        begin, self._seen = self._seen, self._plane.flush_audit_log()
        events = self._plane.audit_events(begin=begin)
        lost = [event.get("objectRef", {}) for event in events if event["responseStatus"]["code"] == 504]
        hidden = {(reference.get("resource"), reference.get("name")) for reference in lost}
        self._cut, self._hidden = bool(hidden), self._hidden | hidden
        found = {}
        for _, resource, item in stored_objects(events, self._ring.namespace, "secrets", "configmaps"):
            metadata = item["metadata"]
            key = (oracle.main_key("", "Secret", self._ring.namespace, metadata["name"]) if resource == "secrets" else
                   oracle.controlled_key(item))
            if key is not None:  # the cluster's own ConfigMap has none
                self.keys[resource, metadata["name"]] = key
                found[int(metadata["resourceVersion"])] = Write(
                    resource, metadata["name"], oracle.shard_of(item, self._ring.name) or "",
                    metadata.get("labels", {}).get(self._ring.drain_label))
        self._versions.update(found)
        return list(found.values())

    def version(self, resource, name, version):
        """The Write that stored it; None when a cut connection has hidden it."""
        assert (resource, name) in self._hidden or int(version) in self._versions, (resource, name, version)
        return self._versions.get(int(version))

    def next_moves(self):
        """Since the last call: {(resource, name): [shard, ..., shard]} of all objects whose shard label was written, and
        how many drain labels were set, None where that is not known."""
        chains, drains = {}, 0
        for write in self.next_writes():
            name = (write.resource, write.name)
            shard, draining = self._labels.get(name, (None, False))
            if shard is not None and write.shard != shard:
                chains.setdefault(name, [shard]).append(write.shard)
            drains += write.target is not None and not draining
            self._labels[name] = write.shard, write.target is not None
        for name, (_, stored) in self._ring.versions().items() if self._cut else ():
            if name in self._labels and self._labels[name][0] != stored:
                chains.setdefault(name, [self._labels[name][0]]).append(stored)
                self._labels[name] = stored, False
        return chains, None if self._cut else drains


def check_moves(planned, chains, drains, at_once):
    """`at_once`: so many shards changed, and not at the same instant; so objects may move more than once."""
    listed = {(move["resource"], move["name"]): (move["from"], move["to"]) for move in planned["moves"]}
    moved = {name: (chain[0], chain[-1]) for name, chain in chains.items()}
    assert len(listed) == len(planned["moves"]) == planned["moved"], "each object is listed once"
    apart = [(name, listed.get(name), moved.get(name)) for name in sorted({**listed, **moved})
             if listed.get(name) != moved.get(name)]
    assert not apart, f"{len(apart)} objects, such as (object, planned, moved) {apart[:5]}"
    if at_once == 1 and drains is not None:
        repeated = {name: chain for name, chain in chains.items() if len(chain) != 2}
        assert not repeated, f"moved more than once: {list(repeated.items())[:5]}"
        assert planned["drains"] == drains, (planned["drains"], drains)
        assert planned["reassignments"] == len(moved) - drains, (planned["reassignments"], len(moved), drains)
    return sum(len(chain) - 1 for chain in chains.values())


def check_explanations(explained, names, keys, possible):
    """That it says of these objects what follows from their names. `possible`: sets of members, of which one was read."""
    assert [(one["resource"], one["name"]) for one in explained] == names
    for name, one in zip(names, explained):
        assert one["key"] == keys[name], one
        assert one["hash"] == f"{oracle.xxhash.xxh64_intdigest(keys[name].encode()):016x}", one
        assert one["selected"] and one["webhookCalls"] and all(one["sharderMay"].values()), one
    wrong = []
    for members in possible:
        owners, without = oracle.Ring(members), {shard: oracle.Ring(members - {shard}) for shard in members}
        wrong = [one for one in explained if one["desired"] != owners.owner(one["key"]) or
                 one["next"] != without[one["desired"]].owner(one["key"])]
        if not wrong:
            return
    raise AssertionError(f"no members of {possible} give {len(wrong)} of these, such as {wrong[0]}")


def check_at_rest(explained, owned):
    for one in explained:
        assert one["desired"] == one["shard"] and one["drain"] is one["drainSet"] is None, one
        assert one["verdict"] == ["it is where it belongs"] and one["shardAvailable"], one
        if one["resource"] == "secrets":
            own = int(one["name"].removeprefix("s-")) < owned
            assert one["controlled"] == [{"resource": "configmaps", "byShard": {one["shard"]: 1} if own else {},
                                          "elsewhere": 0, "example": ""}], one


def check_read(explained, objects):
    """That it says what was stored in the version that it read."""
    for one in explained:
        stored = objects.version(one["resource"], one["name"], one["resourceVersion"])
        assert stored in (None, Write(one["resource"], one["name"], one["shard"], one["drain"])), (one, stored)
        well = one["shard"] == one["desired"] and one["drain"] is None
        assert (one["verdict"][0] == "it is where it belongs") == well, one


def some_of(rng, names, planned, count):
    """So many of all objects, up to half of them of those that the plan moves."""
    moved = [(move["resource"], move["name"]) for move in planned["moves"]]
    chosen = rng.sample(moved, min(len(moved), count // 2))
    return chosen + rng.sample([name for name in names if name not in chosen], count - len(chosen))


def subsets(members, steps):
    """The members when some of the steps are carried out."""
    chosen = (some for count in range(len(steps) + 1) for some in itertools.combinations(steps, count))
    return [after(members, some) for some in chosen]


def explain(env, ring, names, expect):
    began = time.monotonic()
    explained = document(env, "explain", *map("/".join, names), "-n", ring.namespace, expect=expect)
    assert not explained["incomplete"], explained["incomplete"]
    return explained["items"], time.monotonic() - began


def run(env, name, objects, owned, changes, at_rest, moving):
    """`at_rest`, `moving`: so many objects are explained after each change, and while it moves objects."""
    seed = os.environ.get("SHARDER_PLAN_SEED") or f"{random.randrange(10**6)}"
    print(f"        seed {seed}: SHARDER_PLAN_SEED={seed} repeats the changes", flush=True)
    rng = random.Random(f"{name} {seed}")
    ring = env.ring(name, ((SECRETS, (CONFIG_MAPS,)),))
    totals, kinds, seconds = collections.Counter(), collections.Counter(), 0
    with ring.shards(*POOL[:FIRST], duration=6, renew_every=1, working=True) as started:
        started.agent.like_go(*LIKE_GO)
        shards = Shards(ring, started, rng)
        ring.wait_ready(POOL[:FIRST])
        shards.carry_out([("cordon", POOL[0])])  # so that there is one to uncordon
        ring.wait_members(sorted(shards.members))
        ring.create_secrets(objects, owned=owned)
        ring.wait_settled(sorted(shards.members))
        seen = Objects(ring)
        seen.next_moves()
        names = sorted(seen.keys)
        assert len(names) == objects + owned, len(names)
        for number in range(changes):
            before, steps = shards.members, shards.draw()
            members = after(before, steps)
            try:
                planned = document(env, "plan", ring.name, *(f"{FLAGS[what]}={shard}" for what, shard in steps))
                assert planned["membersBefore"] == sorted(before), planned["membersBefore"]
                assert planned["membersAfter"] == sorted(members), planned["membersAfter"]
                assert planned["movedAnyway"] == 0 and planned["objects"] == len(names), planned
                held = planned["drains"] > 0 and rng.random() < 0.5
                if held:
                    shards.acknowledge(False)
                shards.carry_out(steps)
                if held:
                    wait_until(lambda: any(oracle.target_of(item, ring.name) for item in ring.items("secrets")), 20,
                               "objects drain")
                chosen = some_of(rng, names, planned, moving)
                on_the_way, took = explain(env, ring, chosen, None)
                check_explanations(on_the_way, chosen, seen.keys, subsets(before, steps))
                shards.acknowledge(True)
                ring.wait_settled(sorted(members))
                chains, drains = seen.next_moves()
                moves = check_moves(planned, chains, drains, len(steps))
                check_read(on_the_way, seen)
                chosen = rng.sample(names, at_rest)
                resting, took_at_rest = explain(env, ring, chosen, 0)
                check_explanations(resting, chosen, seen.keys, [members])
                check_at_rest(resting, owned)
                check_read(resting, seen)
            except Exception as failure:
                failure.add_note(f"change {number}, of {sorted(before)}: {steps}; seed {seed}")
                raise
            seconds += took + took_at_rest
            kinds.update(what for what, _ in steps)
            kinds["several at once"] += len(steps) > 1
            totals.update(planned=planned["moved"], moves=moves, explained=at_rest + moving,
                          elsewhere=sum(one["shard"] != one["desired"] for one in on_the_way),
                          draining=sum(one["drain"] is not None for one in on_the_way))
        assert not started.lost, started.lost
    assert set(FLAGS) <= set(kinds) and kinds["several at once"], kinds
    assert totals["draining"], "objects were explained while they drained"
    env.figure(f"{changes} changes of members", ", ".join(f"{what} {count}" for what, count in sorted(kinds.items())))
    env.figure("objects that plan listed, and shard labels written", f"{totals['planned']}, {totals['moves']}")
    env.figure("objects explained", f"{totals['explained']}, {totals['elsewhere']} of them elsewhere than they belong, "
               f"{totals['draining']} draining")
    env.figure("milliseconds an object that explain took", f"{1000 * seconds / totals['explained']:.1f}")


@suite.case("through 10 random changes, plan lists what the audit log shows afterwards, and explain is right")
def some_changes(env):
    run(env, "some-changes", objects=300, owned=60, changes=10, at_rest=40, moving=20)


@suite.case("through 50 random changes, plan lists what the audit log shows afterwards, and explain is right of 12,500 objects",
            long=True)
def many_changes(env):
    run(env, "many-changes", objects=3000, owned=500, changes=50, at_rest=200, moving=50)


if __name__ == "__main__":
    suite.main()
