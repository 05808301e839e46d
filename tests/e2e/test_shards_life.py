#!/usr/bin/python3
"""The life of a sharded controller: processes of examples/checksum-controller as the shards of rings on a real control
plane. Each case ends with the judge's verdict (tests/judge) on all that its shards have done."""

import collections
import contextlib
import urllib.request

import oracle
from checksum_shards import JUDGED, ChecksumShards, data
from environment import Environment, owned_config_map
from kubeclient import Recorder
from processes import allowed, wait_until
from shards import SHARDER_IDENTITY, parse_time, state
from suite import Suite

suite = Suite("shards_life", lambda short: Environment(controller_manager=True, short=short, judged=JUDGED))

SHORT_LEASE = round(allowed(3))  # seconds, where a case waits for its end
LONG_LEASE = 600  # where nothing may depend on its end
OBJECTS = 30


@contextlib.contextmanager
def life(env, name, *shards, **options):
    """A ring of this name and its shards, once the ring is ready. The judge has to agree with all that they do."""
    with ChecksumShards(env.ring(name), **options) as running:
        running.start(*shards)
        running.wait_members()
        yield running
        verdict = running.verdict()
        assert verdict.ok and not verdict.undecided, verdict.report()


def create(shards, count, prefix="s"):
    for number in range(count):
        shards.ring.env.admin.create("secrets", shards.ring.namespace, {
            "metadata": {"name": f"{prefix}-{number}"}, "data": data(f"{prefix} {number}")})


def is_ready(address):
    """HTTPError when it is not."""
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as answer:
        return answer.status == 200


def owner_counts(shards):
    """{shard: how many Secrets it has}."""
    return collections.Counter(oracle.shard_of(item, shards.ring.name) for item in shards.ring.items("secrets"))


def moves(recorder, ring):
    """[(old shard, object)] of each change of an object's shard, in order, as a Recorder has seen them."""
    found, last = [], {}
    for _, kind, item in list(recorder.history):
        name, shard = item["metadata"]["name"], oracle.shard_of(item, ring.name)
        before = last.get(name)
        last[name] = None if kind == "DELETED" else shard
        if kind != "DELETED" and before and shard != before:
            found.append((before, item))
    return found


def states(recorder, name):
    """The states of a shard's Lease in order, "gone" when it was deleted."""
    found = []
    for _, kind, lease in recorder.changes(name):
        one = "gone" if kind == "DELETED" else state(lease)
        if one and (not found or found[-1] != one):
            found.append(one)
    return found


@suite.case("a ring becomes ready, and the Leases of its shards get their state label")
def ready(env):
    names = ["ready-a", "ready-b", "ready-c"]
    with life(env, "life-ready", *names) as shards:
        for name in names:
            lease = shards.lease(name)
            assert lease["spec"]["holderIdentity"] == name and state(lease) == "ready", lease
            assert lease["spec"]["leaseDurationSeconds"] == 15, lease
            command = shards.process(name).command
            address = command[command.index("--health-bind-address") + 1]
            wait_until(lambda: is_ready(address), 30, f"{name} is ready")
        assert shards.ring.status()["shards"] == 3, shards.ring.status()
        create(shards, 1)
        shards.wait_settled()


@suite.case("one object gets its shard when it is created, and is reconciled by it")
def one_object(env):
    with life(env, "life-one", "one-a", "one-b") as shards:
        made = env.admin.create("secrets", shards.ring.namespace, {"metadata": {"name": "s-0"}, "data": data("first")})
        owner = oracle.Ring(shards.names()).owner(oracle.main_key("", "Secret", shards.ring.namespace, "s-0"))
        assert oracle.shard_of(made, shards.ring.name) == owner, made
        shards.wait_settled()
        env.admin.patch("secrets", shards.ring.namespace, "s-0", {"data": data("second")})
        shards.wait_settled()
        journals = {name: "".join(journal.read_text(encoding="ascii") for journal in shards.journals(name))
                    for name in shards.names()}
        assert [name for name, text in journals.items() if '"begin"' in text] == [owner], journals


