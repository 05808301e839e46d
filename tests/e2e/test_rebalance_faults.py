#!/usr/bin/python3
"""The leader, the API server, etcd or the webhook go in the middle of a rebalance: it is finished all the same, soon after
they are back (docs/design.md, sections 5 and 6)."""

import collections
import threading
import time

import oracle
from environment import Environment
from processes import allowed, wait_until
from suite import Suite

# An API server that has just started refuses everything until it has read its roles.
suite = Suite("rebalance_faults", lambda short: Environment(short=short, may_be_forbidden=True), parallel=False)

NAMES = [f"shard-{number}" for number in range(5)]
LEADERSHIP = 15  # leaseDuration of the election
RETRY_PERIOD = 2
# Seconds from the return of what was away until every object has its shard, where a creation by one of CLIENTS takes
# the time that it takes on a machine with nothing else to do, and so many creations' time where it takes longer.
SOON, SOON_CREATIONS = 5.0, 150
CLIENTS = 32


class Rebalance:
    """A ring with many objects, and a change of its shards that takes a while: one goes and one comes."""

    def __init__(self, env, name, objects):
        self.env, self.objects = env, objects
        self.ring = env.ring(name)
        # Long: nobody is to lose its Lease because the API server is away.
        self._context = self.ring.shards(*NAMES, duration=90, renew_every=10, working=True)
        self.members = [shard for shard in NAMES if shard != "shard-1"] + ["shard-new"]

    def __enter__(self):
        self.shards = self._context.__enter__()
        self.ring.wait_ready(NAMES)
        self._creation = self.ring.create_secrets(self.objects, owned=self.objects // 10, clients=CLIENTS).quantile(0.5)
        self.ring.wait_settled(NAMES, timeout=60)
        owners = oracle.Ring(self.members)
        self._expected = collections.Counter(
            [owners.owner(oracle.main_key("", "Secret", self.ring.namespace, item["metadata"]["name"]))
             for item in self.ring.items("secrets")] +
            [owners.owner(oracle.controlled_key(item)) for item in self.ring.items("configmaps")])
        return self

    def __exit__(self, *exception):
        self._context.__exit__(*exception)
        self.env.admin.delete("controllerrings", None, self.ring.name)
        self.env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{self.ring.name}")

    def begin(self):
        """Changes the shards; returns when the first objects have moved."""
        self.shards.agent.mark()
        threading.Thread(target=self.shards.start, args=("shard-new",), daemon=True).start()
        self.shards.release("shard-1")
        wait_until(lambda: self.shards.agent.report()["moved"] > 0, 20, "the first object moves", interval=0.002)

    def left(self):
        """How many objects still have to move, as far as the agent has heard."""
        counts = self.shards.agent.report()["shards"]
        return sum(max(0, expected - counts.get(shard, 0)) for shard, expected in self._expected.items())

    def soon(self):
        """The seconds of SOON on this machine, as slow as it was before the change of the shards, or as it is now."""
        now = self.ring.create("secrets", 200, prefix="more", clients=CLIENTS).quantile(0.5)
        return max(allowed(SOON), SOON_CREATIONS * max(self._creation, now))

    def finish(self, timeout):
        """Waits until all is as it should be."""
        self.ring.wait_settled(self.members, timeout)
        report = self.shards.agent.at_rest(draining=0)
        assert not report["violation_count"], report["violations"]
        assert not self.shards.lost, self.shards.lost


def webhook_away(env, name, seconds):
    """Objects are made all the time; for a while nobody answers the webhook's calls."""
    names = NAMES[:3]
    ring = env.ring(name)
    with ring.shards(*names, duration=90, renew_every=10, working=True) as shards:
        ring.wait_ready(names)
        env.sharders.wait_leader()
        shards.agent.mark()
        made, stop = [], threading.Event()

        def create():
            while not stop.wait(0.02):
                item = env.admin.create("secrets", ring.namespace, {"metadata": {"name": f"s-{len(made)}"}})
                made.append(oracle.shard_of(item, ring.name))

        def missed():
            return [shard for shard in list(made) if shard is None]

        thread = threading.Thread(target=create, daemon=True)
        thread.start()
        try:
            wait_until(lambda: len(made) > 20, 10, "objects are made")
            env.sharders.balancer.kill()
            gone = time.monotonic()
            wait_until(lambda: time.monotonic() > gone + seconds and len(missed()) > seconds * 5, seconds + 20,
                       "the outage, and objects that are made meanwhile", interval=0.1)
            # Taken away altogether, which the webhook would have mended.
            for number in range(5):
                env.admin.patch("secrets", ring.namespace, f"s-{number}", {"metadata": {"labels": {ring.label: None}}})
            wait_until(lambda: shards.agent.report()["violation_count"] == 5, 10, "the shards have seen it")
            so_far = {f"s-{number}" for number in range(len(made))}  # there is always a new one
            ring.wait_settled(names, timeout=SOON + 5, selects=lambda item: item["metadata"]["name"] in so_far)
            env.sharders.balancer.start()
            wait_until(lambda: made[-1] is not None, 10, "the webhook is called again")
        finally:
            stop.set()
            thread.join(30)
            if not env.sharders.balancer.alive():
                env.sharders.balancer.start()
        ring.wait_settled(names, timeout=SOON)
        report = shards.agent.at_rest(without=0)
        assert report["longest_without"] <= allowed(SOON), f"{report['longest_without_object']} was without a shard for " \
                                                  f"{report['longest_without']:.2f} s"
        assert report["violation_count"] == 5, report["violations"]  # those that we took away
    env.admin.delete("controllerrings", None, ring.name)
    env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}")
    env.figure(f"webhook away for {seconds} s", f"{len(missed())} of {len(made)} objects were made without a shard, the "
               f"longest was without for {report['longest_without']:.2f} s")


