#!/usr/bin/python3
"""sharderctl doctor and support-bundle against a real API server: each fault is seeded, named with its code and an object,
and gone after it is repaired."""

import base64
import contextlib
import http.server
import json
import ssl
import tarfile
import threading
import time

import oracle
import pki
from cluster import ROOT, SYSTEM_NAMESPACE
from environment import Environment
from processes import Failed, Process, free_ports, wait_until
from reach import Machine, is_loopback
from sharderctl import ctl
from shards import lease
from suite import Suite

LIMIT = 120  # seconds for a doctor's round over some hundred objects
NAMES = ("shard-a", "shard-b", "shard-c")
MARKER = "planted-marker"
KNOWN = {"SHD005"}  # there is no cert-manager

# The sharder is refused what a case takes away from it.
suite = Suite("doctor", lambda short: Environment(short=short, replicas=1, may_be_forbidden=True), parallel=False)


def run(env, *arguments, timeout=LIMIT):
    """The CompletedProcess of sharderctl, whatever it ends with."""
    return ctl(env, *arguments, expect=None, timeout=timeout)


def diagnose(env, *arguments, expect=None, timeout=LIMIT):
    """{code: [finding]}, of `doctor ARGUMENTS`."""
    done = run(env, "doctor", *arguments, "-o", "json", timeout=timeout)
    assert done.stdout, f"{done.returncode}: {done.stderr}"
    document = json.loads(done.stdout)
    assert document["kind"] == "Diagnosis", document
    found = {}
    for finding in document["findings"]:
        found.setdefault(finding["code"], []).append(finding)
        assert (ROOT / finding["page"]).is_file(), finding
    assert expect is None or done.returncode == expect, f"{done.returncode}, not {expect}: {found}\n{done.stderr}"
    return found


def named(found, code, name):
    """The finding of this code whose object or message has the name."""
    for finding in found.get(code, []):
        if name in f"{finding['object']} {finding['message']}":
            return finding
    raise AssertionError(f"no {code} about {name} in {json.dumps(found, indent=1)}")


def wait_well(env, ring, *arguments):
    """Until doctor finds nothing about the ring any more, by its own waiting."""
    done = run(env, "doctor", ring.name, "--wait", "--timeout", "60s", *arguments)
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"


def label(env, ring, resource, name, shard):
    env.admin.patch(resource, ring.namespace, name, {"metadata": {"labels": {ring.label: shard}}})


def shard_of(env, ring, resource, name):
    return oracle.shard_of(env.admin.get(resource, ring.namespace, name), ring.name)


@contextlib.contextmanager
def stopped_sharder(env):
    """Nobody repairs what is seeded meanwhile."""
    env.sharders.stop()
    try:
        yield
    finally:
        env.sharders.start()


@suite.case("a ring that is well has no finding: exit 0, and in less than 2 minutes with 400 objects", short=False)
def well(env):
    ring = env.ring("well")
    with ring.shards(*NAMES, duration=30, renew_every=2, working=True):
        ring.wait_ready(NAMES)
        ring.create_secrets(300, owned=100)
        ring.wait_settled(NAMES)
        began = time.monotonic()
        found = diagnose(env, ring.name, expect=0)
        env.figure("doctor, 400 objects", f"{time.monotonic() - began:.1f} s")
        assert not found, found
        text = run(env, "doctor", ring.name)
        assert text.stdout == "no findings\n" and text.returncode == 0, text


@suite.case("while the sharder is stopped: a label removed, a shard that never was, a controlled object mislabelled, and a "
            "Lease deleted are each named by an object, and gone after the sharder is back")