@suite.case("100 objects spread over 3 shards, and every shard is used")
def many_objects(env):
    with life(env, "life-many", "many-a", "many-b", "many-c") as shards:
        create(shards, 100)
        shards.wait_settled()
        counts = owner_counts(shards)
        assert set(counts) == set(shards.names()) and sum(counts.values()) == 100, counts


@suite.case("a shard joins: what is its own is drained to it, and nothing else moves")
def scale_up(env):
    with life(env, "life-up", "up-a", "up-b", reconcile_milliseconds=20) as shards:
        create(shards, OBJECTS)
        shards.wait_settled()
        before = owner_counts(shards)
        with Recorder(env.admin, "secrets", shards.ring.namespace) as recorder:
            shards.start("up-c")
            shards.wait_members()
            shards.wait_settled()
            after = owner_counts(shards)
            wait_until(lambda: len(moves(recorder, shards.ring)) >= after["up-c"], 20, "the watch has shown all moves")
            moved = moves(recorder, shards.ring)
        assert after["up-c"] and len(moved) == after["up-c"] == sum(before.values()) - after["up-a"] - after["up-b"], (
            before, after, len(moved))
        assert {oracle.shard_of(item, shards.ring.name) for _, item in moved} == {"up-c"}, moved
        assert shards.verdict().figures["acknowledgements with target"] == len(moved), shards.verdict().report()


@suite.case("a shard leaves in order: its objects move at once, long before its Lease would end")
def scale_down(env):
    with life(env, "life-down", "down-a", "down-b", "down-c", lease_seconds=LONG_LEASE,
              reconcile_milliseconds=20) as shards:
        create(shards, OBJECTS)
        shards.wait_settled()
        assert shards.objects_of("down-c"), owner_counts(shards)
        with Recorder(env.admin, "leases", shards.ring.namespace) as recorder:
            create(shards, OBJECTS, "late")  # it leaves while it works
            assert shards.leave("down-c") == {"down-c": 0}, shards.process("down-c").log_end()
            shards.wait_settled()
            shards.wait_members()
            wait_until(lambda: states(recorder, "down-c")[-1:] == ["dead"], 20, "its Lease is labelled")
            assert states(recorder, "down-c") == ["ready", "dead"], states(recorder, "down-c")
            lease = shards.lease("down-c")
        assert not lease["spec"].get("holderIdentity"), lease
        assert not shards.objects_of("down-c")


@suite.case("a shard crashes: its objects move after its Lease's time, and its Lease goes through all states")
def crash(env):
    with life(env, "life-crash", "crash-a", "crash-b", "crash-c", lease_seconds=SHORT_LEASE) as shards:
        create(shards, OBJECTS)
        shards.wait_settled()
        assert shards.objects_of("crash-b"), owner_counts(shards)
        with (Recorder(env.admin, "leases", shards.ring.namespace) as leases,
              Recorder(env.admin, "secrets", shards.ring.namespace) as secrets):
            shards.kill("crash-b")
            shards.wait_settled()
            wait_until(lambda: states(leases, "crash-b")[-1:] == ["dead"], 20, "its Lease is labelled")
            wait_until(lambda: states(leases, "crash-b")[-1:] == ["gone"], 90, "its Lease is deleted, after a minute")
            seen = states(leases, "crash-b")
            moved = [item for old, item in moves(secrets, shards.ring) if old == "crash-b"]
            taken_over = next(lease for _, _, lease in leases.changes("crash-b")
                              if lease["spec"]["holderIdentity"] == SHARDER_IDENTITY)
        assert seen == ["ready", "expired", "uncertain", "dead", "orphaned", "gone"], seen
        assert moved and not shards.objects_of("crash-b")
        early = [item["metadata"]["name"] for item in moved
                 if int(item["metadata"]["resourceVersion"]) < int(taken_over["metadata"]["resourceVersion"])]
        assert not early, f"moved before its Lease was taken over: {early}"


def shards_of(versions):
    return {name: shard for name, (_, shard) in versions.items()}


