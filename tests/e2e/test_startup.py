#!/usr/bin/python3
"""Starting in bad circumstances and with bad input: what is wrong is said, what can come right is waited for."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time

import yaml

import oracle
from cluster import ROOT
from control_plane import ControlPlane
from environment import Environment
from kubeclient import RESOURCES
from processes import Process, free_ports, wait_until
from sharder import Sharders, binary
from suite import Suite

suite = Suite("startup")


@contextlib.contextmanager
def bare_plane(*manifests):
    """A control plane with some of the manifests, and a sharder (one replica) that does not run yet."""
    with ControlPlane(audit_log=True) as plane:
        plane.install_manifests(*manifests)
        sharders = Sharders(plane, 1)
        try:
            yield plane, sharders
        finally:
            sharders.stop()


@suite.case("CRD not installed at start: alive, not ready with a reason, said once, and ready as soon as it is there")
def no_crd(env):
    with bare_plane("rbac") as (plane, sharders):
        replica = sharders.replicas[0]
        sharders.start(wait=False)
        wait_until(lambda: replica.health("/healthz")[0] == 200, 20, "alive", alive=replica.process)
        time.sleep(8)  # several tries
        status, reason = replica.health("/readyz")
        assert status == 503 and reason.strip(), (status, reason)
        said = [line for line in replica.log().splitlines()
                if "controllerrings" in line.lower() and ('"level":"warn' in line or '"level":"error"' in line)]
        assert 1 <= len(said) <= 2, f"said {len(said)} times: {said[:4]}"
        plane.install_manifests("crd")
        began = time.monotonic()
        replica.wait_ready(15)
        env.figure("CRD installed later: seconds until ready", f"{time.monotonic() - began:.2f}")


@suite.case("API server away at start: alive, not ready with a reason, and ready as soon as it is there")
def no_apiserver(env):
    with bare_plane("crd", "rbac") as (plane, sharders):
        replica = sharders.replicas[0]
        sharders.write_kubeconfig()
        plane.kill_apiserver()
        sharders.start(wait=False)
        wait_until(lambda: replica.health("/healthz")[0] == 200, 20, "alive", alive=replica.process)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            status, reason = replica.health("/readyz")
            assert status == 503 and reason.strip(), (status, reason)
            assert replica.health("/healthz")[0] == 200
            time.sleep(0.2)
        plane.start_apiserver()
        began = time.monotonic()
        replica.wait_ready(15)
        env.figure("API server started later: seconds until ready", f"{time.monotonic() - began:.2f}")


@suite.case("through kubectl proxy, so HTTP/1.1 without TLS: ready, and no watch failed on the way")
def kubectl_proxy(env):
    with bare_plane("crd", "rbac") as (plane, sharders):
        replica = sharders.replicas[0]
        port, = free_ports(1)
        proxy = Process("kubectl-proxy", [
            plane.bin / "kubectl", f"--kubeconfig={plane.sharder_kubeconfig(plane.folder / 'proxy.kubeconfig')}", "proxy",
            f"--port={port}"], plane.folder / "kubectl-proxy.log").start()
        wait_until(lambda: f":{port}" in proxy.log.read_text(encoding="utf-8"), 20, "it listens", alive=proxy)
        sharders.kubeconfig = sharders.folder / "sharder.kubeconfig"
        sharders.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy"}}]}), encoding="ascii")
        began = time.monotonic()
        sharders.start()
        env.figure("through kubectl proxy: seconds until ready", f"{time.monotonic() - began:.2f}")
        wait_until(lambda: sharders.leader() is replica, 20, "it leads")
        said = [line for line in replica.log().splitlines() if '"level":"warn' in line or '"level":"error"' in line]
        if os.environ.get("SHARDER_E2E_PROXY") == "no-bookmarks":
            pages = [line for line in said if "they come in pages for some time" in line]
            resources = [json.loads(line)["resource"] for line in pages]
            assert "leases.coordination.k8s.io" in resources and len(set(resources)) == len(resources), resources
            said = [line for line in said if line not in pages]
        assert not said, said[:4]
        sharders.stop()
        proxy.kill()


@suite.case("a ring of a missing resource is not Ready, with an Event, until the CRD comes; others go on")
def missing_resource(bare):
    with Environment(short=bare.short) as env:
        bad = env.ring("bad", ((("example.com", "widgets", "v1", "Widget"), ()),))
        good = env.ring("good")
        with good.shards("shard-a", "shard-b", duration=60), bad.shards("shard-a", duration=60):
            wait_until(lambda: bad.condition().get("status") == "False", 20, "not Ready")
            condition = bad.condition()
            assert condition["reason"] == "ReconciliationFailed" and "widgets" in condition["message"], condition
            assert condition["message"][0].isupper() and condition["observedGeneration"] == 1, condition
            events = wait_until(lambda: [event for event in env.admin.list("events", "default")
                                         if event["involvedObject"]["name"] == "bad"], 10, "an Event")
            assert events[0]["type"] == "Warning" and events[0]["reason"] == "ReconciliationFailed", events
            assert events[0]["source"]["component"] == "controllerring-controller", events
            good.wait_ready(["shard-a", "shard-b"])
            made = env.admin.create("secrets", "good", {"metadata": {"name": "fine"}})
            assert oracle.shard_of(made, "good") == oracle.Ring(["shard-a", "shard-b"]).owner("/Secret/good/fine")

            env.admin.create("customresourcedefinitions", None, {
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "widgets.example.com"}, "spec": {
                    "group": "example.com", "scope": "Namespaced",
                    "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
                    "versions": [{"name": "v1", "served": True, "storage": True,
                                  "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
            RESOURCES["widgets"] = ("/apis/example.com/v1", True)
            began = time.monotonic()
            wait_until(lambda: bad.condition().get("status") == "True", 60, "Ready")
            bare.figure("missing resource appears: seconds until Ready", f"{time.monotonic() - began:.1f}")
            wait_until(lambda: oracle.shard_of(env.admin.create("widgets", "bad", {
                "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "dry"}}, dryRun="All"), "bad") ==
                "shard-a", 20, "assigned")


# -- the command line and its files; no control plane is needed to be told that they are wrong

def refusal(folder, config=None, kubeconfig=None, environment=None, arguments=()):
    """(exit code, what it says) of a start that must fail at once."""
    path = folder / "sharder.yaml"
    if config is not None:
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config), encoding="utf-8")
    command = [binary(), "--config", path, *arguments]
    if kubeconfig is not None:
        command += ["--kubeconfig", kubeconfig]
    clean = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "LEADER_ELECT")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=30,
                          env={**clean, "HOME": str(folder), **(environment or {})})
    return done.returncode, done.stdout + done.stderr


@contextlib.contextmanager
def good_files():
    """A folder with a configuration, certificates and a kubeconfig that would do, with nobody at its address."""
    with ControlPlane() as plane:
        plane.install_manifests("rbac")
        sharders = Sharders(plane, 1)
        sharders.write_kubeconfig()
        config = sharders.replicas[0].config
        yield plane, sharders, config


@suite.case("a wrong configuration, kubeconfig or certificate ends the start with exit code 2 and its name")
def refused(env):
    with good_files() as (_, sharders, config):
        folder, kubeconfig = sharders.folder, sharders.kubeconfig

        def check(what, wanted, config_=config, kubeconfig_=kubeconfig, **options):
            code, text = refusal(folder, config_, kubeconfig_, **options)
            assert code == 2, f"{what}: exit code {code}: {text}"
            for part in wanted:
                assert part in text, f"{what}: {part!r} is not in: {text}"

        def changed(**fields):
            copy = json.loads(json.dumps(config))
            copy.update(fields)
            return copy

        check("unknown field",
              ["sharder.yaml: controller.sharder.syncPeriodd: unknown field, did you mean syncPeriod?"],
              changed(controller={"sharder": {"syncPeriodd": "5m"}}))
        check("wrong type", ["controller.sharder.concurrentMoves"],
              changed(controller={"sharder": {"concurrentMoves": "many"}}))
        check("wrong duration", ["controller.sharder.syncPeriod"], changed(controller={"sharder": {"syncPeriod": "x"}}))
        check("wrong kind", ["kind"], changed(kind="Sharder"))
        check("no YAML", ["sharder.yaml"], "a: [")
        check("no kubeconfig", ["no-such-file"], kubeconfig_=folder / "no-such-file")
        broken = folder / "broken.kubeconfig"
        broken.write_text("clusters: [{", encoding="ascii")
        check("broken kubeconfig", ["broken.kubeconfig"], kubeconfig_=broken)
        check("LEADER_ELECT", ["LEADER_ELECT"], environment={"LEADER_ELECT": "perhaps"})
        check("unknown flag", ["--no-such-flag"], arguments=["--no-such-flag"])

        certificates = folder / "bad-certs"
        webhook = json.loads(json.dumps(config["webhook"]))
        webhook["server"]["certDir"] = str(certificates)
        check("no certificate", ["bad-certs"], changed(webhook=webhook))
        certificates.mkdir()
        other = sharders.authority.issue("other", "/CN=other", ("127.0.0.1",))
        (certificates / "tls.crt").write_bytes(sharders.certificate)
        shutil.copy(other.key, certificates / "tls.key")
        check("a key of another certificate", ["tls.key"], changed(webhook=webhook))
        (certificates / "tls.key").write_text("nonsense", encoding="ascii")
        check("a key that is none", ["tls.key"], changed(webhook=webhook))
        client_ca = json.loads(json.dumps(config["webhook"]))
        client_ca["server"]["clientCAFile"] = str(folder / "client-ca.crt")
        check("no client CA", ["webhook.server.clientCAFile", "client-ca.crt: No such file"], changed(webhook=client_ca))
        (folder / "client-ca.crt").write_text("nonsense", encoding="ascii")
        check("a client CA that is none", ["client-ca.crt: holds no PEM certificate"], changed(webhook=client_ca))
        path = folder / "missing.yaml"
        code, text = refusal(folder, arguments=["--config", path])
        assert code == 2, (code, text)
    assert env is not None


@suite.case("--version prints version, commit and compiler, --help the flags")
def version(env):
    def answer(flag):
        done = subprocess.run([binary(), flag], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done
        return done.stdout

    project = re.search(r"VERSION (\d+\.\d+\.\d+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
    lines = [line.split(" ", 1) for line in answer("--version").splitlines()]
    assert [name for name, _ in lines] == ["sharder", "commit", "compiler"], lines
    said = dict(lines)
    assert said["sharder"] == project, said
    assert re.fullmatch(r"[0-9A-Za-z._-]+", said["commit"]), said
    assert re.fullmatch(r"(GNU|Clang) \d+\.\d+\.\d+", said["compiler"]), said
    assert "--kubeconfig" in answer("--help") and env is not None


if __name__ == "__main__":
    suite.main()
