#!/usr/bin/python3
"""Eight faults on 20,000 objects, one after the other: only with --long.

Each is in a metric within 10 s of when the sharder could know it, which is what its function below says; fires its alert in
a real Prometheus (times as in test_alerts.py); is named by doctor with an object's name; and all are clean again after the
repair. What the sharder would repair within a second stays while a policy refuses its patches. At the end, the Go project's
sharder has the same faults on 2,000 objects, and what changes in its metrics is printed.
"""

import contextlib
import dataclasses
import functools
import re
import sys
import time
import typing

from cluster import ROOT
from environment import CONFIG_MAPS, SECRETS, Environment
from processes import allowed, wait_until
from prometheus import Prometheus, rules
from shards import Shards
from suite import Suite
from test_alerts import ENDS, FASTER, Alerts, creating, refuse_patches
from test_doctor import diagnose, label, named, run, shard_of, stopped_sharder, wait_well

sys.path.append(str(ROOT / "tests" / "e2e" / "kind"))
import images  # pylint: disable=wrong-import-position

BOUND = 10  # seconds
NAMES = ("shard-a", "shard-b", "shard-c")
ALWAYS = ("SharderCertificateExpires", "")  # the tests' certificates are valid for two days
OF_RING = 'controllerring="seeded"'
FAIL_OPEN = 'apiserver_admission_webhook_fail_open_count{name="sharder.sharding.timebertt.dev"}'