@suite.case("a shard that is killed and started anew keeps its objects")
def restart(env):
    with life(env, "life-restart", "restart-a", "restart-b") as shards:
        create(shards, OBJECTS)
        shards.wait_settled()
        before = shards.ring.versions()
        shards.kill("restart-a", restart=True)
        renewed = parse_time(shards.lease("restart-a")["spec"]["renewTime"])
        wait_until(lambda: parse_time(shards.lease("restart-a")["spec"]["renewTime"]) > renewed, 40,
                   "the new process holds the Lease")
        for name, (_, shard) in before.items():
            if name[0] == "secrets" and shard == "restart-a":
                env.admin.patch("secrets", shards.ring.namespace, name[1], {"data": data("changed meanwhile")})
        shards.wait_settled()
        after = shards.ring.versions()
        assert shards_of(before) == shards_of(after)
        assert len(shards.journals("restart-a")) == 2


@suite.case("an object that is deleted and created anew is a new object for its shard")
def recreated(env):
    with life(env, "life-recreated", "recreated-a", "recreated-b") as shards:
        create(shards, OBJECTS)
        shards.wait_settled()
        for number in range(OBJECTS):
            env.admin.delete("secrets", shards.ring.namespace, f"s-{number}")
            env.admin.create("secrets", shards.ring.namespace, {
                "metadata": {"name": f"s-{number}"}, "data": data(f"anew {number}")})
        shards.wait_settled()  # each ConfigMap has the new data and the new owner


@suite.case("controlled objects follow their owner")
def follow(env):
    with life(env, "life-follow", "follow-a", "follow-b") as shards:
        ring = shards.ring
        create(shards, OBJECTS)
        shards.wait_settled()
        for secret in ring.items("secrets"):  # besides the ConfigMap that the shard makes
            name, uid = secret["metadata"]["name"], secret["metadata"]["uid"]
            made = env.admin.create("configmaps", ring.namespace, owned_config_map(name, uid))
            assert oracle.shard_of(made, ring.name) == oracle.shard_of(secret, ring.name), (made, secret)
        for step in (lambda: shards.start("follow-c"), lambda: shards.leave("follow-a")):
            before = owner_counts(shards)
            step()
            shards.wait_members()
            shards.wait_settled()
            assert owner_counts(shards) != before, before
            owners = {item["metadata"]["name"]: oracle.shard_of(item, ring.name) for item in ring.items("secrets")}
            strays = [item["metadata"]["name"] for item in ring.items("configmaps")
                      for owner in item["metadata"].get("ownerReferences", [])
                      if oracle.shard_of(item, ring.name) != owners[owner["name"]]]
            assert not strays, strays


@suite.case("a shard in C++ and one in Python serve one ring, and each drains objects to the other")
def two_languages(env):
    with life(env, "life-languages", "languages-c", reconcile_milliseconds=20) as shards:
        ring = shards.ring
        create(shards, 2 * OBJECTS)
        shards.wait_settled()
        with Recorder(env.admin, "secrets", ring.namespace) as recorder:
            shards.start("languages-python", python=True)
            shards.wait_members()
            shards.wait_settled()
            # Both get new ones, and give some to a third.
            create(shards, OBJECTS, "late")
            shards.start("languages-d")
            shards.wait_members()
            shards.wait_settled()

            def ways():
                return {(old, oracle.shard_of(item, ring.name)) for old, item in moves(recorder, ring)}

            wanted = {("languages-c", "languages-python"), ("languages-python", "languages-d")}
            wait_until(lambda: wanted <= ways(), 20, f"moves {wanted}")
        figures = shards.verdict().figures
        assert figures["moves, main"] == figures["acknowledgements with target"], figures
        shards.leave("languages-c")  # the Python shard goes on with what it gets
        shards.wait_members()
        for item in ring.items("secrets"):
            env.admin.patch("secrets", ring.namespace, item["metadata"]["name"], {"data": data("once more")})
        shards.wait_settled()
        env.figure("C++ and Python: acknowledgements", figures["acknowledgements with target"])


if __name__ == "__main__":
    suite.main()
