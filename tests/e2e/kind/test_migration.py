#!/usr/bin/python3
"""The Go project's sharder and its sharded controller run, with cert-manager. Ours takes its place and gives it back: no
object moves, and while ours comes and goes no creation is without its shard. The steps are those of docs/migrate.md."""

import json
import time

import yaml

from whole import Whole  # first: it finds the modules of tests/e2e
import images

import documents
from cluster import SYSTEM_NAMESPACE
from environment import CONFIG_MAPS, SECRETS, Ring
from processes import wait_until
from suite import Suite

NAME = "checksum-controller"  # of the Go project's ring and of its shards
COUNT = 200
STEPS = documents.blocks("migrate.md", "kind")  # the image; look at the log; remove what is left; the issuer


class Migration(Whole):
    """The Go project's installation, as its own manifests make it, and its sharded controller with three shards."""

    def __init__(self, short):
        super().__init__(short, restricted=False, certificates=True)
        self.checksums = None

    def __enter__(self):
        super().__enter__()
        try:
            self.installation.apply_go_project()
            self.checksums = self._install_shards()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, *exception):
        self.plane.kubectl("delete", "clusterrole,clusterrolebinding", f"sharding:controllerring:{NAME}",
                           "--ignore-not-found")
        self.plane.kubectl("delete", "namespace", NAME, "--ignore-not-found", "--timeout=100s", check=False)
        super().__exit__(*exception)

    def _install_shards(self):
        """Its own manifests, in a namespace of their own."""
        self.namespace(NAME)
        manifests = images.go_project() / "hack" / "config" / NAME
        name, tag = images.GO_SHARD.split(":")
        folder = self.plane.folder / "go-shards"
        folder.mkdir(exist_ok=True)
        for part in ("controllerring/controllerring.yaml", "controllerring/sharder_rbac.yaml",
                     "controller/deployment.yaml", "controller/rbac.yaml", "controller/serviceaccount.yaml"):
            text = (manifests / part).read_text(encoding="utf-8")
            (folder / part.rsplit("/", 1)[1]).write_text(text, encoding="utf-8")
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAME,
            "resources": ["controllerring.yaml", "deployment.yaml", "rbac.yaml", "serviceaccount.yaml"],
            "labels": [{"includeSelectors": True, "pairs": {"app.kubernetes.io/component": NAME}}],
            "images": [{"name": NAME, "newName": name, "newTag": tag}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps([{
                "op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": f"--namespace={NAME}"}])},
                        {"target": {"kind": "ControllerRing"}, "patch": json.dumps([{
                            "op": "add", "path": "/spec/namespaceSelector/matchLabels/kubernetes.io~1metadata.name",
                            "value": NAME}])}]}), encoding="utf-8")
        self.plane.kubectl("apply", "--server-side", "-k", folder)
        self.plane.kubectl("apply", "--server-side", "-f", folder / "sharder_rbac.yaml")
        self.plane.kubectl("-n", NAME, "rollout", "status", f"deployment/{NAME}", "--timeout=110s")
        selector = {"matchLabels": {"kubernetes.io/metadata.name": NAME}}
        return Ring(self, NAME, NAME, ((SECRETS, (CONFIG_MAPS,)),), selector)

    def document(self, block, replace=()):
        """Runs a block of docs/migrate.md; what it prints."""
        return documents.run(block, self.plane.kubeconfig, self.plane.kubectl_program.parent, replace=replace)

    def replace_image(self):
        """The first step."""
        self.document(STEPS[0], replace=[("registry.example.com/platform/sharder:1.0", images.SHARDER)])
        self.installation.wait_rollout()

    def wait_served(self):
        """Until the ring is ready under whichever sharder runs, and the API server calls it."""
        wait_until(lambda: self.checksums.status().get("availableShards") == 3 and
                   self.checksums.condition().get("status") == "True", 90, "the ring is ready")
        self.checksums.wait_webhook(90)


suite = Suite("kind: migration", Migration, parallel=False)


def _shards(env):
    """{Secret or ConfigMap: its shard}."""
    return {name: shard for name, (_, shard) in env.checksums.versions().items()}


@suite.case("the image of the Go project's Deployment is replaced by ours and back, with its ring, Leases, labels, configuration "
            "and arguments in place: no object moves, and nobody notices")
