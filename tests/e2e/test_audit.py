#!/usr/bin/python3
"""What has no shard, or the wrong one, is counted within seconds, also when it cannot be moved; and the condition
AllAssigned says so (docs/decisions/0010-audit.md)."""

import time

import oracle
from environment import Environment
from processes import wait_until
from sharder import metric
from suite import Suite
from test_rebalance_refusals import grant, warnings_of

suite = Suite("audit", lambda short: Environment(short=short, may_be_forbidden=True),
              parallel=False)  # one of them stops the replicas

NAMES = ["shard-a", "shard-b", "shard-c"]
SERVICE_ACCOUNTS = ("", "serviceaccounts", "v1", "ServiceAccount")  # others are granted to other rings
SOON = 10  # seconds from when the sharder could know it


class Audit:
    """A ring, what the leader exports of it, and what is true."""

    def __init__(self, env, ring):
        self.env, self.ring = env, ring

    def gauge(self, name, **labels):
        return self.env.leader_metric(f"controller_sharding_{name}", controllerring=self.ring.name, **labels)

    def unassigned(self, members):
        """The names of the objects whose label names no member."""
        return {item["metadata"]["name"] for item in self.ring.items("serviceaccounts")
                if oracle.shard_of(item, self.ring.name) not in members}

    def misplaced(self, members):
        """The names of those on another member than they should be, and that do not drain."""
        ring, found = oracle.Ring(members), set()
        for item in self.ring.items("serviceaccounts"):
            key = oracle.main_key("", "ServiceAccount", self.ring.namespace, item["metadata"]["name"])
            drains = self.ring.drain_label in item["metadata"].get("labels", {})
            if oracle.shard_of(item, self.ring.name) in set(members) - {ring.owner(key)} and not drains:
                found.add(item["metadata"]["name"])
        return found

    def wait(self, name, value, what):
        """Until the gauge has this value; seconds."""
        began = time.monotonic()
        wait_until(lambda: self.gauge(name) == value, SOON, f"{name} is {value}: {what}")
        seconds = time.monotonic() - began
        self.env.figure(f"{what}: in the metric", f"{seconds:.1f} s")

    def wait_condition(self, status, timeout, *texts):
        def says():
            condition = self.ring.condition("AllAssigned")
            return condition.get("status") == status and all(text in condition["message"] for text in texts)

        wait_until(says, timeout, f"AllAssigned of {self.ring.name} is {status}, with {texts}")


@suite.case("a label that was removed while no sharder ran, one of a shard that never was, a shard that goes and one that "
            "comes while nothing may be patched: counted within 10 s, AllAssigned False with an example; mended, all is well")
def faults(env):
    ring = env.ring("audit", ((SERVICE_ACCOUNTS, ()),))
    audit = Audit(env, ring)
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_members(NAMES)
        ring.wait_webhook()
        ring.create("serviceaccounts", 200)
        ring.wait_settled(NAMES)
        audit.wait("unassigned_objects", 0, "nothing is unassigned")
        audit.wait_condition("True", 40)
        since = ring.condition("AllAssigned")["lastTransitionTime"]

        grant(env, ring, "list", "watch")
        forbidden_for(env)
        env.admin.patch("serviceaccounts", ring.namespace, "s-0", {"metadata": {"labels": {ring.label: "never-was"}}})
        audit.wait("unassigned_objects", 1, "a label of a shard that never was")

        env.sharders.stop()
        for number in (1, 2):  # nobody gives it a new one in the same request
            env.admin.patch("serviceaccounts", ring.namespace, f"s-{number}", {"metadata": {"labels": {ring.label: None}}})
        assert audit.unassigned(NAMES) >= {"s-0", "s-1", "s-2"}, audit.unassigned(NAMES)
        missing = len(audit.unassigned(NAMES))  # with "default", which may be made at any time
        env.sharders.start()
        env.sharders.wait_leader()
        audit.wait("unassigned_objects", missing, "labels that were removed while no sharder ran")

        shards.release("shard-a")
        members = ["shard-b", "shard-c"]
        ring.wait_members(members)
        lost = audit.unassigned(members)
        assert len(lost) > missing + 20, lost
        audit.wait("unassigned_objects", len(lost), "a shard that goes while nothing may be patched")
        shards.start("shard-d")
        members.append("shard-d")
        ring.wait_members(members)
        wrong = audit.misplaced(members)
        assert len(wrong) > 10, wrong
        audit.wait("misplaced_objects", len(wrong), "a shard that comes while nothing may be patched")
        assert audit.gauge("objects", shard="shard-d") == 0
        assert audit.gauge("objects", shard="shard-a") is None

        audit.wait_condition("False", 60, f"{len(lost)} serviceaccounts", "for example serviceaccounts audit/")
        example = ring.condition("AllAssigned")["message"].rpartition("/")[2]
        assert example in lost, (example, lost)
        assert ring.condition("AllAssigned")["lastTransitionTime"] > since
        wait_until(lambda: warnings_of(env, ring.name, "ObjectsUnassigned", "serviceaccounts"), 10, "an Event says so")

        grant(env, ring, "list", "watch", "patch")
        shards.start("shard-e")  # the pauses between tries end
        members.append("shard-e")
        ring.wait_settled(members, timeout=90)
        audit.wait("unassigned_objects", 0, "all have a shard again")
        audit.wait("oldest_unassigned_seconds", 0, "and none waits")
        wait_until(lambda: audit.gauge("misplaced_objects") == 0, 20, "a pass finds nothing misplaced")
        audit.wait_condition("True", 30)
        assert len(warnings_of(env, ring.name, "ObjectsUnassigned")) == 1


def forbidden_for(env):
    """Until the API server does not permit patches to the sharder any more."""
    sharder = env.plane.client(env.plane.service_account_token())
    review = {"spec": {"resourceAttributes": {"verb": "patch", "group": "", "resource": "serviceaccounts"}}}
    wait_until(lambda: not sharder.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                           review)["status"]["allowed"], 20, "patches are not permitted")


@suite.case("replicas that see the same members export the same hash and shares; which change with the members")
def members(env):
    ring = env.ring("audit-members")

    def seen(sample, **labels):
        token = env.plane.metrics_token()
        from_each = [metric(replica.scrape(token), sample, **labels) for replica in env.sharders.replicas]
        return from_each[0] if len(set(from_each)) == 1 else None

    with ring.shards("shard-a") as shards:
        ring.wait_members(["shard-a"])
        before = wait_until(lambda: seen("controller_sharding_ring_members_hash", controllerring=ring.name), SOON, "the replicas agree")
        assert abs(seen("controller_sharding_ring_share", controllerring=ring.name, shard="shard-a") - 1) < 1e-9
        shards.start("shard-b")
        ring.wait_members(["shard-a", "shard-b"])
        after = wait_until(lambda: seen("controller_sharding_ring_members_hash", controllerring=ring.name), SOON, "the replicas agree")
        assert after != before and after == int(after) and after < 2 ** 48, (before, after)
        shares = [seen("controller_sharding_ring_share", controllerring=ring.name, shard=name) for name in ("shard-a", "shard-b")]
        assert abs(sum(shares) - 1) < 1e-9 and all(0.2 < share < 0.8 for share in shares), shares
        assert seen("controller_sharding_build_info") == 1


if __name__ == "__main__":
    suite.main()