@suite.case("objects are created while the webhook cannot be reached: each has its shard within seconds")
def webhook_outage(env):
    webhook_away(env, "webhook-away", 6)


@suite.case("a shard joins while the webhook cannot be reached: what its shards let go to the target arrives without a "
            "patch more; what a Go shard lets go is assigned by the leader")
def join_without_webhook(env):
    names = NAMES[:3]
    ring = env.ring("join-without-webhook")
    with ring.shards(*names, duration=90, renew_every=10, working=True) as shards:
        ring.wait_ready(names)
        env.sharders.wait_leader()
        shards.agent.like_go("shard-1")
        ring.create_secrets(300, owned=100)
        ring.wait_settled(names)
        env.sharders.balancer.kill()
        try:
            tried = env.admin.create("secrets", ring.namespace, {"metadata": {"name": "dry-run"}}, dryRun="All")
            assert oracle.shard_of(tried, ring.name) is None, "the webhook answers"
            before, since = ring.versions(), time.time()
            shards.agent.mark()
            shards.start("shard-new")
            ring.wait_settled(names + ["shard-new"], timeout=allowed(SOON) + 10)
            after = ring.versions()
            had = {key: shard for key, (_, shard) in before.items() if after[key][1] != shard}
            assert {after[key][1] for key in had} == {"shard-new"}, "only what the new shard gets has moved"
            drained = {key: shard for key, shard in had.items() if key[0] == "secrets"}
            removed = {key for key, shard in drained.items() if shard == "shard-1"}
            assert 0 < len(removed) < len(drained) < len(had), had
            shards.agent.at_rest(acknowledged=len(drained), targeted=len(drained) - len(removed), draining=0, without=0)
            patches = collections.Counter((patch.resource, patch.name)
                                          for patch in env.plane.sharder_patches(ring.namespace, since))
            assert patches == {key: 2 if key in removed else 1 for key in had}, patches
            report = shards.agent.report()
        finally:
            env.sharders.balancer.start()
        assert not report["violation_count"], report["violations"]
        ring.wait_webhook()
    env.admin.delete("controllerrings", None, ring.name)
    env.admin.delete("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}")


