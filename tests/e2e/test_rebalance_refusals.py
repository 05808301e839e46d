#!/usr/bin/python3
"""Objects and resources that the API server does not let the sharder move: said once, retried with growing pauses, and
nobody else suffers (docs/protocol.md, sections 8 and 9)."""

import threading
import time

import oracle
from cluster import SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from environment import SECRETS, Environment
from kubeclient import ApiError, Recorder
from processes import wait_until
from suite import Suite

suite = Suite("rebalance_refusals", lambda short: Environment(short=short, may_be_forbidden=True))

NAMES = ["shard-a", "shard-b", "shard-c"]
SHARDER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
TRIES = 5  # of a patch that is refused, which this test waits for
ONLY_SECRETS = ((SECRETS, ()),)
# What is granted for one ring counts for all, so those that lack a permission have resources of their own.
WITHOUT_LIST = ("", "configmaps", "v1", "ConfigMap")
WITHOUT_PATCH = ("", "serviceaccounts", "v1", "ServiceAccount")
WITHOUT_WATCH = ("rbac.authorization.k8s.io", "roles", "v1", "Role")


def warnings_of(env, *texts):
    """Events of type Warning that have all these texts."""
    return [event for event in env.admin.list("events") if event["type"] == "Warning" and
            all(text in f"{event['involvedObject'].get('name', '')} {event['reason']} {event['message']}"
                for text in texts)]


def log_lines(env, *texts):
    """Lines of all replicas' logs with all these texts."""
    return [line for replica in env.sharders.replicas for line in replica.log().splitlines()
            if all(text in line for text in texts)]


def not_ready_naming(env, ring, verb):
    resource = ring.resources[0][0][1]

    def condition():
        found = ring.condition()
        return found if found.get("status") == "False" and found.get("reason") == "ReconciliationFailed" and \
            verb in found["message"] and resource in found["message"] else None

    wait_until(condition, 20, f"Ready is False, naming {verb} and {resource}")
    wait_until(lambda: warnings_of(env, ring.name, "ReconciliationFailed", verb, resource), 10, "an Event says so")


def grant(env, ring, *verbs):
    group, resource, _, _ = ring.resources[0][0]
    env.plane.grant_sharding(f"ring-{ring.name}", {group: [resource]}, verbs)


@suite.case("no permission to list: Ready is False naming verb and resource, an Event; mended, all is well")
def no_list(env):
    ring = env.ring("no-list", ((WITHOUT_LIST, ()),), verbs=("patch",))
    with ring.shards(*NAMES, working=True) as shards:
        not_ready_naming(env, ring, "list")
        # The webhook works all the same.
        ring.wait_members(NAMES)
        ring.wait_webhook()
        ring.create("configmaps", 30)
        assert not ring.wrong(NAMES), ring.wrong(NAMES)
        shards.release("shard-a")
        grant(env, ring, "list", "watch", "patch")
        ring.wait_settled(["shard-b", "shard-c"], timeout=60)
        wait_until(lambda: ring.condition().get("status") == "True", 60, "Ready again")


@suite.case("no permission to patch: Ready is False naming verb and resource, an Event; mended, all is well")
def no_patch(env):
    ring = env.ring("no-patch", ((WITHOUT_PATCH, ()),), verbs=("list", "watch"))
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_members(NAMES)
        ring.wait_webhook()
        ring.create("serviceaccounts", 60)
        assert not ring.wrong(NAMES), ring.wrong(NAMES)
        since = time.time()
        shards.release("shard-a")
        not_ready_naming(env, ring, "patch")
        patches = env.plane.sharder_patches(ring.namespace, since)
        assert len(patches) < 200, f"{len(patches)} patches in {time.time() - since:.1f} s hammer the API server"
        grant(env, ring, "list", "watch", "patch")
        ring.wait_settled(["shard-b", "shard-c"], timeout=90)
        wait_until(lambda: ring.condition().get("status") == "True", 60, "Ready again")


@suite.case("no permission to watch, but to list and patch: said once in the log, and a second pass finds what is "
            "missed")
def no_watch(env):
    since = time.time()
    ring = env.ring("no-watch", ((WITHOUT_WATCH, ()),), verbs=("list", "patch"))
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_members(NAMES)
        ring.wait_webhook()
        ring.create("roles", 60)
        shards.release("shard-a")
        ring.wait_settled(["shard-b", "shard-c"], timeout=9)  # before the second pass, which comes 10 s later
        shards.start("shard-d")
        members = ["shard-b", "shard-c", "shard-d"]
        ring.wait_settled(members, timeout=9)
        shards.release("shard-b")
        members.remove("shard-b")
        ring.wait_settled(members, timeout=9)
        # What comes just after a change of the ring is seen by the pass 10 s later.
        for number in range(5):
            env.admin.patch("roles", ring.namespace, f"s-{number}", {"metadata": {"labels": {ring.label: "nobody"}}})
        ring.wait_settled(members, timeout=15)
        assert wait_until(lambda: ring.condition().get("status") == "True", 10, "Ready")
        said = log_lines(env, ring.name, "watch", "roles", '"warn')
        assert len(said) == 1, said
        seconds = time.time() - since
        reads = env.plane.sharder_reads("roles", since)
        assert len(reads) < 20 + 2 * seconds, f"{len(reads)} lists and watches in {seconds:.0f} s"
        env.figure("without the permission to watch", f"{len(reads)} lists and watches in {seconds:.0f} s")
        grant(env, ring, "list", "watch", "patch")


@suite.case("an object whose patches are refused: tried again with growing pauses, counted, named once in the log and in "
            "an Event, and the others move")
