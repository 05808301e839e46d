#!/usr/bin/python3
"""The shell blocks of docs/ that say that they are run here (scripts/docs.py), and the references that a program writes.
Those of `On kind` and `Migrate` are run by kind/test_documents.py and kind/test_migration.py."""

import os
import pty
import re
import select
import signal
import subprocess
import time

import documents
import oracle
from cluster import ROOT, SYSTEM_NAMESPACE
from documents import docs
from environment import CONFIG_MAPS, SECRETS, Environment, Ring
from kubeclient import ApiError, Credentials
from processes import Failed, allowed, spawn, wait_until
from real_shards import RealShards
from sharder import binary
from suite import Suite

DEPLOYMENTS = ("apps", "deployments", "v1", "Deployment")
REPLICA_SETS = ("apps", "replicasets", "v1", "ReplicaSet")

# The API server takes up a role a little after it has stored it: what is applied at once may be forbidden for a moment.
suite = Suite("documents", lambda short: Environment(controller_manager=True, short=short, may_be_forbidden=True),
              parallel=False)


class InTerminal:
    """A block that goes on until Ctrl-C. Use as a context manager."""

    def __init__(self, block):
        self._ours, theirs = pty.openpty()
        self._child = spawn(["bash", "-ec", block.text], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self._child.pid, signal.SIGINT)
        self.wait_for("(?!)", 60, to_end=True)
        self._child.wait(allowed(30))
        os.close(self._ours)

    def wait_for(self, pattern, seconds, to_end=False):
        """The match in what it has printed."""
        deadline = time.monotonic() + allowed(seconds)
        while not (match := re.search(pattern, self._text)):
            ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
            try:
                data = os.read(self._ours, 65536) if ready else b""
            except OSError:  # its end
                data = b""
            if not data:
                if to_end:
                    return None
                raise Failed(f"not seen: {pattern}: {self._text[-2000:]}")
            self._text += data.decode(errors="replace")
        return match


@suite.case("the blocks of `Without a cluster`, beside make run", short=False)
def no_cluster(env):
    page = "getting-started/no-cluster.md"
    first, = documents.blocks(page, "make run")
    with InTerminal(first) as demonstration:
        kubeconfig = demonstration.wait_for(r"export KUBECONFIG=(\S+)", 600)[1]
        demonstration.wait_for(r"Secrets in \d", 120)
        said = [documents.run(block, kubeconfig, env.plane.bin) for block in documents.blocks(page, "beside make run")]
    assert len(said) == 6, len(said)
    for text in said[:4]:
        assert re.search("demo|shard-", text), text
    assert all("shard.alpha.sharding.timebertt.dev/demo=shard-" in text for text in said[4:]), said[4:]


@suite.case("Emergency: turned off, nothing is lost; new objects have no shard, and get one when it is turned on again")
def emergency(env):
    off, remove, on = documents.blocks("operate/emergency.md", "control plane")
    env.plane.kubectl("apply", "--server-side", "-k", ROOT / "manifests" / "sharder")
    ring = env.ring("emergency", ((SECRETS, (CONFIG_MAPS,)),))
    with ring.shards("shard-a", "shard-b", working=True):
        ring.wait_ready(["shard-a", "shard-b"])
        ring.create_secrets(20)
        ring.wait_settled(["shard-a", "shard-b"])
        before = ring.versions()
        documents.run(off, env.plane.kubeconfig, env.plane.bin)
        deployment = env.admin.get("deployments", SYSTEM_NAMESPACE, "sharder")
        assert deployment["spec"]["replicas"] == 0, deployment["spec"]
        assert set(env.sharders.stop().values()) == {0}  # what Kubernetes does with the pods
        assert ring.webhook_configuration(), "the API server still tries to call it"
        documents.run(remove, env.plane.kubeconfig, env.plane.bin)
        assert not env.admin.list("mutatingwebhookconfigurations")
        ring.create_secrets(20, prefix="meanwhile")
        after = ring.versions()
        assert {name: after[name] for name in before} == before, "an object changed"
        assert not any(oracle.shard_of(item, ring.name) for item in ring.items("secrets")
                       if item["metadata"]["name"].startswith("meanwhile"))
        documents.run(on, env.plane.kubeconfig, env.plane.bin)
        env.sharders.start()
        ring.wait_settled(["shard-a", "shard-b"])
        ring.wait_webhook()


