"""Shards that are pods, of whichever program makes a ConfigMap for each Secret of a ring: they come, go, crash and are
rolled, and no Secret is ever taken from a shard that lives and has not acknowledged."""

import yaml

from whole import Handovers, Whole  # first: it finds the modules of tests/e2e
import oracle
from processes import wait_until
from suite import Suite

SHARDS = "shards"  # the namespace of the shards and of their objects
COUNT = 300


class Shards(Whole):
    """The overlay self-managed, and a ring of controllers, as a Deployment and as a StatefulSet."""

    def __init__(self, short, image):
        super().__init__(short, lambda env: env.installation.apply("self-managed"))
        self.image = image
        self.secrets = None

    def __enter__(self):
        super().__enter__()
        self.secrets = self.ring(SHARDS)
        self.apply(*_role(), workload(self.image, "Deployment", "shard", 3))
        return self

    def __exit__(self, *exception):
        self.plane.kubectl("delete", "namespace", SHARDS, "--ignore-not-found", "--timeout=100s", check=False)
        super().__exit__(*exception)

    def apply(self, *objects):
        self.plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def scale(self, kind, name, replicas):
        self.plane.kubectl("-n", SHARDS, "scale", f"{kind}/{name}", f"--replicas={replicas}")
        self.plane.kubectl("-n", SHARDS, "rollout", "status", f"{kind}/{name}", "--timeout=110s")

    def living(self):
        """The names of the shards that hold their Lease."""
        return sorted(lease["metadata"]["name"] for lease in self.admin.list("leases", SHARDS)
                      if lease["spec"].get("holderIdentity") == lease["metadata"]["name"])

    def wait_settled(self, count, timeout=90):
        """Until `count` shards live and each object is where it belongs; their names."""
        wait_until(lambda: len(self.living()) == count and self.secrets.status().get("availableShards") == count, timeout,
                   f"{count} shards live")
        shards = self.living()
        self.secrets.wait_settled(shards, timeout)
        return shards

    def wait_reconciled(self):
        """Until each Secret has its ConfigMap, by whichever shard it had."""
        def missing():
            made = {item["metadata"]["name"] for item in self.admin.list("configmaps", SHARDS)}
            return [item["metadata"]["name"] for item in self.admin.list("secrets", SHARDS)
                    if "checksums-" + item["metadata"]["name"] not in made]

        wait_until(lambda: not missing(), 60, "each Secret has its ConfigMap", interval=0.5)

    def pods(self, prefix):
        return [pod for pod in self.admin.list("pods", SHARDS) if pod["metadata"]["name"].startswith(prefix) and
                pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]


def _role():
    subject = {"kind": "ServiceAccount", "name": "shard", "namespace": SHARDS}
    rules = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
             {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
             {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "patch"]},
             {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch"]}]
    return ({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shard", "namespace": SHARDS}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
             "metadata": {"name": "shard", "namespace": SHARDS}, "rules": rules},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
             "metadata": {"name": "shard", "namespace": SHARDS}, "subjects": [subject],
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shard"}})


def workload(image, kind, name, replicas, version="1", hooks=None):
    """Shards of the ring; `version` changes their pods. `hooks`: the container's lifecycle."""
    labels = {"app": name}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
        "metadata": {"labels": labels, "annotations": {"version": version}}, "spec": {
            "serviceAccountName": "shard", "terminationGracePeriodSeconds": 80 if hooks else 20, "containers": [{
                "name": "shard", "image": image, "lifecycle": hooks or {}, "args": [
                    f"--controllerring={SHARDS}", f"--namespace={SHARDS}"]}]}}}
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel",
                 "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 4}}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": SHARDS}, "spec": spec}


_SCENARIOS = []  # (title, function)


def _scenario(title):
    def remember(function):
        _SCENARIOS.append((title, function))
        return function

    return remember


@_scenario("objects get their shard when they are created, through the Service, and the shards work on them")
def assigned(env):
    shards = env.wait_settled(3)
    env.secrets.wait_webhook()
    env.secrets.wait_settled(shards)  # what was there before the webhook
    before = len(env.admin.list("secrets", SHARDS))
    with env.traffic(env.secrets) as traffic:
        wait_until(lambda: len(env.admin.list("secrets", SHARDS)) >= before + COUNT, 60, f"{COUNT} Secrets", interval=0.5)
    traffic.check()
    env.figure("assigned through the Service", traffic.summary())
    env.wait_settled(3)
    env.wait_reconciled()
    leases = env.admin.list("leases", SHARDS)
    states = {lease["metadata"]["labels"].get("alpha.sharding.timebertt.dev/state") for lease in leases}
    assert states == {"ready"}, states


