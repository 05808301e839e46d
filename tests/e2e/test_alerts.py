#!/usr/bin/python3
"""Each alert of manifests/components/monitoring is fired by a real fault, and ends after the repair: only with --long.
Three of them are in test_faults.py: ShardingObjectsMisplaced, ShardingLeaseDeleted, ShardingShardNamedTwice.

A real Prometheus judges our rules, FASTER times as fast: every `for`, range and time in an expression is divided by it, and
so is syncPeriod. What the sharder itself does takes as long as ever. So SharderRequestsFail is shown by requests that are
tried again each 2 seconds: most others pause for up to 2 minutes, for longer than this alert then looks back.
"""

import contextlib
import functools
import itertools
import json
import subprocess
import threading
import time

import pki
from cluster import ROOT, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from environment import SECRETS, Environment
from kubeclient import Credentials, path_of
from processes import Process, free_ports, wait_until
from prometheus import Prometheus, rules
from suite import Suite
from test_client_certificates import Strict, answers

FASTER = 20
FIRES, ENDS = 240, 300  # seconds: the longest pauses of the sharder are 2 minutes, and an hour takes 3 minutes

ROLES = ("rbac.authorization.k8s.io", "roles", "v1", "Role")
CONFIG_MAPS = ("", "configmaps", "v1", "ConfigMap")
SERVICE_ACCOUNTS = ("", "serviceaccounts", "v1", "ServiceAccount")
SHARDER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"


class Alerts:
    """What a Prometheus says of faults and repairs. An alert is (name, ring or "")."""

    def __init__(self, prometheus, figure):
        self._prometheus, self._figure = prometheus, figure

    def wait_fire(self, began, *alerts):
        """Until all of them fire; notes how long after `began` each did."""
        waiting = set(alerts)

        def fire():
            for alert in waiting & self._prometheus.firing():
                waiting.discard(alert)
                self._figure(f"{' '.join(alert).strip()}: fired after, seconds", round(time.monotonic() - began))
            return not waiting

        wait_until(fire, FIRES, f"they fire: {waiting}", interval=0.5)

    def wait_end(self, began, *alerts):
        """Until none of them fires any more."""
        waiting = set(alerts)

        def end():
            for alert in waiting - self._prometheus.firing():
                waiting.discard(alert)
                self._figure(f"{' '.join(alert).strip()}: ended after the repair, seconds",
                            round(time.monotonic() - began))
            return not waiting

        wait_until(end, ENDS, f"they end: {waiting}", interval=0.5)

    @contextlib.contextmanager
    def fired(self, *alerts):
        """A fault is made inside, when none of the alerts fires, or is about to, because of an earlier one. On leaving, they
        fire, what was put into the list is called to repair it, and they end."""
        wait_until(lambda: not self._prometheus.firing(("pending", "firing")) & set(alerts), ENDS,
                   f"nothing is left of {alerts}", interval=0.5)
        repairs, began = [], time.monotonic()
        yield repairs
        try:
            self.wait_fire(began, *alerts)
        finally:
            for repair in repairs:
                repair()
        self.wait_end(time.monotonic(), *alerts)