def refused(env):
    ring = env.ring("refused", ONLY_SECRETS)
    # Of the shard that will go, so that no pass finds anything to do about it before.
    owners = oracle.Ring(NAMES)
    name = next(name for name in (f"refused-object-{number}" for number in range(100))
                if owners.owner(oracle.main_key("", "Secret", ring.namespace, name)) == "shard-a")
    policy = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
              "metadata": {"name": "refused"}, "spec": {
                  "failurePolicy": "Fail",
                  "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                                                          "operations": ["UPDATE"], "resources": ["secrets"]}]},
                  "validations": [{"expression": f"request.userInfo.username != '{SHARDER}' || "
                                                 f"!object.metadata.name.startsWith('refused-')",
                                   "message": "this object is not for moving"}]}}
    binding = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
               "metadata": {"name": "refused"}, "spec": {"policyName": "refused", "validationActions": ["Deny"]}}
    env.admin.create("validatingadmissionpolicies", None, policy)
    env.admin.create("validatingadmissionpolicybindings", None, binding)
    sharder = env.plane.client(env.plane.service_account_token())
    env.admin.create("secrets", ring.namespace, {"metadata": {"name": "refused-probe"}})

    def refuses():
        try:
            sharder.patch("secrets", ring.namespace, "refused-probe", {"metadata": {"annotations": {"a": "b"}}},
                          dryRun="All")
        except ApiError as error:
            return "not for moving" in error.message
        return False

    wait_until(refuses, 30, "the policy is in force", interval=0.2)
    env.admin.delete("secrets", ring.namespace, "refused-probe")
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(100)
        ring.wait_settled(NAMES)
        made = env.admin.create("secrets", ring.namespace, {"metadata": {"name": name}})
        assert oracle.shard_of(made, ring.name) == "shard-a", made

        def others(item):
            return item["metadata"]["name"] != name

        since = time.time()
        shards.release("shard-a")
        ring.wait_settled(["shard-b", "shard-c"], selects=others)
        others_done = time.time() - since

        def tries():
            times = sorted(patch.time for patch in env.plane.sharder_patches(ring.namespace, since)
                           if patch.name == name)
            return times if len(times) >= TRIES else None

        # Pauses are drawn from [half, whole] of 2, 4, 8, 16 s: the fourth is longer than the first, whatever was drawn.
        times = wait_until(tries, 2 ** TRIES + 10, f"{TRIES} tries", interval=0.5)
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        assert all(gap >= 2 ** number - 0.01 for number, gap in enumerate(gaps)), f"pauses do not grow: {gaps}"
        assert gaps[0] < gaps[TRIES - 2], f"pauses do not grow: {gaps}"
        wait_until(lambda: (env.leader_metric("controller_sharding_move_failures_total", controllerring=ring.name,
                                              group="", resource="secrets") or 0) >= len(times), 10, "each is counted")
        said = [line for line in log_lines(env, name) if '"debug"' not in line]
        assert len(said) == 1, said
        # The Event's count may rise; it is one Event.
        events = wait_until(lambda: warnings_of(env, name), 10, "an Event names it")
        assert len(events) == 1, events
        # More shards come and go meanwhile.
        shards.start("shard-d")
        ring.wait_settled(["shard-b", "shard-c", "shard-d"], selects=others)
        env.admin.delete("validatingadmissionpolicybindings", None, "refused")
        ring.wait_settled(["shard-b", "shard-c", "shard-d"], timeout=90)
        env.figure("an object whose patch is refused: pauses between tries, seconds",
                   ", ".join(f"{gap:.1f}" for gap in gaps) + f"; the others had moved after {others_done:.2f}")


class Stripper:
    """Somebody who takes the shard off an object each time it has one, as fast as he sees it."""

    def __init__(self, env, ring, name):
        self._env, self._ring, self._name = env, ring, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stripped = 0

    def __enter__(self):
        self._recorder = Recorder(self._env.admin, "secrets", self._ring.namespace).__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join(10)
        self._recorder.__exit__(*exception)

    def _run(self):
        version = None
        while not self._stop.wait(0.01):
            changes = self._recorder.changes(self._name)
            if not changes:
                continue
            item = changes[-1][2]
            if item["metadata"]["resourceVersion"] == version or not oracle.shard_of(item, self._ring.name):
                continue
            version = item["metadata"]["resourceVersion"]
            # Empty, not gone: else the webhook would give it a shard in the same request.
            self._env.admin.patch("secrets", self._ring.namespace, self._name,
                                  {"metadata": {"labels": {self._ring.label: ""}}})
            self.stripped += 1


@suite.case("somebody takes the shard label off again and again: no hot loop, an Event says so, and others are not "
            "slowed down")
def stripped(env):
    ring = env.ring("stripped", ONLY_SECRETS)
    seconds = 20
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(60)
        ring.wait_settled(NAMES)
        since = time.time()
        with Stripper(env, ring, "s-7") as stripper:
            wait_until(lambda: time.time() > since + seconds, seconds + 5, "it goes on for a while", interval=0.5)
            patches = [patch for patch in env.plane.sharder_patches(ring.namespace, since) if patch.name == "s-7"]
            assert 3 <= stripper.stripped and len(patches) <= 12, f"{len(patches)} patches in {seconds} s"
            assert wait_until(lambda: warnings_of(env, "s-7"), 10, "an Event names it")
            env.admin.patch("secrets", ring.namespace, "s-8", {"metadata": {"labels": {ring.label: "nobody"}}})
            ring.wait_settled(NAMES, timeout=10, selects=lambda item: item["metadata"]["name"] != "s-7")
        shards.release("shard-a")  # with another ring all begins anew
        ring.wait_settled(["shard-b", "shard-c"], timeout=60)
        env.figure(f"a label that is stripped at once, patches in {seconds} s", len(patches))


if __name__ == "__main__":
    suite.main()
