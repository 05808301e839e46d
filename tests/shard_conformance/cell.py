"""A control plane of a scene's own: the embedded API server, the sharder, a ring, and what is seen of them.

There are two namespaces with objects. In `sharded` the sharder assigns and moves objects, as in a real cluster. It does
not select `played`: there the scene itself labels main objects, when it wants to, and a Player labels what they own.
"""

import collections
import contextlib
import itertools
import re
import threading
import time

import yaml

import kubeclient
from embedded_cluster import EmbeddedCluster
from evidence import KIT_AGENT, History, Requests, controller_of, labels_of, name_of
from kubeclient import ApiError
from processes import Failed, allowed
from rules import BROKEN, KEPT, NOT_JUDGED
from sharder import Sharders
from shards import SHARDER_IDENTITY, STATE_LABEL, lease, micro_time, parse_time
from subject import Subject

RING, SHARD = "conformance", "kit-a"
SHARDED, PLAYED, LEASES = "sharded", "played", "leases"
SHARDS = f"shard.alpha.sharding.timebertt.dev/{RING}"
DRAINS = f"drain.alpha.sharding.timebertt.dev/{RING}"
ELSEWHERE = "kit-elsewhere"  # a shard that nobody runs

# How long an answer to a request of the shard may be held back, while the shard has to do without it: shorter than the
# timeouts that clients use.
HOLD = 3
# How long it is watched for what must not happen.
WATCH = 10


class SceneOver(Exception):
    """The scene cannot go on; its verdicts say why."""


class NoResource(Exception):
    """The API server does not have it, or it cannot be judged."""


class ResourceType:
    """A resource of the API server, as `secrets` or `deployments.apps` names it."""

    def __init__(self, client, text):
        self.plural, _, self.group = text.partition(".")
        base = "/api/v1" if not self.group else self._preferred(client, text)
        self.api_version = base.removeprefix("/apis/").removeprefix("/api/")
        found = [entry for entry in client.request("GET", base)["resources"] if entry["name"] == self.plural]
        if not found:
            raise NoResource(f"the API server has no resource {text}")
        if not found[0]["namespaced"]:
            raise NoResource(f"{text} is cluster-scoped: only namespaced resources can be judged")
        self.kind = found[0]["kind"]
        kubeclient.RESOURCES[self.plural] = (base, True)

    def _preferred(self, client, text):
        try:
            group = client.request("GET", f"/apis/{self.group}")
        except ApiError as error:
            raise NoResource(f"the API server has no resource {text}: no group {self.group}") from error
        return f"/apis/{group['preferredVersion']['groupVersion']}"

    def entry(self):
        return {"group": self.group, "resource": self.plural}


class Template:
    """Makes main objects. {name}, {namespace} and {value} are filled in; {value} is another one with each change, 8
    letters and digits that are base64 too."""

    def __init__(self, text):
        self._text = text
        self.has_value = "{value}" in text
        made = self.make("a", "b")
        if not isinstance(made, dict) or not isinstance(made.get("metadata"), dict):
            raise ValueError("the template makes no object with metadata")

    def make(self, name, namespace):
        values = {"name": name, "namespace": namespace, "value": f"{next(_numbers):08d}"}
        return yaml.safe_load(re.sub("{(name|namespace|value)}", lambda match: values[match[1]], self._text))


_numbers = itertools.count(1)
TEMPLATES = {
    "secrets": "{apiVersion: v1, kind: Secret, metadata: {name: '{name}'}, data: {key: '{value}'}}",
    "configmaps": "{apiVersion: v1, kind: ConfigMap, metadata: {name: '{name}'}, data: {key: '{value}'}}",
}


class Player:
    """Does in the namespace `played` what the sharder does with objects that others own: they get the label of their
    controller."""

    def __init__(self, client, history, main, controlled):
        self._client, self._history, self._main, self._controlled = client, history, main, controlled
        self._ended = False
        self._playing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)

    def start(self):
        self._thread.start()

    def end(self):
        self._ended = True

    @contextlib.contextmanager
    def pauses(self):
        """Nobody is labelled meanwhile."""
        with self._playing:
            yield

    def _run(self):
        while not self._ended:
            with self._history.changed:
                if not self._wrong():
                    self._history.changed.wait(1)
                    continue
            with self._playing:
                for item, label in self._wrong():
                    self._label(item, label)
            time.sleep(0.01)  # until the history has the answers

    def _label(self, item, label):
        metadata = {"resourceVersion": item["metadata"]["resourceVersion"], "labels": {SHARDS: label}}
        with contextlib.suppress(ApiError, OSError):  # it has changed: the next version shows it
            self._client.patch(self._controlled.plural, PLAYED, item["metadata"]["name"], {"metadata": metadata})

    def _wrong(self):
        """[(object, the label that it lacks)]."""
        if self._controlled is None:
            return []
        mains = {item["metadata"]["uid"]: labels_of(item).get(SHARDS)
                 for item in self._history.objects(self._main.plural, PLAYED)}
        wrong = []
        for item in self._history.objects(self._controlled.plural, PLAYED):
            label = mains.get(controller_of(item).get("uid"))
            if label and labels_of(item).get(SHARDS) != label:
                wrong.append((item, label))
        return wrong