def image(env):
    env.wait_served()
    env.checksums.create_secrets(COUNT)
    wait_until(lambda: len(env.checksums.items("configmaps")) >= COUNT, 60, "the Go shards have made their ConfigMaps")
    before = env.checksums.versions()
    with env.traffic(env.checksums) as traffic:
        env.replace_image()
        env.wait_served()
    created, missed = traffic.missed()  # by the Go project's pods: they do not wait until the API server has heard of their end
    env.figure("from the Go project's image to ours", f"{len(missed)} of {created} missed by the pods that stopped")
    after = env.checksums.versions()
    assert {name: after[name] for name in before} == before, "an object changed"
    with env.traffic(env.checksums) as traffic:
        env.installation.restart()
        env.installation.delete_pod(env.installation.wait_leader())
        env.installation.wait_rollout()
    traffic.check()
    env.figure("ours with the Go project's configuration: rolling update and deletion of the leader", traffic.summary())
    before = env.checksums.versions()
    env.installation.set_image(images.GO_SHARDER)
    env.wait_served()
    after = env.checksums.versions()
    assert {name: after[name] for name in before} == before, "an object changed on the way back"


@suite.case("our overlay is applied over the Go project's installation: nobody notices, no object moves; then Helm takes over")
def overlay(env):
    env.wait_served()
    before = _shards(env)
    env.replace_image()
    env.wait_served()
    with env.traffic(env.checksums) as traffic:
        env.installation.apply("cert-manager")
        adopted = time.time()
        env.wait_served()
    traffic.check()
    env.figure("from the Go project's configuration to the overlay cert-manager", traffic.summary())
    env.check_permissions(adopted)
    with env.traffic(env.checksums) as traffic:
        env.installation.helm("install", "--take-ownership")
        env.installation.wait_rollout()
        env.wait_served()
    traffic.check()
    env.figure("from kustomize to Helm, from cert-manager to selfManaged", traffic.summary())
    after = _shards(env)
    assert {name: after[name] for name in before} == before, "an object moved"
    _, log, *remove = STEPS
    wait_until(lambda: env.document(log).count('"from":"Secret"') >= len(env.installation.pods()), 60, "each shows its Secret")
    for block in remove:
        env.document(block)
    env.installation.restart()
    env.wait_served()


@suite.case("the way back to the Go project, step by step as docs/migrate.md has it: no object moves, and nobody notices")
def back(env):
    env.wait_served()
    before = _shards(env)
    for file in ("issuer", "certificate"):
        env.plane.kubectl("-n", SYSTEM_NAMESPACE, "apply", "-f", images.go_project() / "config/certificate" / f"{file}.yaml")
    wait_until(lambda: env.admin.find("secrets", SYSTEM_NAMESPACE, "webhook-server"), 60, "the Go project's Secret")
    with env.traffic(env.checksums) as traffic:
        env.installation.apply("existing-secret")
        env.installation.restart()
        wait_until(lambda: all(_shows_secret(env, pod) for pod in env.installation.pods()), 60, "all show its certificate")
        env.installation.apply_go_project(images.SHARDER)
        wait_until(lambda: any("cainjector" in name for name in _owners_of_the_ca_bundle(env)), 90,
                   "cainjector owns the caBundle")
    traffic.check()
    env.figure("ours with the Go project's manifests again", traffic.summary())
    # Helm's record of its release, which would undo this at the next upgrade.
    env.plane.kubectl("-n", SYSTEM_NAMESPACE, "delete", "secret", "-l", "owner=helm,name=sharder")
    with env.traffic(env.checksums) as traffic:
        env.installation.apply_go_project()
        env.wait_served()
    created, missed = traffic.missed()
    env.figure("from our image to the Go project's", f"{len(missed)} of {created} missed")
    after = _shards(env)
    moved = [name for name in before if after.get(name) != before[name]]
    assert not moved, moved[:5]


def _shows_secret(env, pod):
    return any('"from":"Secret"' in line for line in env.installation.log(pod).splitlines() if "certificate loaded" in line)


def _owners_of_the_ca_bundle(env):
    """The field managers, as the command in docs/migrate.md prints them."""
    return [entry["manager"] for entry in env.checksums.webhook_configuration()["metadata"]["managedFields"]
            if "f:caBundle" in json.dumps(entry)]


if __name__ == "__main__":
    suite.main()