def without_the_sharder(env):
    ring = env.ring("seeded")
    with ring.shards(*NAMES, duration=30, renew_every=1, working=True) as shards:
        ring.wait_ready(NAMES)
        ring.create_secrets(60, owned=30)
        ring.wait_settled(NAMES)
        deleted = "shard-c"
        of_others = [f"s-{number}" for number in range(30, 60)
                     if shard_of(env, ring, "secrets", f"s-{number}") != deleted]
        owned = next(name for name in (f"of-s-{number}" for number in range(30))
                     if shard_of(env, ring, "configmaps", name) == "shard-a")
        with stopped_sharder(env):
            shards.crash(deleted)
            env.admin.delete("leases", ring.namespace, deleted)
            label(env, ring, "secrets", of_others[0], None)
            label(env, ring, "secrets", of_others[1], "never-was")
            label(env, ring, "configmaps", owned, "shard-b")
            found = diagnose(env, ring.name, expect=1)
            named(found, "SHD101", f"secrets seeded/{of_others[0]}")
            never = [one for one in found["SHD103"] if one["object"].startswith("secrets ")]
            assert never and never[0]["count"] > 1, found  # the one that never was, and those of the deleted Lease
            away = named(found, "SHD105", f"configmaps seeded/{owned}")
            assert "it is on shard-b, its owner Secret/" in away["message"], away
            assert "is on shard-a" in away["message"], away
            named(found, "SHD501", "sharding-system/sharder")
            named(found, "SHD305", "secrets seeded/sharderctl-doctor")
            assert diagnose(env, ring.name, "--failure-threshold", "error", expect=1)
            late = run(env, "doctor", ring.name, "--wait", "--timeout", "5s")  # a look takes a second
            assert late.returncode == 124 and "SHD101" in late.stdout, late
        wait_well(env, ring)
        assert shard_of(env, ring, "secrets", of_others[1]) in ("shard-a", "shard-b")


@suite.case("a deleted Lease alone: an object of its shard is named", short=False)
def deleted_lease(env):
    ring = env.ring("deleted")
    with ring.shards("shard-a", "shard-b", duration=30, renew_every=1, working=True) as shards:
        ring.wait_ready(["shard-a", "shard-b"])
        ring.create_secrets(20)
        ring.wait_settled(["shard-a", "shard-b"])
        with stopped_sharder(env):
            shards.crash("shard-b")
            env.admin.delete("leases", ring.namespace, "shard-b")
            one = named(diagnose(env, ring.name, expect=1), "SHD103", "secrets deleted/s-")
            assert "its label names shard-b, which has no Lease" in one["message"], one
        wait_well(env, ring)


@suite.case("a webhook that is cut off is shown by a dry run of a creation, and by an update where a name is not enough",
            short=False)