class Cluster(EmbeddedCluster):
    """The embedded API server, with what is needed to look into it."""

    def __init__(self, crds):
        super().__init__("RequestResponse")
        for crd in crds:
            self.process.command += ["--crd", str(crd)]

    def __enter__(self):
        super().__enter__()
        self.admin = self.admin.named(KIT_AGENT)
        return self


class Cell:
    """Use as a context manager. `options`: of the kit (kit.py); `profile`: what is known of the shard, or None."""

    def __init__(self, options, scene, profile):
        self.options, self.scene, self.profile = options, scene, profile
        self.verdicts = collections.defaultdict(list)  # rule -> [(verdict, expected, seen)]
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self.cluster = self.client = self.requests = self.history = self.player = None
        self.main = self.controlled = None
        self.end_sharder = None  # a function; then the scene does whatever the sharder would
        self._subjects = []

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.cluster = stack.enter_context(Cluster(self.options.crd))
            self.client = self.cluster.admin
            self.main = ResourceType(self.client, self.options.main)
            self.controlled = ResourceType(self.client, self.options.controlled) if self.options.controlled else None
            for namespace in (SHARDED, PLAYED, LEASES):
                self.client.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace",
                                                        "metadata": {"name": namespace}})
            self.client.create("controllerrings", None, self._ring())
            self._start_sharder(stack)
            self.requests = Requests(self.cluster.audit_log,
                                     lambda agent: agent == KIT_AGENT or agent in self._sharder_agents)
            self.history = History(self.client)
            stack.callback(self.history.end)
            for resource in filter(None, (self.main, self.controlled)):
                for namespace in (SHARDED, PLAYED):
                    self.history.follow(resource.plural, namespace)
            self.history.follow("leases", LEASES)
            self.player = Player(self.client, self.history, self.main, self.controlled)
            self.player.start()
            stack.callback(self.player.end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        for subject in self._subjects:
            subject.kill()
        self._stack.close()

    def _ring(self):
        entry = self.main.entry()
        if self.controlled:
            entry["controlledResources"] = [self.controlled.entry()]
        return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": RING},
                "spec": {"resources": [entry],
                         "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SHARDED}}}}

    def _start_sharder(self, stack):
        sharders = Sharders(self.cluster, count=1)
        replica = sharders.replicas[0]
        sharders.call_directly(replica)
        sharders.write_kubeconfig()
        replica.start()
        stack.callback(replica.process.kill)
        self.end_sharder = replica.process.kill
        replica.wait_ready()
        self.wait(lambda: self._webhook(), "the sharder has made the webhook configuration")
        # Whoever has written so far is the sharder.
        everybody = Requests(self.cluster.audit_log, lambda agent: agent == KIT_AGENT)
        self._sharder_agents = {request.agent for request in everybody.all()}

    def _webhook(self):
        return self.client.find("mutatingwebhookconfigurations", None, f"controllerring-{RING}")

    # -- the shard

    def start(self, shard=SHARD, namespace=PLAYED, ready=True):
        """A shard that holds its Lease, unless it is not waited for."""
        subject = Subject(self.options.command, self.cluster.folder, self.cluster.kubeconfig, RING, shard, namespace,
                          LEASES)
        self._subjects.append(subject.start())
        if ready:
            self.need(lambda: self.holds(shard), f"{shard} holds its Lease", subject)
        return subject

    def logs(self):
        """{file name: text} of the shards, and of the servers."""
        return {file.name: file.read_text(encoding="utf-8", errors="replace")
                for file in [*self.cluster.folder.glob("*.log"), *self.cluster.folder.glob("*/*.log")]}

    # -- objects

    def new_name(self):
        return name_of(next(self._numbers))

    def create(self, shard=SHARD, drain=None, namespace=PLAYED, name=None, **metadata):
        """The name of a new main object. `shard` None: the webhook assigns it, or nobody."""
        name = name or self.new_name()
        body = self.options.template.make(name, namespace)
        body.update(apiVersion=self.main.api_version, kind=self.main.kind)
        labels = {SHARDS: shard, DRAINS: drain, "kit": "stays"}
        body["metadata"].update(name=name, **metadata)
        body["metadata"].setdefault("labels", {}).update({key: value for key, value in labels.items() if value})
        self.client.create(self.main.plural, namespace, body)
        return name

    def change(self, name, namespace=PLAYED, **labels):
        """Gives it another {value}, and these labels in the same write: `shard`, `drain`; None takes one away."""
        body = self.options.template.make(name, namespace)
        metadata = {"annotations": {"kit": f"{next(_numbers)}"}, "labels": {
            {"shard": SHARDS, "drain": DRAINS}[key]: value for key, value in labels.items()}}
        body = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}
        return self.client.patch(self.main.plural, namespace, name, {**body, "metadata": metadata})

    def label(self, name, namespace=PLAYED, **labels):
        """As change(), and nothing else changes."""
        return self.client.patch(self.main.plural, namespace, name, {"metadata": {"labels": {
            {"shard": SHARDS, "drain": DRAINS}[key]: value for key, value in labels.items()}}})

    def object(self, name, namespace=PLAYED):
        return self.client.find(self.main.plural, namespace, name)

    def owned(self, name, namespace=PLAYED):
        """The controlled objects that it owns, as the history has them."""
        changes = self.history.changes(self.main.plural, namespace, name)
        if not changes or self.controlled is None:
            return []
        uid = changes[-1][1]["metadata"]["uid"]
        return [item for item in self.history.objects(self.controlled.plural, namespace)
                if controller_of(item).get("uid") == uid]

    def work(self, name, since=0.0, well=False):
        """Writes of shards that concern the object, acknowledgements left out, that came since then; those that have
        succeeded."""
        return [request for request in self.requests.work()
                if request.received >= since and (request.done_well() or not well) and
                name in request.about and not self.acknowledges(request, name)]

    def acknowledgements(self, name, since=0.0):
        return [request for request in self.requests.work()
                if request.received >= since and self.acknowledges(request, name)]

    def acknowledges(self, request, name):
        """Whether it is a write of the object that takes the drain label away."""
        if request.resource != self.main.plural or request.name != name or request.subresource:
            return False
        body = request.body
        if isinstance(body, list):  # a JSON patch
            escaped = "/metadata/labels/" + DRAINS.replace("~", "~0").replace("/", "~1")
            return any(step.get("op") == "remove" and step.get("path") == escaped for step in body)
        if not isinstance(body, dict) or request.verb not in ("patch", "update"):
            return False
        labels = (body.get("metadata") or {}).get("labels") or {}
        if request.verb == "update":
            return DRAINS not in labels and self._drained_before(request, name)
        return DRAINS in labels and labels[DRAINS] is None

    def _drained_before(self, request, name):
        """Whether the version that a PUT has read had a drain label."""
        version = request.body["metadata"].get("resourceVersion")
        return any(DRAINS in labels_of(item) for _, item in
                   self.history.changes(self.main.plural, request.namespace, name)
                   if version in (None, item["metadata"]["resourceVersion"]))

    def let_go(self, name, namespace=PLAYED):
        """Whether neither label is the shard's any more."""
        item = self.object(name, namespace)
        return item is not None and DRAINS not in labels_of(item) and labels_of(item).get(SHARDS) != SHARD

    # -- Leases

    def lease(self, shard=SHARD):
        return self.history.latest("leases", LEASES, shard)

    def holds(self, shard=SHARD):
        return (self.lease(shard) or {}).get("spec", {}).get("holderIdentity") == shard

    def renewals(self, shard=SHARD):
        """The versions of the Lease that the shard held, in order, a renewal each."""
        found = []
        for _, item in self.history.changes("leases", LEASES, shard):
            spec = item.get("spec") or {}
            if spec.get("holderIdentity") == shard and (
                    not found or spec.get("renewTime") != found[-1]["spec"].get("renewTime")):
                found.append(item)
        return found

    def valid_until(self, shard=SHARD):
        """renewTime + leaseDurationSeconds of the last renewal that succeeded."""
        spec = self.renewals(shard)[-1]["spec"]
        return parse_time(spec["renewTime"]) + spec["leaseDurationSeconds"]

    def duration(self):
        return self.renewals()[-1]["spec"]["leaseDurationSeconds"]

    def leave_lease(self, holder):
        """As an earlier process of the shard's name has left it, which the sharder has not seen yet: released, if the
        holder is "", else another's, and to be had in a second."""
        item = lease(RING, SHARD, holder, duration=1, transitions=1)
        item["metadata"]["labels"][STATE_LABEL] = "ready"
        self.client.create("leases", LEASES, item)

    def set_state(self, state):
        self.client.patch("leases", LEASES, SHARD, {"metadata": {"labels": {STATE_LABEL: state}}})

    def take_lease(self, shard=SHARD):
        """As the sharder takes over the Lease of a shard that seems dead; here the shard lives."""
        while True:
            item = self.client.get("leases", LEASES, shard)
            now = micro_time()
            item["spec"].update(holderIdentity=SHARDER_IDENTITY, acquireTime=now, renewTime=now,
                                leaseDurationSeconds=2 * item["spec"]["leaseDurationSeconds"],
                                leaseTransitions=item["spec"].get("leaseTransitions", 0) + 1)
            try:
                return self.client.update("leases", LEASES, shard, item)
            except ApiError as error:
                if error.status != 409:
                    raise

    def release_lease(self, shard=SHARD):
        now = micro_time()
        self.client.patch("leases", LEASES, shard, {"spec": {
            "holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now}})

    # -- faults, for requests of the shard alone

    @contextlib.contextmanager
    def fault(self, **fields):
        """For the shard's requests; the fields are those of tests/apiserver/README.md. It yields a Fault."""
        fault = Fault(self.client, self.once(**fields))
        try:
            yield fault
        finally:
            fault.end()

    def once(self, **fields):
        """Posts a fault, which is not ended by itself."""
        return self.client.request("POST", "/-/faults", [{**fields, "wholeUserAgent": agent}
                                                         for agent in self.profile.agents])["ids"]

    @contextlib.contextmanager
    def held_writes(self, path):
        """The shard's writes below this path wait, unanswered and not carried out, until the end of the block."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.fault(fault="freeze", method=method, path=path))
                   for method in ("PATCH", "PUT", "DELETE")]

    def path(self, name, namespace=PLAYED):
        return kubeclient.path_of(self.main.plural, namespace, name)

    # -- verdicts

    def keeps(self, *rules):
        """What this scene shows of the rules is as it must be, so far."""
        for rule in rules:
            self.verdicts[rule].append((KEPT, "", ""))

    def breaks(self, rule, expected, seen):
        self.verdicts[rule].append((BROKEN, expected, str(seen)))

    def cannot_judge(self, rule, why):
        self.verdicts[rule].append((NOT_JUDGED, "", why))

    def check(self, rule, holds, expected, seen):
        """A verdict about what is so now; `seen` is called when it does not hold."""
        if holds:
            self.keeps(rule)
        else:
            self.breaks(rule, expected, seen() if callable(seen) else seen)
        return bool(holds)

    def expect(self, rule, condition, expected, seen, subject=None, timeout=None, go_on=False):
        """Waits until condition() is true: the rule is kept then, else broken, and the scene ends unless it can go on.
        `seen()` says what there is instead."""
        value = self.poll(condition, timeout or self.options.timeout, subject)
        if value:
            self.keeps(rule)
            return value
        self.breaks(rule, expected, subject.ending() if subject and not subject.alive() else seen())
        if not go_on:
            raise SceneOver(f"not so: {expected}")
        return None

    def need(self, condition, what, subject=None, timeout=None):
        """Waits for what the scene needs and does not judge."""
        value = self.poll(condition, timeout or self.options.timeout, subject)
        if not value:
            raise SceneOver(f"not so: {what}; {subject.ending()}" if subject and not subject.alive() else
                            f"not within {timeout or self.options.timeout:g} s: {what}")
        return value

    @staticmethod
    def wait(condition, what, timeout=30):
        """As need(), for what the kit itself has to bring about."""
        if not Cell.poll(condition, timeout):
            raise Failed(f"not within {timeout:g} s: {what}")

    @staticmethod
    def poll(condition, timeout, subject=None):
        """The first true value; its last one when the time is over or the shard has ended."""
        deadline = time.monotonic() + allowed(timeout)
        while True:
            value = condition()
            if value or time.monotonic() > deadline:
                return value
            if subject is not None and not subject.alive():
                return condition()
            time.sleep(0.02)

    def watch(self, seconds, subject=None, until=lambda: False):
        """Looks for so long, or until something is seen, or the shard has ended."""
        self.poll(until, seconds, subject)


class Fault:
    """A fault in force."""

    def __init__(self, client, ids):
        self._client, self._ids = client, ids

    def hits(self):
        return sum(entry["hits"] for entry in self._client.request("GET", "/-/faults") if entry["id"] in self._ids)

    def end(self):
        for number in self._ids:
            self._client.raw("DELETE", f"/-/faults/{number}")
        self._ids = []