class Watched(Environment):
    """Two replicas and a Prometheus with our rules. The second replica is another user, `other`, and reaches the API server
    through a proxy of its own."""

    def __init__(self, short):
        super().__init__(short=short, start=False, may_be_forbidden=True,
                         overrides={"controller": {"sharder": {"syncPeriod": f"{300 // FASTER}s"}}})
        self.proxy = None

    def __enter__(self):
        super().__enter__()
        try:
            self._separate(self.sharders.replicas[1])
            self.sharders.start()
            self.prometheus = Prometheus(self.plane, self.sharders, rules(FASTER)).__enter__()
            self.alerts = Alerts(self.prometheus, self.figure)
        except BaseException:
            super().__exit__(RuntimeError, None, None)
            raise
        return self

    def __exit__(self, *exception):
        self.prometheus.__exit__()
        super().__exit__(*exception)
        self.proxy.kill()

    def _separate(self, replica):
        port, = free_ports(1)
        self.proxy = Process("other-proxy", ["/usr/bin/python3", ROOT / "tests/e2e/balancer.py", "127.0.0.1", port,
                                             self.plane.folder / "none", self.plane.port], self.plane.folder / "other.log")
        self.proxy.start()
        self.admin.create("serviceaccounts", SYSTEM_NAMESPACE, {"metadata": {"name": "other"}})
        for name, verbs in (("other", ["*"]), ("other-leases", ["get", "list", "watch", "update", "patch", "delete"])):
            groups = ["coordination.k8s.io"] if name == "other-leases" else [
                "", "authentication.k8s.io", "authorization.k8s.io", "sharding.timebertt.dev", "admissionregistration.k8s.io",
                "rbac.authorization.k8s.io"]
            self.admin.create("clusterroles", None, {"metadata": {"name": name}, "rules": [
                {"apiGroups": groups, "resources": ["*"], "verbs": verbs}]})
            self.bind_other(name)
        kubeconfig = self.plane.folder / "other.kubeconfig"
        token = self.plane.service_account_token(name="other")
        self.plane.wait_allowed(token, verb="watch", group="coordination.k8s.io", resource="leases")
        self.plane.write_kubeconfig(kubeconfig, Credentials(token=token), f"https://127.0.0.1:{port}")
        command = replica.process.command
        command[command.index("--kubeconfig") + 1] = str(kubeconfig)

    def bind_other(self, role):
        self.admin.create("clusterrolebindings", None, {
            "metadata": {"name": role}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                                                    "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "other", "namespace": SYSTEM_NAMESPACE}]})

    def let_first_lead(self):
        first, other = self.sharders.replicas
        if self.sharders.wait_leader() is other:
            other.process.stop(25)
            wait_until(lambda: self.sharders.leader() is first, 60, f"{first.name} leads")
            other.start()
            other.wait_ready()


suite = Suite("alerts", lambda short: Watched(short=short), parallel=False)


@contextlib.contextmanager
def creating(ring):
    """Somebody creates objects of the ring all the time."""
    stop = threading.Event()

    def run():
        for number in itertools.count():
            if stop.wait(0.05):
                return
            with contextlib.suppress(OSError):  # on a busy machine an answer may be late
                ring.env.admin.create("secrets", ring.namespace, {"metadata": {"generateName": f"created-{number}-"}})

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def grant(ring, *verbs):
    group, resource, _, _ = ring.resources[0][0]
    ring.env.plane.grant_sharding(f"ring-{ring.name}", {group: [resource]}, verbs)


@suite.case("a ring without shards, no permission to patch or to list, a policy, a hung shard, one that comes and goes",
            long=True)
def rings(env):
    names = ["shard-a", "shard-b"]
    env.let_first_lead()  # whose permissions the faults are about
    made = {name: env.ring(name, ((resource, ()),)) for name, resource in (
        ("empty", SECRETS), ("no-patch", CONFIG_MAPS), ("no-list", SERVICE_ACCOUNTS), ("refused", ROLES),
        ("hung", SECRETS), ("flapping", SECRETS))}
    with contextlib.ExitStack() as stack:
        shards = {name: stack.enter_context(ring.shards(*names, working=name != "hung")) for name, ring in made.items()}
        for name, ring in made.items():
            ring.wait_ready(names)
            ring.create(ring.resources[0][0][1], 40)
            ring.wait_settled(names)
        # Passes over each resource have been counted before one is forbidden.
        wait_until(lambda: len(env.prometheus.query("controller_sharding_last_pass_timestamp_seconds")) >= len(made), 60,
                   "each resource had a pass", interval=0.5)
        with env.alerts.fired(("ShardingRingHasNoShard", "empty"), ("ShardingRingNotReady", "no-patch"),
                       ("ShardingObjectsUnassigned", "no-patch"), ("ShardingPassOverdue", "no-list"),
                       ("ShardingMovesFail", "refused"), ("ShardingMovesAreStuck", "refused"),
                       ("ShardingDrainNotAcknowledged", "hung"), ("ShardingShardFlaps", "flapping")) as repairs:
            shards["empty"].release(*names)
            repairs.append(lambda: shards["empty"].start(*names))
            grant(made["no-patch"], "list", "watch")
            shards["no-patch"].release("shard-a")
            repairs.append(lambda: grant(made["no-patch"], "list", "watch", "patch"))
            grant(made["no-list"], "watch", "patch")
            repairs.append(lambda: grant(made["no-list"], "list", "watch", "patch"))
            repairs.append(refuse_patches(env, "roles"))
            shards["refused"].release("shard-a")
            shards["hung"].start("shard-c")
            repairs.append(lambda: shards["hung"].release(*names))
            for _ in range(5):
                shards["flapping"].release("shard-b")
                time.sleep(2.5)  # longer than a scrape
                shards["flapping"].start("shard-b")
                time.sleep(2.5)


def refuse_patches(env, resource):
    """A policy forbids the sharder to patch these objects; what takes it away."""
    kind = "admissionregistration.k8s.io/v1"
    env.admin.create("validatingadmissionpolicies", None, {
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "refused"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["UPDATE"],
                                                    "resources": [resource]}]},
            "validations": [{"expression": f"request.userInfo.username != '{SHARDER}'"}]}})
    env.admin.create("validatingadmissionpolicybindings", None, {
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "refused"},
        "spec": {"policyName": "refused", "validationActions": ["Deny"]}})
    time.sleep(5)  # the API server takes up policies each second


    def permit():
        for part in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            env.admin.delete(part, None, "refused")

    return permit


