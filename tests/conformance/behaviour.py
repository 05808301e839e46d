"""The frame: behaviours by name, and what each of them gets.

    @behaviour("a created object has a uid, a resourceVersion and a creationTimestamp")
    def created(on): ...

`on` is a Context. A behaviour fails by raising. One that yields, once, goes on after the server has forgotten its
history; all of those are halted at their yield at the same time, and history is forgotten once.
"""

import inspect
import itertools
import time
from dataclasses import dataclass

import api as http_api

ALL = []
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Behaviour:
    """One thing that API servers do."""
    title: str
    group: str
    run: object

    @property
    def expires(self):
        return inspect.isgeneratorfunction(self.run)


def behaviour(title):
    def add(function):
        assert all(one.title != title for one in ALL), f"twice: {title}"
        ALL.append(Behaviour(title, function.__module__.partition("_")[2].replace("_", " "), function))
        return function
    return add


class Context:
    """A server, and a corner of it that no other behaviour uses."""

    def __init__(self, server, hooks):
        self.server, self.api, self.hooks = server, server.api, hooks
        self.id = f"c{next(_numbers)}"
        self._namespace = None

    @property
    def namespace(self):
        """A namespace of its own, made when it is first asked for."""
        if self._namespace is None:
            self.api.post("/api/v1/namespaces", {"metadata": {"name": self.id}}).ok(201)
            self._namespace = self.id
        return self._namespace

    def at(self, resource, name=None, subresource=None):
        """A path in its namespace."""
        return http_api.path(resource, self.namespace, name, subresource)

    def secret(self, name, labels=None, **more):
        """A new Secret, as the server answers."""
        body = {"metadata": {"name": name, **({"labels": labels} if labels else {})}, **more}
        return self.api.post(self.at("secrets"), body).ok(201)

    def ring(self, name=None, **spec):
        """A new ControllerRing, the custom resource of these tests."""
        return self.api.post(http_api.RINGS, ring_body(name or self.id, **spec)).ok(201)

    def ring_at(self, name=None, subresource=None):
        return http_api.path("controllerrings", None, name or self.id, subresource)

    def list_version(self, resource="secrets", **query):
        """The resourceVersion of a list of its namespace, for watches from now on."""
        return self.api.get(self.at(resource), **query).ok()["metadata"]["resourceVersion"]

    def settle(self, target):
        """Waits until the server's cache has this object as it is stored. An update that comes earlier may be tried on
        the state before, and once more on the right one: the webhooks are asked about both."""
        stored = self.api.get(target).ok()["metadata"]["resourceVersion"]
        self.api.get(target, resourceVersion=stored).ok()

    def webhook(self, answer=None, path="hook", **fields):
        """(webhook for a configuration, list that gets its calls): Secrets of its namespace, created or updated."""
        calls = []

        def note(call):
            calls.append(call)
            return answer(call) if answer else {}

        where = f"/{self.id}/{path}"
        self.hooks.on(where, note)
        webhook = {
            "name": f"{path}.conformance.test", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "timeoutSeconds": 5,
            "clientConfig": {"url": self.hooks.url(where), "caBundle": self.hooks.bundle},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            "rules": [rule("secrets")], **fields}
        return {name: value for name, value in webhook.items() if value is not None}, calls

    def register(self, *webhooks, name=None):
        """Creates the configuration and waits until the server calls it: a webhook for ConfigMaps is added, last."""
        name = name or self.id
        probe, probes = self.webhook(path=f"probe-{name}", rules=[rule("configmaps", operations=["CREATE"])],
                                     objectSelector={"matchLabels": {"probe": name}}, failurePolicy="Ignore")
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": name}, "webhooks": [*webhooks, probe]}
        self.api.post(http_api.path("mutatingwebhookconfigurations"), body).ok(201)

        def called():
            self.api.post(self.at("configmaps"), {"metadata": {"name": name, "labels": {"probe": name}}},
                          dryRun="All").ok(201)
            return probes

        eventually(called, "the API server calls the webhook")
        return name

    def hook(self, answer=None, **fields):
        """Registers one webhook; the list that gets its calls."""
        webhook, calls = self.webhook(answer, **fields)
        self.register(webhook)
        return calls


def rule(*resources, groups=("",), operations=("CREATE", "UPDATE"), scope="*"):
    return {"apiGroups": list(groups), "apiVersions": ["*"], "resources": list(resources),
            "operations": list(operations), "scope": scope}


def ring_body(name, **spec):
    spec.setdefault("resources", [])
    return {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": name},
            "spec": spec}


def eventually(condition, what, timeout=20):
    """The first true value of condition(). For what a server does by and by; never for what it must do at once."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)


def names(body):
    return [item["metadata"]["name"] for item in body["items"]]


def version(item):
    return int(item["metadata"]["resourceVersion"])