@suite.case("the leader is killed in the middle of a rebalance: the other leads in time, finishes, nothing drains")
def leader_killed(env):
    leader = env.sharders.wait_leader()
    before = env.sharders.holder()
    with Rebalance(env, "leader-killed", 1500 if env.short else 6000) as rebalance:
        rebalance.begin()
        leader.process.kill()
        killed = time.monotonic()
        left = rebalance.left()
        wait_until(lambda: env.sharders.holder() not in ("", before), LEADERSHIP + 10, "another leader", interval=0.02)
        led = time.monotonic() - killed
        assert led <= LEADERSHIP + allowed(2 * RETRY_PERIOD + 1), f"the other leads after {led:.2f} s"
        rebalance.finish(timeout=120)
        settled = time.monotonic() - killed
        leader.start().wait_ready()
    assert left > 0, "the rebalance was over before the leader was killed"
    env.figure("leader killed in a rebalance", f"{left} objects were left; the other led "
               f"after {led:.2f} s, all was done {settled - led:.2f} s later")


def survive(env, name, begin, end, seconds):
    """An outage in the middle of a rebalance; it is over SOON after /readyz is ok."""
    with Rebalance(env, name.lower().replace(" ", "-"), 1500 if env.short else 4000) as rebalance:
        rebalance.begin()
        begin()
        time.sleep(seconds)  # how long it is away is what this is about
        left = rebalance.left()
        end()
        env.plane.wait_ready()
        back = time.monotonic()
        rebalance.finish(timeout=60)
        took = time.monotonic() - back
        soon = rebalance.soon()
        # Objects that lose their shard are noticed as before, and not by the pass that comes 10 s after a change.
        wait_until(lambda: time.monotonic() > back + 12, 20, "that pass is over", interval=0.5)
        for number in range(5):
            env.admin.patch("secrets", rebalance.ring.namespace, f"s-{number}",
                            {"metadata": {"labels": {rebalance.ring.label: "nobody"}}})
        rebalance.ring.wait_settled(rebalance.members, timeout=soon)
    env.figure(f"{name} for {seconds} s in a rebalance", f"{left} objects were left; all was done {took:.2f} s "
               f"after /readyz was ok")
    assert left > 0, "the rebalance was over before the outage"
    assert took <= soon, f"{took:.2f} s after /readyz was ok, not within {soon:.2f}"


@suite.case("the API server is killed in the middle of a rebalance and comes back")
def apiserver_killed(env):
    survive(env, "API server killed", env.plane.kill_apiserver, lambda: env.plane.start_apiserver(wait=False), 3)


@suite.case("API server and etcd are killed in the middle of a rebalance and come back")
def both_killed(env):
    def begin():
        env.plane.kill_apiserver()
        env.plane.kill_etcd()

    def end():
        env.plane.start_etcd()
        env.plane.start_apiserver(wait=False)

    survive(env, "API server and etcd killed", begin, end, 3)


@suite.case("the API server is paused in the middle of a rebalance")
def apiserver_paused(env):
    survive(env, "API server paused", env.plane.apiserver.pause, env.plane.apiserver.resume, 4)


@suite.case("etcd is paused in the middle of a rebalance")
def etcd_paused(env):
    survive(env, "etcd paused", env.plane.etcd.pause, env.plane.etcd.resume, 4)


@suite.case("API server and etcd are away for so long that nobody leads any more", long=True)
def long_outage(env):
    def begin():
        env.plane.kill_apiserver()
        env.plane.kill_etcd()

    def end():
        env.plane.start_etcd()
        env.plane.start_apiserver(wait=False)

    survive(env, "API server and etcd killed for long", begin, end, 30)


@suite.case("the same for a minute", long=True)
def long_webhook_outage(env):
    webhook_away(env, "webhook-long-away", 60)


if __name__ == "__main__":
    suite.main()