@suite.case("certificates that do not fit their keys, certificates that nobody trusts, and a slow way to the webhook",
            long=True)
def certificates(env):
    ring, sharders = env.ring("certified"), env.sharders
    with ring.shards("shard-a", working=True), creating(ring):
        ring.wait_ready(["shard-a"])

        def publish(certificate=sharders.certificate, key=sharders.key):
            for replica in sharders.replicas:
                replica.volume.publish(certificate, key)

        other = pki.Authority(env.plane.folder / "other-ca", "other-ca")
        stranger = other.issue("stranger", "/CN=sharder", ("127.0.0.1",))
        with env.alerts.fired(("SharderCertificateUnreadable", "")) as repairs:
            publish(key=stranger.key.read_bytes())
            repairs.append(publish)
        with env.alerts.fired(("ShardingWebhookNotReachable", "certified"), ("ShardingAdmissionsFailOpen", "")) as repairs:
            publish(stranger.certificate.read_bytes(), stranger.key.read_bytes())
            sharders.balancer.kill()  # open connections would go on
            sharders.balancer.start()
            repairs.append(publish)
        slow = SlowBalancer(sharders.balancer)
        with env.alerts.fired(("ShardingWebhookSlow", "")) as repairs:
            repairs.append(slow.stop)


class SlowBalancer:
    """The way to the webhook is slow: the balancer forwards nothing for 1.5 seconds, then for a moment, and so on."""

    def __init__(self, balancer):
        self._balancer, self._stop = balancer, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            self._balancer.pause()
            self._stop.wait(1.5)
            self._balancer.resume()
            self._stop.wait(0.05)

    def stop(self):
        self._stop.set()
        self._thread.join(10)