def cut_off(env):
    deployments = (("apps", "deployments", "v1", "Deployment"), ())
    ring = env.ring("cut-off")
    other = env.ring("cut-off-too", resources=(deployments,))
    with ring.shards("shard-a", duration=30, renew_every=2), other.shards("shard-x", duration=30, renew_every=2):
        ring.wait_ready(["shard-a"])
        other.wait_ready(["shard-x"])
        ring.create_secrets(3)
        env.admin.create("deployments", other.namespace, {
            "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
        other.wait_settled(["shard-x"])
        wait_well(env, ring)
        wait_well(env, other)
        env.sharders.balancer.kill()
        try:
            named(diagnose(env, ring.name, expect=1), "SHD305", "secrets cut-off/sharderctl-doctor")
            named(diagnose(env, other.name, expect=1), "SHD305", "deployments.apps cut-off-too/d")
        finally:
            env.sharders.balancer.start()
        wait_well(env, ring)
        assert shard_of(env, other, "deployments", "d") == "shard-x"  # a dry run has changed nothing


@suite.case("a permission that is taken away is named by verb, resource and ServiceAccount", short=False)
def permissions(env):
    ring = env.ring("forbidden")
    with ring.shards("shard-a", duration=30, renew_every=2):
        ring.wait_ready(["shard-a"])
        role = env.admin.get("clusterroles", None, "ring-forbidden")
        reduced = {"rules": [{**rule, "verbs": ["list", "watch"]} for rule in role["rules"]]}
        env.admin.patch("clusterroles", None, "ring-forbidden", reduced)
        others = [one["metadata"]["name"] for one in env.admin.list("clusterrolebindings")
                  if one["metadata"]["name"].startswith("ring-") and one["metadata"]["name"] != "ring-forbidden"]
        kept = [env.admin.get("clusterrolebindings", None, name) for name in others]
        for name in others:
            env.admin.delete("clusterrolebindings", None, name)  # they grant the same resources
        try:
            found = wait_until(lambda: diagnose(env, ring.name).get("SHD401"), 20, "the API server knows the new role")
            messages = {one["object"] + ": " + one["message"] for one in found}
            account = f"serviceaccounts {SYSTEM_NAMESPACE}/sharder"
            assert messages == {f"{account}: it may not patch secrets", f"{account}: it may not patch configmaps"}, found
        finally:
            for binding in kept:
                binding["metadata"] = {"name": binding["metadata"]["name"]}
                env.admin.create("clusterrolebindings", None, binding)
            env.admin.patch("clusterroles", None, "ring-forbidden", {"rules": role["rules"]})
        wait_well(env, ring)


@suite.case("one Lease name in two namespaces, a Lease of no ring, a resource that is not served, and a name that is no "
            "label value", short=False)
def rings_and_leases(env):
    ring = env.ring("twice")
    with ring.shards("shard-a", duration=30, renew_every=2):
        ring.wait_ready(["shard-a"])
        elsewhere = env.namespace("elsewhere")
        env.admin.create("leases", elsewhere, lease(ring.name, "shard-a", duration=600))
        env.admin.create("leases", elsewhere, lease("no-such-ring", "stray", duration=600))
        env.admin.create("leases", elsewhere, lease(ring.name, "x" * 70, duration=600))
        env.admin.create("controllerrings", None, {
            "apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": "unserved"},
            "spec": {"resources": [{"group": "example.com", "resource": "things"}, {"group": "", "resource": "secrets"}]}})
        found = diagnose(env, expect=1)
        assert "elsewhere, twice" in named(found, "SHD205", "leases elsewhere/shard-a")["message"]
        named(found, "SHD207", "leases elsewhere/stray")
        named(found, "SHD206", "leases elsewhere/" + "x" * 70)
        named(found, "SHD203", "things.example.com")
        named(found, "SHD204", "secrets")
        env.admin.delete("controllerrings", None, "unserved")
        for name in ("shard-a", "stray", "x" * 70):
            env.admin.delete("leases", elsewhere, name)
        wait_well(env, ring)


@suite.case("a shard that renews and acknowledges nothing hangs, and is named with an object that waits for it",
            short=False)
def hung(env):
    ring = env.ring("hung")
    with ring.shards("shard-a", duration=30, renew_every=1) as shards:  # it works on nothing
        ring.wait_ready(["shard-a"])
        ring.create_secrets(30)
        ring.wait_settled(["shard-a"])
        shards.start("shard-b")
        ring.wait_members(["shard-a", "shard-b"])
        wait_until(lambda: any(ring.drain_label in item["metadata"].get("labels", {}) for item in ring.items("secrets")),
                   20, "objects drain")
        time.sleep(2)
        assert "SHD209" not in diagnose(env, ring.name), "a drain may take 5 minutes"
        found = wait_until(lambda: diagnose(env, ring.name, "--overdue", "1s").get("SHD209"), 20, "the shard hangs")
        assert found[0]["object"] == "leases hung/shard-a" and "secrets hung/s-" in found[0]["message"], found
        shards.release("shard-a")
        wait_well(env, ring, "--overdue", "1s")


@suite.case("a webhook configuration that is missing or changed", short=False)
def configurations(env):
    ring = env.ring("changed")
    with ring.shards("shard-a", duration=30, renew_every=2):
        ring.wait_ready(["shard-a"])
        name = f"controllerring-{ring.name}"
        with stopped_sharder(env):
            webhook = env.admin.get("mutatingwebhookconfigurations", None, name)["webhooks"][0]
            env.admin.patch("mutatingwebhookconfigurations", None, name,
                            {"webhooks": [{**webhook, "rules": webhook["rules"][:1]}]})
            found = diagnose(env, ring.name, expect=1)
            assert named(found, "SHD302", name)["message"].endswith(": rules"), found
            env.admin.delete("mutatingwebhookconfigurations", None, name)
            named(diagnose(env, ring.name, expect=1), "SHD301", name)
        ring.wait_webhook()
        wait_well(env, ring)


@suite.case("a certificate that the caBundle does not trust is named with the address that shows it", short=False)
def certificate(env):
    ring = env.ring("trust")
    with ring.shards("shard-a", duration=30, renew_every=2):
        ring.wait_ready(["shard-a"])
        other = pki.Authority(env.plane.folder / "other-pki", "another-ca").issue("webhook", "/CN=sharder", ["127.0.0.1"])
        volume = env.sharders.replicas[0].volume
        volume.publish(other.certificate.read_bytes(), other.key.read_bytes())
        try:
            found = wait_until(lambda: diagnose(env, ring.name).get("SHD303"), 30, "the sharder shows it")
            assert found[0]["object"].endswith(f"controllerring-{ring.name}"), found
            assert f"checked: the certificate that 127.0.0.1:{env.sharders.balancer_port} shows" in found[0]["message"], found
        finally:
            volume.publish(env.sharders.certificate, env.sharders.key)
        wait_well(env, ring)


@suite.case("before an installation; and what is not allowed is named while the rest is said: exit 3", short=False)
def before_and_forbidden(env):
    found = diagnose(env, "--pre", expect=0)
    assert set(found) == KNOWN, found
    refused = diagnose(env, "--pre", "--as", "nobody", expect=3)
    assert "you may not create deployments.apps" in named(refused, "SHD003", "deployments.apps")["message"], refused
    named(refused, "SHD402", "not allowed to get customresourcedefinitions")
    ring = env.ring("seen")
    env.admin.apply("clusterrolebindings", None, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "doctor-viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sharding:viewer"},
        "subjects": [{"kind": "User", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io"}]}, "e2e", force=True)
    viewed = wait_until(lambda: diagnose_quietly(env, ring.name, "--as", "viewer"), 20, "RBAC knows the viewer")
    for verb, resource in (("list", "secrets"), ("get", "mutatingwebhookconfigurations"), ("list", "pods"),
                           ("create", "subjectaccessreviews")):
        named(viewed, "SHD402", f"not allowed to {verb} {resource}")
    named(viewed, "SHD202", "controllerrings seen")  # what Leases show is said


def diagnose_quietly(env, *arguments):
    """None while nothing may be read at all."""
    try:
        return diagnose(env, *arguments, expect=3)
    except AssertionError:
        return None


@suite.case("a support bundle has what helps, the same names each time, and nothing of Secrets, annotations and bodies",
            short=False)
def bundle(env):
    ring = env.ring("bundled")
    with ring.shards("shard-a", duration=30, renew_every=2):
        ring.wait_ready(["shard-a"])
        env.admin.create("secrets", ring.namespace, {
            "metadata": {"name": "mine", "annotations": {"a": MARKER}}, "stringData": {"password": MARKER}})
        annotation = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": MARKER}}}
        env.admin.patch("controllerrings", None, ring.name, annotation)
        env.admin.patch("leases", ring.namespace, "shard-a", annotation)
        env.admin.patch("mutatingwebhookconfigurations", None, f"controllerring-{ring.name}", annotation)
        _create_pod(env)
        env.admin.patch("secrets", ring.namespace, "mine", {"metadata": {"labels": {ring.label: "never-was"}}})
        listings = []
        for number in range(2):
            path = env.plane.folder / f"bundle-{number}.tar.gz"
            run(env, "support-bundle", "--file", path)
            assert path.stat().st_mode & 0o777 == 0o600, oct(path.stat().st_mode)
            with tarfile.open(path) as archive:
                files = {member.name.partition("/")[2]: archive.extractfile(member).read().decode()
                         for member in archive.getmembers()}
            listings.append(sorted(files))
            for name, text in files.items():
                assert MARKER not in text, f"{name} has the marker"
        assert listings[0] == listings[1], listings
        assert {"version.json", "controllerrings.json", "leases.json", "webhook_configurations.json", "events.json",
                "status.json", "doctor.json", "incomplete.json", "sharder/pods.json",
                "sharder/deployments.json", "sharder/leases.json"} <= set(listings[0]), listings[0]
        configuration, = [one for one in json.loads(files["webhook_configurations.json"])["items"]
                          if one["metadata"]["name"] == f"controllerring-{ring.name}"]
        assert configuration["webhooks"][0]["clientConfig"]["caBundle"], configuration
        assert "(removed)" in files["sharder/pods.json"], files["sharder/pods.json"]
        assert "pods/log" in files["incomplete.json"], files["incomplete.json"]  # there is no kubelet
        assert json.loads(files["version.json"])["apiServer"]["gitVersion"], files["version.json"]
        env.admin.delete("pods", SYSTEM_NAMESPACE, "sharder-0", gracePeriodSeconds=0)


@suite.case("a replica that answers with another ring than the Leases is named, and so are two images", short=False)
def replicas(env):
    here = Machine().route_to("192.0.2.1")
    if here is None or is_loopback(here):
        raise Failed("this machine has no address that the API server's proxy goes to")
    ring = env.ring("agreed")
    with ring.shards("shard-a", "shard-b", duration=30, renew_every=2):
        ring.wait_ready(["shard-a", "shard-b"])
        relay_port, stray_port = free_ports(2)
        relay = Process("relay", ["/usr/bin/python3", ROOT / "tests" / "e2e" / "balancer.py", here, relay_port,
                                  env.plane.folder / "none", env.sharders.replicas[0].port],
                        env.plane.folder / "relay.log")
        relay.start()
        try:
            _create_pod(env, "sharder-0", address=here, port=relay_port)
            wait_well(env, ring)
            with _only_shard_a(env, here, stray_port):
                _create_pod(env, "sharder-1", image="sharder:other", address=here, port=stray_port)
                found = diagnose(env, ring.name, expect=1)
                one, = found["SHD502"]
                assert one["object"] == f"pods {SYSTEM_NAMESPACE}/sharder-1", one
                assert "asked for 8 keys, it answered 4" in one["message"], one
                assert "shard-a instead of shard-b" in one["message"], one
                assert "sharder:other" in named(found, "SHD503", "sharder-")["message"], found
                env.admin.delete("pods", SYSTEM_NAMESPACE, "sharder-1", gracePeriodSeconds=0)
            wait_well(env, ring)
        finally:
            env.admin.delete("pods", SYSTEM_NAMESPACE, "sharder-0", gracePeriodSeconds=0)
            relay.kill()


@contextlib.contextmanager
def _only_shard_a(env, address, port):
    """A webhook that knows one shard."""
    pair = pki.Authority(env.plane.folder / "stray-pki", "stray-ca").issue("webhook", "/CN=stray", [address])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ring = self.path.partition("?")[0].rpartition("/")[2]
            patch = [{"op": "add", "path": f"/metadata/labels/shard.alpha.sharding.timebertt.dev~1{ring}",
                      "value": "shard-a"}]
            body = json.dumps({**review, "response": {
                "uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode()}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(pair.certificate), str(pair.key))
    with http.server.ThreadingHTTPServer((address, port), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _create_pod(env, name="sharder-0", image="sharder", address=None, port=9443):
    """A pod of the sharder, which runs nowhere; with an address, the API server's proxy goes there."""
    env.admin.create("pods", SYSTEM_NAMESPACE, {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "sharder"}, "annotations": {"a": MARKER}},
        "spec": {"nodeName": "no-node", "automountServiceAccountToken": False, "serviceAccountName": "sharder",
                 "containers": [{"name": "sharder", "image": image, "env": [{"name": "TOKEN", "value": MARKER}],
                                 "ports": [{"name": "webhook", "containerPort": port}]}]}})
    if address:
        env.admin.patch("pods", SYSTEM_NAMESPACE, name, {"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}, subresource="status")


if __name__ == "__main__":
    suite.main()