@suite.case("docs/examples/first-ring: the API server takes it, and its permissions are enough for sharder and shards")
def first_ring(env):
    name, namespace = "checksums", "demo"
    env.plane.kubectl("create", "namespace", namespace)
    env.plane.kubectl("apply", "-f", ROOT / "docs" / "examples" / "first-ring")
    token = env.plane.service_account_token(namespace, name)
    env.plane.wait_allowed(token, verb="create", group="coordination.k8s.io", resource="leases", namespace=namespace)
    env.plane.wait_allowed(env.plane.service_account_token(), verb="watch", group="", resource="configmaps")
    kubeconfig = env.plane.write_kubeconfig(env.plane.folder / "shards.kubeconfig", Credentials(token=token))
    ring = Ring(env, name, namespace, ((SECRETS, (CONFIG_MAPS,)),))
    with RealShards(kubeconfig, name, namespace, env.plane.folder, 15) as shards:
        shards.start("shard-a", "shard-b")
        ring.wait_ready(["shard-a", "shard-b"])
        create, = (block for block in documents.blocks("getting-started/kind.md", "kind") if "create secret" in block.text)
        documents.run(create, env.plane.kubeconfig, env.plane.bin)
        shards.start("shard-c")
        wait_until(lambda: len(made(env, namespace)) == 30, 30, "each Secret has its ConfigMap")
        ring.wait_settled(["shard-a", "shard-b", "shard-c"])
        logs = "".join(shard.process.log.read_text(encoding="utf-8") for shard in shards.all().values())
    assert "forbidden" not in logs, logs[-2000:]


@suite.case("docs/examples/only-labels.yaml: the sharder moves objects, and changes nothing else of them")
def only_labels(env):
    ring = env.ring("policy", ((DEPLOYMENTS, (REPLICA_SETS,)),))
    env.plane.kubectl("apply", "-f", ROOT / "docs" / "examples" / "only-labels.yaml")
    sharder = env.plane.client(env.plane.service_account_token())

    def change(body, **query):
        sharder.patch("deployments", ring.namespace, "web", body, **query)

    def rejected(body):
        try:
            change(body, dryRun="All")  # what comes too early changes nothing: else the next try would be no change
        except ApiError as error:
            return error.status == 422 and "the sharder changes no" in str(error)
        return False

    own = f"shard.alpha.sharding.timebertt.dev/{ring.name}"
    with ring.shards("shard-a", "shard-b", working=True) as shards:
        ring.wait_ready(["shard-a", "shard-b"])
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
        env.admin.create("deployments", ring.namespace, {
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}})
        wait_until(lambda: rejected({"spec": {"replicas": 5}}), 120, "the policy is in force")
        for body in ({"metadata": {"annotations": {"a": "b"}}}, {"metadata": {"labels": {"app": "other"}}},
                     {"metadata": {"labels": {"app": None}}}, {"metadata": {"labels": {"more": "x"}}},
                     {"metadata": {"finalizers": ["example.com/f"]}}):
            assert rejected(body), body
        change({"metadata": {"labels": {own: None}}})  # an object without a shard gets one from the webhook or the leader
        ring.wait_settled(["shard-a", "shard-b"])
        shards.start("shard-c", "shard-d")  # and moves are drains and patches
        ring.wait_settled(["shard-a", "shard-b", "shard-c", "shard-d"])
        shards.release("shard-a", "shard-b", "shard-c")
        ring.wait_settled(["shard-d"])


def made(env, namespace):
    return [item for item in env.admin.list("configmaps", namespace) if item["metadata"]["name"].startswith("checksums-")]


@suite.case("what the pages of alerts ask the API server, it answers", short=False)
def alerts(env):
    env.plane.kubectl("apply", "--server-side", "-k", ROOT / "manifests" / "sharder")
    asked = 0
    for path in sorted(docs.ALERTS.glob("*.md")):
        for block in docs.blocks(path.relative_to(docs.DOCS)):
            if not re.search(r"kubectl [^|]*\b(logs|top) ", block.text):  # which need nodes
                documents.run(block, env.plane.kubeconfig, env.plane.bin)
                asked += 1
    assert asked >= 10, asked


@suite.case("docs/reference/cli.md has what the programs print", short=False)
def command_line(_):
    wanted = docs.with_part(docs.CLI, "programs", docs.help_texts(ROOT / "build" / "bin"))
    assert docs.read(docs.CLI) == wanted, "run scripts/docs.py --programs build/bin"


@suite.case("the configuration's page is a configuration that the program reads")
def configuration(env):
    text = re.search(r"```yaml\n(.*?)```", docs.read(docs.DOCS / "reference" / "configuration.md"), re.DOTALL)[1]
    file = env.plane.folder / "documented.yaml"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([binary(), f"--config={file}", "--kubeconfig=/no/such/kubeconfig"], capture_output=True,
                          text=True, check=False, timeout=allowed(20))
    assert "/no/such/kubeconfig" in done.stderr, done.stderr  # which comes after the configuration


@suite.case("blocks that no test runs say why")
def not_run(env):
    for page in docs.RUN_PAGES:
        for block in docs.blocks(page):
            if not block.place:
                assert block.reason, f"docs/{page}:{block.line}"
                env.figure(f"not run: docs/{page}:{block.line}", block.reason)


if __name__ == "__main__":
    suite.main()
