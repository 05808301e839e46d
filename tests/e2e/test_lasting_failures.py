#!/usr/bin/python3
"""What fails and fails is told, once, and tried less and less: resources that cannot be listed or watched, a resource
that is deleted (docs/operations.md, "When something fails")."""

import time

import oracle
from environment import SECRETS, Environment
from kubeclient import RESOURCES, ApiError
from processes import wait_until
from suite import Suite
from test_rebalance_refusals import log_lines, warnings_of

suite = Suite("lasting_failures", lambda short: Environment(short=short, may_be_forbidden=True))

NAMES = ["shard-a", "shard-b", "shard-c"]
GROUP = "e2e.example.com"


def definition(plural, kind, conversion=None):
    """A CRD that is stored as v1beta1 and preferred as v1."""
    def version(name, stored):
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return {"name": name, "served": True, "storage": stored, "schema": {"openAPIV3Schema": schema}}

    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"}, "spec": {
                "group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "singular": kind.lower(),
                                                                 "kind": kind},
                "versions": [version("v1", False), version("v1beta1", True)],
                "conversion": conversion or {"strategy": "None"}}}


def install(env, plural, kind, conversion=None):
    """Its (group, resource, version, kind)."""
    env.admin.create("customresourcedefinitions", None, definition(plural, kind, conversion))
    RESOURCES[plural] = (f"/apis/{GROUP}/v1", True)
    env.plane.wait_established(f"{plural}.{GROUP}", plural)
    return GROUP, plural, "v1", kind


def create(env, ring, plural, kind, name, version="v1"):
    body = {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {"name": name}}
    return env.admin.request("POST", f"/apis/{GROUP}/{version}/namespaces/{ring.namespace}/{plural}", body)


def wait_not_ready(ring, timeout, *texts):
    """Until Ready is False and says all this; seconds."""
    began = time.monotonic()

    def says():
        condition = ring.condition()
        return condition.get("status") == "False" and all(text in condition["message"] for text in texts)

    wait_until(says, timeout, f"Ready of {ring.name} is False, naming {texts}; it is {ring.condition()}")
    return time.monotonic() - began


def wait_ready_again(ring, timeout):
    wait_until(lambda: ring.condition().get("status") == "True", timeout, f"{ring.name} is ready again")


def reads_in(env, resource, seconds):
    """How many lists and watches of the resource the sharder sends in this time."""
    since = time.time()
    time.sleep(seconds)
    return len(env.plane.sharder_reads(resource, since))


@suite.case("a conversion webhook that fails: Ready is False with verb, resource and reason, one Event; few requests; "
            "the ring's other resources go on; mended, all is well", short=False)
def conversion(env):
    webhook = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {
        "url": "https://127.0.0.1:1/convert"}}}
    things = install(env, "things", "Thing")
    ring = env.ring("conversion", ((SECRETS, ()), (things, ())))
    with ring.shards(*NAMES, working=True) as shards:
        ring.wait_ready(NAMES)
        create(env, ring, "things", "Thing", "early", "v1beta1")
        env.admin.patch("customresourcedefinitions", None, f"things.{GROUP}", {"spec": {"conversion": webhook}})

        def fails():
            try:
                env.admin.list("things", ring.namespace)
            except ApiError as error:
                return error.status == 500
            return False

        wait_until(fails, 30, "lists fail")
        shards.release("shard-a")  # another ring, other watches and passes
        seconds = wait_not_ready(ring, 30, "list things", "conversion webhook", "500")
        ring.create_secrets(20)
        wait_until(lambda: not [line for line in ring_wrong(env, ring, ["shard-b", "shard-c"])], 20, "Secrets go on")
        wait_until(lambda: warnings_of(env, ring.name, "ReconciliationFailed", "list things"), 10, "an Event says so")
        said = log_lines(env, '"warn', ring.name, "list things")
        assert 1 <= len(said) <= 2, said  # what lists and what watches meet
        time.sleep(30)  # pauses grow
        reads = reads_in(env, "things", 40)
        assert reads <= 8, f"{reads} lists and watches in 40 s"
        env.figure("a conversion webhook that fails", f"told after {seconds:.1f} s; {reads} requests in 40 s later")
        env.admin.patch("customresourcedefinitions", None, f"things.{GROUP}",
                        {"spec": {"conversion": {"strategy": "None", "webhook": None}}})
        wait_ready_again(ring, 150)
        ring.wait_settled(["shard-b", "shard-c"], timeout=150)


def ring_wrong(env, ring, shards):
    """The ring's Secrets that are not where they belong."""
    return oracle.wrong_owners(env.admin.list("secrets", ring.namespace), ring.name, oracle.Ring(shards), "", "Secret")


@suite.case("a resource without list and watch: Ready is False naming it, few requests")
def no_verbs(env):
    reviews = ("authorization.k8s.io", "localsubjectaccessreviews", "v1", "LocalSubjectAccessReview")
    ring = env.ring("no-verbs", ((reviews, ()),))
    with ring.shards(*NAMES):
        seconds = wait_not_ready(ring, 30, "list localsubjectaccessreviews.authorization.k8s.io", "405")
        wait_until(lambda: warnings_of(env, ring.name, "ReconciliationFailed", "405"), 10, "an Event says so")
        said = log_lines(env, '"warn', ring.name, "cannot list localsubjectaccessreviews")
        assert len(said) == 1, said
        time.sleep(20)  # pauses grow
        reads = reads_in(env, "localsubjectaccessreviews", 30)
        assert reads <= 4, f"{reads} lists and watches in 30 s"
        env.figure("a resource without list and watch",
                   f"told after {seconds:.1f} s; {reads} requests in 30 s then")


@suite.case("the CRD of a running ring is deleted: Ready is False within seconds; it returns, and all is well")
def deleted(env):
    gadgets = install(env, "gadgets", "Gadget")
    ring = env.ring("deleted-crd", ((gadgets, ()),))
    with ring.shards(*NAMES, working=True):
        ring.wait_ready(NAMES)
        create(env, ring, "gadgets", "Gadget", "one")
        env.admin.delete("customresourcedefinitions", None, f"gadgets.{GROUP}")
        wait_until(lambda: env.admin.find("customresourcedefinitions", None, f"gadgets.{GROUP}") is None, 30,
                   "it is gone")
        seconds = wait_not_ready(ring, 20, "gadgets", "404")
        wait_until(lambda: warnings_of(env, ring.name, "ReconciliationFailed", "gadgets"), 10, "an Event says so")
        assert log_lines(env, '"warn', ring.name, "gadgets")
        env.admin.create("customresourcedefinitions", None, definition("gadgets", "Gadget"))
        env.plane.wait_established(f"gadgets.{GROUP}", "gadgets")
        create(env, ring, "gadgets", "Gadget", "two")
        wait_ready_again(ring, 90)
        ring.wait_settled(NAMES, timeout=30)
        env.figure("a CRD that is deleted", f"told after {seconds:.1f} s")


if __name__ == "__main__":
    suite.main()