class Field(Environment):
    """One replica, and a ring of three shards with many objects."""

    def __init__(self, short, objects, owned, sync_period=300 // FASTER):
        super().__init__(replicas=1, start=False, short=short, may_be_forbidden=True,
                         overrides={"controller": {"sharder": {"syncPeriod": f"{sync_period}s"}}})
        self._objects, self._owned = objects, owned
        self._parts = contextlib.ExitStack()

    def __enter__(self):
        super().__enter__()
        try:
            self.prepare()
            self.sharders.start()
            self.seeded = self.ring("seeded", ((SECRETS, (CONFIG_MAPS,)),))
            self.shards = self._parts.enter_context(self.seeded.shards(*NAMES, duration=60, renew_every=5, working=True))
            self.seeded.wait_ready(NAMES)
            self.seeded.create_secrets(self._objects, owned=self._owned)
            self.seeded.wait_settled(NAMES, timeout=300)
        except BaseException as failure:
            self.__exit__(type(failure), failure, None)
            raise
        return self

    def __exit__(self, *exception):
        self._parts.close()
        super().__exit__(*exception)

    def prepare(self):
        """Before replicas start."""

    def last(self):
        """The name of a Secret that owns nothing."""
        return f"s-{self._objects - 1}"

    def restore(self):
        """Until the shards are those of NAMES, and everything is where it belongs."""
        running = set(self.shards.names())
        self.shards.start(*(set(NAMES) - running))
        self.shards.release(*(running - set(NAMES)))
        self.seeded.wait_settled(NAMES, timeout=300)


class Monitored(Field):
    """20,000 objects, and a Prometheus."""

    def __init__(self, short):
        super().__init__(short, objects=20_000, owned=1_000)

    def __enter__(self):
        super().__enter__()
        self.prometheus = self._parts.enter_context(Prometheus(self.plane, self.sharders, rules(FASTER)))
        return self


@dataclasses.dataclass(frozen=True)
class Fault:
    """`seed`: a context manager; its value is since when the sharder could know of the fault (monotonic), and leaving it
    repairs. `metric`: PromQL with a value as long as the metric shows it. `alerts`: (name, ring or ""). `findings`: of
    doctor, (code, what its object or message has)."""
    title: str
    seed: typing.Callable
    metric: str
    alerts: tuple
    findings: tuple
    doctor: tuple = ()  # more arguments
    restarts: bool = False


FAULTS = []


def fault(title, **more):
    def add(function):
        FAULTS.append(Fault(title, contextlib.contextmanager(function), **more))
        return function
    return add


@contextlib.contextmanager
def refused(env, resource):
    """The sharder may not repair these objects."""
    permit = refuse_patches(env, resource)
    try:
        yield
    finally:
        permit()


@fault("a label is removed while the sharder is stopped", restarts=True,
       metric=f'controller_sharding_unassigned_objects{{{OF_RING},resource="secrets"}} > 0',
       alerts=(("ShardingObjectsUnassigned", "seeded"),), findings=(("SHD101", "secrets seeded/{last}"),))
def label_removed(env):
    """Since it leads again."""
    with refused(env, "secrets"):
        with stopped_sharder(env):
            label(env, env.seeded, "secrets", env.last(), None)
        env.sharders.wait_leader()
        yield time.monotonic()


@fault("a label names a shard that never was",
       metric=f'controller_sharding_unassigned_objects{{{OF_RING},resource="secrets"}} > 0',
       alerts=(("ShardingObjectsUnassigned", "seeded"),), findings=(("SHD103", "secrets seeded/{last}"),))
def never_was(env):
    """Since the label was set: a watch shows it."""
    with refused(env, "secrets"):
        label(env, env.seeded, "secrets", env.last(), "never-was")
        yield time.monotonic()


@fault("the webhook is cut off", metric=f"increase({FAIL_OPEN}[10s]) > 0",
       alerts=(("ShardingAdmissionsFailOpen", ""),), findings=(("SHD305", "secrets seeded/sharderctl-doctor"),))
def cut_off(env):
    """Since objects are created: the API server knows it with the first one, and counts it. The sharder sees an object
    without a shard, and cannot know why; it repairs that at once."""
    env.sharders.balancer.kill()
    try:
        with creating(env.seeded):
            yield time.monotonic()
    finally:
        env.sharders.balancer.start()


@fault("the permission to patch is taken away", metric=f"controller_sharding_controllerring_ready{{{OF_RING}}} == 0",
       alerts=(("ShardingRingNotReady", "seeded"), ("ShardingObjectsUnassigned", "seeded")),
       findings=(("SHD401", "it may not patch secrets"), ("SHD102", "secrets seeded/")))
def forbidden(env):
    """Since there was something to patch: a shard goes."""
    def grant(*verbs):
        env.plane.grant_sharding("ring-seeded", {"": ["secrets", "configmaps"]}, verbs)

    grant("list", "watch")
    try:
        time.sleep(3)  # RBAC has taken it up
        env.shards.release("shard-c")
        yield time.monotonic()
    finally:
        grant("list", "watch", "patch")


@fault("the label of a controlled object is changed",
       metric=f'controller_sharding_misplaced_objects{{{OF_RING},resource="configmaps"}} > 0',
       alerts=(("ShardingObjectsMisplaced", "seeded"),), findings=(("SHD105", "configmaps seeded/of-s-0"),))
def mislabelled(env):
    """Since a pass was asked for: no watch shows a label that names an available shard, a pass does, in each syncPeriod."""
    with refused(env, "configmaps"):
        other = next(name for name in NAMES if name != shard_of(env, env.seeded, "configmaps", "of-s-0"))
        label(env, env.seeded, "configmaps", "of-s-0", other)
        since = time.monotonic()
        assert run(env, "rebalance", "seeded").returncode == 0
        yield since


@fault("the Lease of a shard that crashed just now is deleted",
       metric=f"increase(controller_sharding_shard_leases_deleted_total{{{OF_RING}}}[10s]) > 0",
       alerts=(("ShardingLeaseDeleted", "seeded"), ("ShardingObjectsUnassigned", "seeded")),
       findings=(("SHD103", "secrets seeded/"), ("SHD103", "shard-c")))
def lease_deleted(env):
    """Since the Lease is gone: a watch shows it. A third of all objects wait for a shard."""
    with refused(env, "secrets"):
        env.shards.crash("shard-c")
        env.admin.delete("leases", "seeded", "shard-c")
        yield time.monotonic()


@fault("two namespaces have a Lease of one name",
       metric=f"count by (shard) (count by (namespace, shard) (controller_sharding_shard_info{{{OF_RING}}})) > 1",
       alerts=(("ShardingShardNamedTwice", "seeded"),), findings=(("SHD205", "leases elsewhere/shard-a"),))
def named_twice(env):
    """Since there is the second Lease: a watch shows it. Its shard ends in the repair; the sharder would delete a released
    Lease, but only after a minute."""
    namespace = env.namespace("elsewhere")
    with Shards(env.admin, "seeded", namespace, duration=60) as others:
        others.start("shard-a")
        try:
            yield time.monotonic()
        finally:
            others.release("shard-a")
            env.admin.delete("leases", namespace, "shard-a")


@fault("a shard hangs", metric=f'controller_sharding_oldest_drain_seconds{{{OF_RING},resource="secrets"}} > 0',
       alerts=(("ShardingDrainNotAcknowledged", "seeded"),), doctor=("--overdue", "5s"),
       findings=(("SHD209", "leases seeded/shard-c"), ("SHD209", "secrets seeded/")))
def hung(env):
    """Since it was asked to let go of objects, because a shard joined. Only time tells whether it hangs: the metric is the
    age of a drain without an answer, the alert and doctor say from which age on that is a fault."""
    env.shards.agent.acknowledge(False, "shard-c")
    try:
        env.shards.start("shard-d")
        yield time.monotonic()
    finally:
        env.shards.agent.acknowledge(True, "shard-c")


suite = Suite("faults", lambda short: Monitored(short), parallel=False)


def show(one, env):
    """Metric, alert and doctor tell of the fault, and then no more."""
    try:
        shown = show_until_repaired(one, env)
    finally:
        env.restore()
        wait_until(lambda: env.prometheus.firing() <= {ALWAYS}, ENDS, "no alert fires", interval=0.5)
    assert shown <= allowed(BOUND), f"{shown:.1f} s until {one.metric}"


def show_until_repaired(one, env):
    """Seconds until the fault was in the metric."""
    def note(what, value):
        env.figure(f"{one.title}: {what}", value)

    def figure(what, since):
        note(what, f"{time.monotonic() - since:.1f} s")

    alerts = Alerts(env.prometheus, note)
    with one.seed(env) as since:
        wait_until(lambda: env.prometheus.query(one.metric), ENDS, one.metric, interval=0.1)
        shown = time.monotonic() - since
        figure("in the metric after", since)
        alerts.wait_fire(since, *one.alerts)
        began = time.monotonic()
        found = diagnose(env, env.seeded.name, *one.doctor, expect=1)
        figure("doctor took", began)
        for code, what in one.findings:
            named(found, code, what.format(last=env.last()))
        beside = sorted(name for name, _ in env.prometheus.firing() - set(one.alerts) - {ALWAYS})
        note("fired too", ", ".join(beside) or "nothing")
    repaired = time.monotonic()
    wait_until(lambda: not env.prometheus.query(one.metric), ENDS, f"no more: {one.metric}", interval=0.1)
    figure("out of the metric, after the repair", repaired)
    alerts.wait_end(repaired, *one.alerts)
    wait_well(env, env.seeded, *one.doctor)
    figure("doctor finds nothing, after the repair", repaired)
    return shown


for each in FAULTS:
    suite.case(f"{each.title}: metric, alert, doctor, repair", long=True)(functools.partial(show, each))


class OfGo(Field):
    """The same with the Go project's sharder, and fewer objects."""

    WINDOW, SYNC_PERIOD = 12, 10  # seconds in which a fault can show: in each of them is a pass
    NOT_ITS_OWN = re.compile(r"#|go_|process_|\w+_(bucket|sum)\b")  # of the Go runtime, and details of histograms

    def __init__(self, short):
        super().__init__(short, objects=2_000, owned=100, sync_period=self.SYNC_PERIOD)

    def prepare(self):
        self.sharders.become(images.go_sharder())

    def values(self):
        """{family, with the code or the result: the sum of its samples} of what it exports after WINDOW seconds."""
        time.sleep(self.WINDOW)
        sums = {}
        for line in self.sharders.replicas[0].scrape(self.plane.metrics_token()).splitlines():
            head, _, value = line.rpartition(" ")
            name, _, labels = head.partition("{")
            if not self.NOT_ITS_OWN.match(line):
                key = name + "".join(f" {part}" for part in labels.rstrip("}").split(",") if part[:5] in ("code=", "resul"))
                sums[key] = sums.get(key, 0) + float(value)
        return sums

    def restart(self):
        with stopped_sharder(self):
            pass
        self.sharders.wait_leader()


def changes(before, after):
    """{key: (value before, value after)}; a missing one is 0."""
    return {key: (before.get(key, 0), after.get(key, 0)) for key in {*before, *after}
            if before.get(key, 0) != after.get(key, 0)}


@suite.case("the Go project's sharder, with the same faults: what changes in its metrics", long=True)
def go_sharder(env):
    with OfGo(env.short) as go:
        first, second = go.values(), go.values()
        always = set(changes(first, second))
        go.restart()
        once = go.values()
        go.restart()
        always |= set(changes(once, go.values()))  # of two restarts, with nothing else
        for one in FAULTS:
            if one.restarts:
                go.restart()
            before = go.values()
            with one.seed(go):
                changed = {key: values for key, values in changes(before, go.values()).items() if key not in always}
            go.restore()
            env.figure(f"the Go project's sharder, {one.title}", ", ".join(
                f"{key} {old:g} -> {new:g}" for key, (old, new) in sorted(changed.items())) or "nothing changed")


if __name__ == "__main__":
    suite.main()