@suite.case("a certificate that expires in two days, and one for 30", long=True)
def expiry(env):
    """Where the tests' own certificates are the fault, and the repair is one that is valid for longer."""
    env.alerts.wait_fire(time.monotonic(), ("SharderCertificateExpires", ""))
    authority, folder = env.sharders.authority, env.plane.folder
    pair = authority.issue("longer", "/CN=sharder", ("127.0.0.1",), folder=folder / "longer")
    request, extensions = folder / "longer.csr", folder / "longer.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n", encoding="ascii")
    for command in (("req", "-new", "-key", pair.key, "-subj", "/CN=sharder", "-out", request),
                    ("x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key,
                     "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", pair.certificate)):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    for replica in env.sharders.replicas:
        replica.volume.publish(pair.certificate.read_bytes(), pair.key.read_bytes())
    env.alerts.wait_end(time.monotonic(), ("SharderCertificateExpires", ""))


@suite.case("somebody creates objects whose controller reference nobody understands", long=True)
def warnings(env):
    ring = env.ring("odd", ((SECRETS, (CONFIG_MAPS,)),))
    odd = {"metadata": {"name": "odd", "ownerReferences": [
        {"apiVersion": "a/b/c", "kind": "Secret", "name": "none", "uid": "none", "controller": True}]}}
    with ring.shards("shard-a", working=True):
        ring.wait_ready(["shard-a"])
        with env.alerts.fired(("ShardingAdmissionWarnings", "")):
            for _ in range(5):
                status, _ = env.admin.raw("POST", path_of("configmaps", ring.namespace), json.dumps(odd).encode())
                assert status == 422, status  # the API server finds it wrong too, but later
                time.sleep(1.5)  # counters grow from scrape to scrape


@suite.case("a stranger calls the webhook, where API servers show a certificate", long=True)
def strangers(env):
    with Strict(env.short) as strict, Prometheus(strict.plane, strict.sharders, rules(FASTER)) as prometheus:
        ring, replica = strict.ring("strict"), strict.sharders.replicas[0]
        stop = threading.Event()

        def knock():
            while not stop.wait(0.5):
                answers(replica, ring, None)

        thread = threading.Thread(target=knock, daemon=True)
        with Alerts(prometheus, env.figure).fired(("ShardingWebhookRefusesClients", "")) as repairs:
            thread.start()
            repairs.append(stop.set)
        thread.join(10)


@suite.case("a replica that sees no Leases any more", long=True)
def disagreement(env):
    ring = env.ring("torn")
    env.let_first_lead()
    with ring.shards("shard-a", working=True) as shards:
        ring.wait_ready(["shard-a"])
        with env.alerts.fired(("ShardingReplicasDisagree", "torn")) as repairs:
            env.admin.delete("clusterrolebindings", None, "other-leases")
            time.sleep(3)  # RBAC has taken it up
            env.proxy.kill()  # its watches end, and begin anew without permission
            env.proxy.start()
            time.sleep(3)
            shards.start("shard-b")
            repairs.append(lambda: env.bind_other("other-leases"))


@suite.case("nobody may renew the leader's Lease", long=True)
def no_leader(env):
    with env.alerts.fired(("SharderHasNoLeader", ""), ("SharderRequestsFail", "")) as repairs:
        for resource, namespace, name in (("roles", SYSTEM_NAMESPACE, "sharding:sharder"),
                                          ("clusterroles", None, "sharding:sharder"), ("clusterroles", None, "other-leases")):
            was = env.admin.get(resource, namespace, name)["rules"]
            only_read = [{**rule, "verbs": ["get", "list", "watch"]} if {"leases", "*"} & set(rule["resources"]) else rule
                         for rule in was]
            env.admin.patch(resource, namespace, name, {"rules": only_read})
            repairs.append(functools.partial(env.admin.patch, resource, namespace, name, {"rules": was}))


@suite.case("no replica runs", long=True)
def down(env):
    with env.alerts.fired(("SharderDown", "")) as repairs:
        for replica in env.sharders.replicas:
            assert replica.process.stop(25) == 0
        repairs.extend(replica.start for replica in env.sharders.replicas)


if __name__ == "__main__":
    suite.main()
