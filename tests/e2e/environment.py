"""What most test cases share: a control plane, replicas of the sharder, rings with namespaces of their own."""

import collections
import http.client
import math
import re
import threading
import time

import admission
import load
import oracle
from agent import Agent
from control_plane import ControlPlane
from kubeclient import RESOURCES, ApiError, path_of
from processes import Failed, allowed, wait_until
from reach import Address
from sharder import Sharders, metric
from shards import Shards

SANITIZER_REPORT = re.compile(r"(ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:).*")

# (group, resource, version, kind) of a ring's main resources and of what they own.
SECRETS = ("", "secrets", "v1", "Secret")
CONFIG_MAPS = ("", "configmaps", "v1", "ConfigMap")

PROGRESS = 20  # seconds in which something must become better


class Rings:
    """Rings on a cluster, each with a namespace of its own, and what test cases note. `sharders`: replicas that tests may
    ask directly, None where they run elsewhere."""

    def __init__(self, plane, short):
        self.plane, self.short = plane, short
        self.sharders = None
        self.figures = []  # (name, value), for the summary
        self.keep_logs = False  # set when a case failed
        self._lock = threading.Lock()

    @property
    def admin(self):
        return self.plane.admin

    def figure(self, name, value):
        with self._lock:
            self.figures.append((name, value))

    def namespace(self, name, labels=None):
        """Creates the namespace; its name."""
        try:
            self.admin.create("namespaces", None, {"metadata": {"name": name, "labels": labels or {}}})
        except ApiError as error:
            if error.status != 409:
                raise
        return name

    def ring(self, name, resources=((SECRETS, (CONFIG_MAPS,)),), namespace=None, selector=None,
             verbs=("list", "watch", "patch")):
        """Creates a ring over a namespace of its own, called like it, with the permissions that its user grants."""
        namespace = self.namespace(namespace or name)
        ring = Ring(self, name, namespace, resources, selector)
        grants = {}
        for main, controlled in resources:
            for group, resource, _, _ in (main, *controlled):
                grants.setdefault(group, []).append(resource)
        self.plane.grant_sharding(f"ring-{name}", grants, verbs)
        self.admin.create("controllerrings", None, ring.manifest())
        return ring


class Environment(Rings):
    """A control plane with the manifests, `replicas` of the sharder (0: none), and what test cases note.

    Leaving it stops everything and fails when a replica ended in disorder, was refused something by the API server, or
    its sanitizer had something to say.
    """

    def __init__(self, replicas=2, controller_manager=False, overrides=None, short=False, start=True,
                 may_be_forbidden=False, variables=None, audit_log=True, balanced=True, etcd_bytes=None,
                 webhook_port=None, judged=None):
        """`overrides`: of SharderConfig; `variables`: of the replicas' environment; `start`: run them at once.
        `balanced`: else the API server calls one replica directly, which costs as little as a Service does.
        `webhook_port`: of the balancer, when the API server is to show a client certificate there. `judged`: see
        ControlPlane."""
        super().__init__(ControlPlane(controller_manager=controller_manager, audit_log=audit_log, etcd_bytes=etcd_bytes,
                                      webhook_host=f"127.0.0.1:{webhook_port}" if webhook_port else None,
                                      judged=judged), short)
        self._may_be_forbidden = may_be_forbidden or not audit_log
        self._start, self._balanced = start, balanced
        self._address = Address("127.0.0.1", "127.0.0.1", webhook_port) if webhook_port else None
        self._replicas, self._overrides, self._variables = replicas, overrides, variables or {}

    def __enter__(self):
        self.plane.__enter__()
        try:
            self.plane.install_manifests()
            if self._replicas:
                self.sharders = Sharders(self.plane, self._replicas, overrides=self._overrides, address=self._address)
                for replica in self.sharders.replicas:
                    replica.process.environment.update(self._variables)
                if not self._balanced:
                    self.sharders.call_directly(self.sharders.replicas[0])
                if self._start:
                    self.sharders.start()
        except BaseException:
            if self.sharders is not None:
                self.sharders.stop()
            self.plane.save_logs()
            self.plane.stop()
            raise
        return self

    def __exit__(self, kind, *_):
        self.keep_logs = self.keep_logs or kind is not None
        try:
            if self.sharders is not None:
                codes = self.sharders.stop()
                if kind is None:
                    self._check_end(codes)
        except BaseException:
            self.keep_logs = True
            raise
        finally:
            if self.keep_logs:
                self.plane.save_logs()
            self.plane.stop()

    def _check_end(self, codes):
        for replica in self.sharders.replicas:
            report = SANITIZER_REPORT.search(replica.log())
            assert not report, f"{replica.name}: {report[0]}\n{replica.process.log_end(120)}"
        # A replica that a test killed (-9) or never started (None) is the test's affair.
        wrong = {name: code for name, code in codes.items() if code not in (0, -9, None)}
        assert not wrong, f"exit codes after SIGTERM: {wrong}\n" + "\n".join(
            replica.process.log_end() for replica in self.sharders.replicas if replica.name in wrong)
        if not self._may_be_forbidden:
            forbidden = sorted({(verb, resource) for verb, resource, code, _ in self.plane.sharder_requests()
                                if code == 403})
            assert not forbidden, f"the permissions of manifests/ were not enough: {forbidden}"

    def assignments(self, ring_name):
        """How many objects the webhook has given a shard, by what all replicas count."""
        token = self.plane.metrics_token()
        return sum(metric(replica.scrape(token), "controller_sharding_assignments_total", controllerring=ring_name) or 0
                   for replica in self.sharders.replicas)

    def leader_metric(self, sample, **labels):
        """A sample of the leader; None while there is no leader or no such sample."""
        leader = self.sharders.leader()
        if leader is None:
            return None
        return metric(leader.scrape(self.plane.metrics_token()), sample, **labels)