@_scenario("a Deployment of shards is scaled up and down: only what must move does, after its shard has acknowledged")
def scaled(env):
    before = env.living()
    objects = {item["metadata"]["name"]: oracle.shard_of(item, SHARDS) for item in env.secrets.items("secrets")}
    with Handovers(env, env.secrets, SHARDS) as handovers:
        env.scale("deployment", "shard", 5)
        after = env.wait_settled(5)
        must = {name for name, shard in objects.items() if shard != oracle.Ring(after).owner(f"/Secret/{SHARDS}/{name}")}
        up = handovers.check()
        env.scale("deployment", "shard", 2)
        env.wait_settled(2)
    env.figure("scaled from 3 to 5 to 2",
               f"{len(must)} objects in {len(up)} moves up, {len(handovers.check())} moves in all")
    # Each newcomer takes what is its own. The second may take it from the first, so an object may move twice, never back.
    assert {name for name, _, _ in up} == must, (len(up), len(must), before, after)
    assert not [change for change in up if change[2] in before], "moved to a shard that was there before"
    assert len(set(up)) == len(up), "the same move twice"
    env.wait_reconciled()


@_scenario("a pod is deleted: its objects go to the others and to its successor")
def deleted(env):
    with Handovers(env, env.secrets, SHARDS) as handovers:
        victim = env.pods("shard-")[0]["metadata"]["name"]
        env.plane.kubectl("-n", SHARDS, "delete", "pod", victim, "--timeout=60s")
        wait_until(lambda: victim not in env.living() and len(env.living()) == 2, 60, "a successor")
        env.wait_settled(2)
        handovers.check()
    env.wait_reconciled()


@_scenario("a container is killed and restarts under its name before its Lease has expired: nothing moves")
def crashed(env):
    shards = env.wait_settled(2)
    before = {name: value[1] for name, value in env.secrets.versions().items()}
    pod = env.pods("shard-")[0]
    env.plane.kill(pod)

    def restarted():
        found = env.admin.get("pods", SHARDS, pod["metadata"]["name"])["status"]["containerStatuses"][0]
        return found["restartCount"] == 1 and found["ready"]

    wait_until(restarted, 60, "the container runs again")
    env.wait_settled(2)
    assert env.living() == shards, (env.living(), shards)
    assert {name: value[1] for name, value in env.secrets.versions().items()} == before


@_scenario("a node is drained under load: each Secret is assigned at its creation, and finds a shard on the other node")
def drained(env):
    env.scale("deployment", "shard", 4)
    env.wait_settled(4)
    node = env.installation.leader()["spec"]["nodeName"]
    with Handovers(env, env.secrets, SHARDS) as handovers, env.traffic(env.secrets) as traffic:
        try:
            env.plane.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=110s")
            env.installation.wait_rollout()
        finally:
            env.plane.kubectl("uncordon", node)
        env.wait_settled(4)
    traffic.check(shards_change=True)
    env.wait_settled(4)
    handovers.check()
    env.wait_reconciled()
    env.figure("node of the leader drained", traffic.summary())


@_scenario("a StatefulSet of 14 shards, whose names have colliding tokens, joins and is rolled")
def stateful(env):
    env.scale("deployment", "shard", 0)
    env.apply(workload(env.image, "StatefulSet", "member", 14))
    env.plane.kubectl("-n", SHARDS, "rollout", "status", "statefulset/member", "--timeout=110s")
    shards = env.wait_settled(14)
    assert shards == sorted(f"member-{number}" for number in range(14)), shards
    with Handovers(env, env.secrets, SHARDS) as handovers:
        env.apply(workload(env.image, "StatefulSet", "member", 14, version="2"))
        env.plane.kubectl("-n", SHARDS, "rollout", "status", "statefulset/member", "--timeout=115s")
        assert env.wait_settled(14) == shards
    env.figure("14 shards rolled", f"{len(handovers.check())} moves of {len(env.secrets.items('secrets'))} Secrets")
    env.wait_reconciled()
    env.plane.kubectl("-n", SHARDS, "delete", "statefulset/member", "deployment/shard", "--timeout=60s")


def suite_of(title, image):
    """The scenarios, with shards of this image."""
    suite = Suite(title, lambda short: Shards(short, image), parallel=False)
    for name, function in _SCENARIOS:
        suite.case(name)(function)
    return suite