class Ring:
    """A ControllerRing that a test made."""

    def __init__(self, env, name, namespace, resources, selector=None):
        """`selector`: the namespaceSelector; by default it selects `namespace` alone."""
        self.selector = selector or {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        self.env, self.name, self.namespace, self.resources = env, name, namespace, resources
        self.label, self.drain_label = oracle.shard_label(name), oracle.drain_label(name)

    def manifest(self):
        def reference(resource):
            return {"group": resource[0], "resource": resource[1]}

        return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing",
                "metadata": {"name": self.name}, "spec": {
                    "resources": [{**reference(main), "controlledResources": [reference(one) for one in controlled]}
                                  for main, controlled in self.resources],
                    "namespaceSelector": self.selector}}

    def shards(self, *names, duration=15, renew_every=None, working=False):
        """Simulated shards; they come as soon as the context is entered. `working`: they acknowledge drains too."""
        agent = self.agent() if working else None
        return _Started(Shards(self.env.admin, self.name, self.namespace, duration, renew_every, agent), names)

    def agent(self):
        """What watches this ring's objects: those in its namespace, and cluster-scoped ones."""
        def paths(resources):
            return [path_of(resource, self.namespace if RESOURCES[resource][1] else None)
                    for _, resource, _, _ in resources]

        mains = [main for main, _ in self.resources]
        controlled = [one for _, several in self.resources for one in several if one not in mains]
        client = self.env.plane.client(self.env.plane.all_powerful_token("shards"))
        return Agent(client, self.name, paths(mains), paths(dict.fromkeys(controlled)))

    # -- its objects

    def create(self, resource, count, prefix="s", clients=8):
        """Objects of which a name is all that is needed; the load.Result."""
        result = load.run(load.Target.of(self.env.admin),
                          [load.creation(resource, self.namespace, {"metadata": {"name": f"{prefix}-{number}"}})
                           for number in range(count)], clients)
        assert not result.failures, result.failures[0]
        return result

    def create_secrets(self, count, prefix="s", owned=0, clients=8):
        """Secrets, and ConfigMaps that the first `owned` of them own; the load.Result of the Secrets."""
        secrets = self.create("secrets", count, prefix, clients)
        if owned:
            target = load.Target.of(self.env.admin)
            uids = {item["metadata"]["name"]: item["metadata"]["uid"]
                    for item in self.env.admin.list("secrets", self.namespace)}
            names = [f"{prefix}-{number}" for number in range(owned)]
            result = load.run(target, [load.creation("configmaps", self.namespace, owned_config_map(name, uids[name]))
                                       for name in names], clients)
            assert not result.failures, result.failures[0]
        return secrets

    def items(self, resource):
        """All its objects of a resource, which it may not select all."""
        return self.env.admin.list(resource, self.namespace if RESOURCES[resource][1] else None)

    def versions(self):
        """{(resource, name): (resourceVersion, shard)} of all its objects."""
        return {(resource, item["metadata"]["name"]): (item["metadata"]["resourceVersion"],
                                                       oracle.shard_of(item, self.name))
                for _, resource, _, _ in self.all_resources() for item in self.items(resource)}

    def all_resources(self):
        return list(dict.fromkeys(one for main, controlled in self.resources for one in (main, *controlled)))

    def wrong(self, shards, selects=lambda item: True):
        """What is not as it ought to be when these are the available shards, a line an object."""
        owners = oracle.Ring(shards)
        mains = [main for main, _ in self.resources]
        found = []
        for one in self.all_resources():
            items = [item for item in self.items(one[1]) if selects(item)]
            group_and_kind = (one[0], one[3]) if one in mains else ()
            found += [f"{one[1]} {line}" for line in oracle.wrong_owners(items, self.name, owners, *group_and_kind)]
            found += [f"{one[1]} {item['metadata']['name']} is draining" for item in items
                      if self.drain_label in item["metadata"].get("labels", {})]
        return found

    def wait_settled(self, shards, timeout=None, selects=lambda item: True):
        """Until every object has the shard that the oracle gives, and none drains. Without a `timeout`, it may take as long
        as within PROGRESS seconds more of them are right."""
        wrong, fewest, since = [], math.inf, time.monotonic()

        def settled():
            nonlocal fewest, since
            wrong[:] = self.wrong(shards, selects)
            if len(wrong) < fewest:
                fewest, since = len(wrong), time.monotonic()
            elif timeout is None and time.monotonic() > since + allowed(PROGRESS):
                raise Failed(f"nothing became better for {allowed(PROGRESS):g} s: the objects of {self.name}")
            return not wrong

        try:
            wait_until(settled, timeout or 10 * PROGRESS, f"the objects of {self.name} are where they belong", interval=0.1)
        except Failed as failed:
            raise Failed(f"{failed}; {len(wrong)} are not: {wrong[:5]}") from None

    def moved_once(self, before, since):
        """The objects that changed since versions() said `before`: asserts that the sharder patched each once, and
        none that did not change."""
        changed = {name for name, version in self.versions().items() if before.get(name) != version}
        patches = collections.Counter((patch.resource, patch.name)
                                      for patch in self.env.plane.sharder_patches(self.namespace, since))
        repeated = {name: count for name, count in patches.items() if count != 1}
        assert not repeated, f"{len(repeated)} were patched more than once: {list(repeated.items())[:5]}"
        assert set(patches) == changed, (f"patched, and as before: {sorted(set(patches) - changed)[:5]}, "
                                         f"changed by somebody else: {sorted(changed - set(patches))[:5]}")
        return changed

    def status(self):
        return self.env.admin.get("controllerrings", None, self.name).get("status", {})

    def condition(self, kind="Ready"):
        """The condition of this type, {} without one."""
        return next((one for one in self.status().get("conditions", []) if one["type"] == kind), {})

    def webhook_configuration(self):
        return self.env.admin.find("mutatingwebhookconfigurations", None, f"controllerring-{self.name}")

    def agrees(self, replica, shards):
        """Whether this replica's ring has these shards, by what it answers to admission reviews."""
        group, resource, version, kind = self.resources[0][0]
        expected = oracle.Ring(shards)
        webhook = admission.Webhook(replica.port, replica.ca_file)
        try:
            for number in range(24):
                name = f"probe-{number}"
                item = {"metadata": {"namespace": self.namespace, "name": name}}
                given = webhook.shard(self.name, admission.review(item, resource, group, version, kind, dry_run=True))
                if given != expected.owner(f"{group}/{kind}/{self.namespace}/{name}"):
                    return False
            return True
        finally:
            webhook.close()

    def wait_members(self, shards, timeout=15):
        """Until every running replica's ring has exactly these shards."""
        for replica in self.env.sharders.replicas if self.env.sharders else ():
            if replica.process.alive():
                wait_until(lambda replica=replica: _quietly(lambda: self.agrees(replica, shards)), timeout,
                           f"{replica.name} has the ring of {len(list(shards))} shards", alive=replica.process)

    def wait_ready(self, shards, timeout=20):
        """Until the ring has these shards everywhere, its status says so, and the API server calls the webhook."""
        self.wait_members(shards, timeout)
        wait_until(lambda: self.status().get("availableShards") == len(list(shards)) and
                   self.condition().get("status") == "True", timeout, f"status of {self.name}")
        self.wait_webhook(timeout)

    def wait_webhook(self, timeout=20):
        """Until the API server has taken up the webhook configuration: a dry run is assigned a shard."""
        resource = self.resources[0][0][1]
        if resource not in ("secrets", "configmaps", "serviceaccounts", "roles"):
            # Others may need a valid body; the API server takes up configurations in order of their changes.
            wait_until(self.webhook_configuration, timeout, "webhook configuration")
            return
        wait_until(lambda: oracle.shard_of(self.env.admin.create(
            resource, self.namespace, {"metadata": {"name": "dry-run"}}, dryRun="All"), self.name), timeout,
            f"the API server calls the webhook of {self.name}")


def owned_config_map(owner, uid):
    """The ConfigMap that a controller would make for a Secret."""
    return {"metadata": {"name": f"of-{owner}", "ownerReferences": [{
        "apiVersion": "v1", "kind": "Secret", "name": owner, "uid": uid, "controller": True}]}}


class _Started:
    """Enters Shards and starts the named ones."""

    def __init__(self, shards, names):
        self._shards, self._names = shards, names

    def __enter__(self):
        self._shards.__enter__()
        self._shards.start(*self._names)
        return self._shards

    def __exit__(self, *exception):
        self._shards.__exit__(*exception)


def _quietly(condition):
    """The condition; a refused or broken connection means not yet."""
    try:
        return condition()
    except (OSError, http.client.HTTPException):
        return False
