#!/usr/bin/python3
"""The library as it is installed: what is in it, that programs build against it and nothing else of the checkout, and
that the example of docs/controllers.md works with the permissions that the page grants. Uses `make build`.
`make package-test`."""

import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import binaries  # noqa: E402
import oracle  # noqa: E402
from control_plane import ControlPlane  # noqa: E402
from embedded_cluster import EmbeddedCluster  # noqa: E402
from kubeclient import Credentials  # noqa: E402
from processes import Process, free_ports, install_signal_handlers, wait_until  # noqa: E402
from sharder import Sharders, binary, metric  # noqa: E402

BUILD = ROOT / "build" / "release"
PAGE = (ROOT / "docs" / "controllers.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "disruption-budgets"
VERSION = re.search(r"project\(sharder VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
CXX = os.environ.get("CXX", "g++")
RING = "disruption-budgets"


def run(*command, **environment):
    """Its output; AssertionError when it fails."""
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=600,
                          env={**os.environ, **environment})
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
    return done.stdout


def install(prefix, *components):
    for component in components:
        run("cmake", "--install", BUILD, "--prefix", prefix, *(["--component", component] if component else []))


class Case(unittest.TestCase):
    """Has the library installed, in a folder of its own."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="sharder-package-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.prefix = cls.folder / "prefix"
        install(cls.prefix, "library", "development")
        cls.include = cls.prefix / "include" / "sharder"
        cls.headers = sorted(cls.include.glob("**/*.h"))
        (cls.library,) = cls.prefix.glob(f"lib/**/libsharder-shard.so.{VERSION}")

    @classmethod
    def sources(cls, folder, name):
        """A copy, so that nothing of the checkout is found beside it."""
        return shutil.copytree(folder, cls.folder / name)

    @classmethod
    def build(cls, sources):
        run("cmake", "-S", sources, "-B", sources / "build", f"-DCMAKE_PREFIX_PATH={cls.prefix}",
            f"-DCMAKE_CXX_COMPILER={CXX}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wmissing-field-initializers -Werror",
            "-DCMAKE_BUILD_TYPE=Debug")
        run("cmake", "--build", sources / "build")


class Contents(Case):
    def test_by_default_only_the_program_is_installed(self):
        prefix = self.folder / "default"
        install(prefix, "")
        files = {str(path.relative_to(prefix)) for path in prefix.glob("**/*") if path.is_file()}
        folders = ("share/sharder/manifests/", *(f"share/doc/sharder/{name}/" for name in (
            "install", "operate", "reference", "security")))
        self.assertEqual({name for name in files if not name.startswith(folders)},
                         {"bin/sharder", "bin/sharderctl", "bin/kubectl-sharder", "bin/kubectl_complete-sharder",
                          *(f"share/doc/sharder/{name}" for name in (
                              "README.md", "CHANGELOG.md", "operations.md", "migrate.md", "protocol.md", "sharderctl.md",
                              "copyright"))})

    def test_headers_include_the_standard_library_nlohmann_and_each_other(self):
        self.assertIn(self.include / "shard" / "shard.h", self.headers)
        for header in self.headers:
            text = header.read_text(encoding="utf-8")
            for kind, target in re.findall(r'#include ([<"])([^>"]+)[>"]', text):
                if kind == '"':
                    self.assertIn(self.include / target, self.headers, header)
                else:
                    self.assertTrue(target == "nlohmann/json.hpp" or re.fullmatch("[a-z_]+", target),
                                    f"{header} includes <{target}>")
            self.assertEqual({name.split("::")[0] for name in re.findall(r"^namespace ([\w:]+)", text, re.MULTILINE)},
                             {"sharder"}, header)

    def test_each_header_compiles_by_itself(self):
        for header in self.headers:
            source = self.folder / "one_header.cc"
            source.write_text(f'#include "{header.relative_to(self.include)}"\n', encoding="ascii")
            run(CXX, "-std=c++23", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", self.include, source)

    def test_the_library_exports_nothing_but_what_the_headers_declare(self):
        symbols = run("nm", "--dynamic", "--defined-only", "--demangle", self.library).splitlines()
        names = [line.split(" ", 2)[2] for line in symbols]
        self.assertTrue([name for name in names if name.startswith("sharder::shard::Shard::create")], names)
        allowed = re.compile(r"(vtable for |typeinfo (name )?for )?sharder::"
                             r"(Logger::(?!Sink)|SystemClock|BootClock::now\(|to_string\(|exception_text"
                             r"|shard::(Shard|Lease)::(?!Impl)|shard::(to_string|journal_to|owner_references)\b)")
        self.assertEqual([name for name in names if not allowed.match(name)], [])
        self.assertIn(f"[libsharder-shard.so.{VERSION.rpartition('.')[0]}]", run("readelf", "--dynamic", self.library))


class Programs(Case):
    def test_the_example_of_the_checkout_builds_from_the_package(self):
        self.build(self.sources(ROOT / "examples" / "checksum-controller", "checksum-controller"))

    def test_pkg_config_knows_the_flags(self):
        program = self.folder / "by-pkg-config"
        flags = run("pkg-config", "--cflags", "--libs", "sharder",
                    PKG_CONFIG_PATH=str(next(self.prefix.glob("lib/**/pkgconfig"))))
        run(CXX, "-std=c++23", self.sources(EXAMPLE, "flags") / "main.cc", "-o", program, *shlex.split(flags))
        done = subprocess.run([program], check=False, capture_output=True, text=True,
                              env={"LD_LIBRARY_PATH": str(self.library.parent), "KUBECONFIG": "/no/such/kubeconfig"})
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("/no/such/kubeconfig", done.stderr)

    def test_all_that_the_headers_declare_links_and_a_lease_can_be_held_alone(self):
        sources = self.folder / "uses"
        sources.mkdir()
        shutil.copy(Path(__file__).parent / "uses.cc", sources / "main.cc")
        shutil.copy(EXAMPLE / "CMakeLists.txt", sources)
        self.build(sources)
        program = sources / "build" / "disruption-budgets"
        run(program)
        cluster = self.enterContext(EmbeddedCluster())
        run(program, "hold", KUBECONFIG=str(cluster.kubeconfig))
        lease = cluster.admin.get("leases", "default", "lone")
        self.assertEqual(lease["metadata"]["labels"]["alpha.sharding.timebertt.dev/controllerring"], "lone-ring")
        self.assertEqual((lease["spec"].get("holderIdentity", ""), lease["spec"]["leaseDurationSeconds"]), ("", 1))

    def test_another_minor_version_is_not_taken(self):
        sources = self.folder / "newer"
        sources.mkdir()
        (sources / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(newer LANGUAGES CXX)\n"
                                                "find_package(sharder 0.99 REQUIRED)\n", encoding="ascii")
        with self.assertRaisesRegex(AssertionError, "compatible with requested version"):
            run("cmake", "-S", sources, "-B", sources / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")


class Example(Case):
    """docs/examples/disruption-budgets, built from the package."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        sources = cls.sources(EXAMPLE, "disruption-budgets")
        cls.build(sources)
        cls.program = sources / "build" / "disruption-budgets"

    def test_the_page_shows_these_files(self):
        shown = re.findall(r"^<!-- (\S+) -->\n```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        self.assertIn("examples/disruption-budgets/main.cc", [name for name, _ in shown])
        for name, text in shown:
            self.assertEqual(text, (ROOT / "docs" / name).read_text(encoding="utf-8"), name)
        self.assertLessEqual(len((EXAMPLE / "main.cc").read_text(encoding="utf-8").splitlines()), 60)

    def shard(self, name, kubeconfig):
        """One that is ready: its process, and the port of its metrics."""
        metrics, health = free_ports(2)
        process = Process(name, [self.program, name, f"127.0.0.1:{metrics}", f"127.0.0.1:{health}"],
                          Path(tempfile.mkdtemp(dir=self.folder)) / f"{name}.log",
                          {**os.environ, "KUBECONFIG": str(kubeconfig)}).start()
        self.addCleanup(process.kill)
        wait_until(lambda: get(health, "/readyz")[0] == 200, 60, f"{name} is ready", alive=process)
        return process, metrics

    def work(self, cluster, sharders, kubeconfig, lease_namespace):
        """Shards on a cluster with the ring: they reconcile, drain, end in order. The first one's /metrics."""
        process, metrics = self.shard("shard-a", kubeconfig)
        wait_until(lambda: cluster.admin.get("controllerrings", None, RING).get("status", {}).get("availableShards"),
                   60, "the ring has the shard", alive=sharders.replicas[0].process)
        labels = {"matchLabels": {"app": "web"}}
        later = oracle.Ring(["shard-a", "shard-b"])
        web = next(name for name in (f"web-{number}" for number in range(1000))
                   if later.owner(oracle.main_key("apps", "Deployment", "demo", name)) == "shard-b")
        cluster.admin.create("deployments", "demo", {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": web},
            "spec": {"replicas": 2, "selector": labels,
                     "template": {"metadata": {"labels": {"app": "web"}},
                                  "spec": {"containers": [{"name": "web", "image": "web"}]}}}})
        budget = wait_until(lambda: cluster.admin.find("poddisruptionbudgets", "demo", web), 60, "there is a budget",
                            alive=process)
        self.assertEqual((budget["spec"]["maxUnavailable"], budget["spec"]["selector"]), (1, labels))

        def assigned(shard):
            return all(oracle.shard_of(cluster.admin.get(resource, "demo", web), RING) == shard
                       for resource in ("deployments", "poddisruptionbudgets"))

        wait_until(lambda: assigned("shard-a"), 60, "Deployment and budget have the shard", alive=process)
        # Somebody changes it: the controller puts it right.
        cluster.admin.patch("poddisruptionbudgets", "demo", web, {"spec": {"maxUnavailable": 2}})
        wait_until(lambda: cluster.admin.get("poddisruptionbudgets", "demo", web)["spec"]["maxUnavailable"] == 1, 60,
                   "the budget is as it was", alive=process)
        wait_until(lambda: [event for event in cluster.admin.list("events", "demo")
                            if event["reason"] == "BudgetApplied"], 60, "there is an Event", alive=process)
        other, _ = self.shard("shard-b", kubeconfig)
        wait_until(lambda: assigned("shard-b"), 60, "they are drained and go to the shard that joins", alive=other)
        text = get(metrics, "/metrics")[1]
        for name, one in (("shard-a", process), ("shard-b", other)):
            one.ask_to_stop()
            self.assertEqual(one.wait(60), 0, one.log_end())
            lease = cluster.admin.get("leases", lease_namespace, name)
            self.assertEqual(lease["spec"].get("holderIdentity", ""), "")
            self.assertNotIn("forbidden", one.log.read_text(encoding="utf-8"))
        return text

    def test_it_works_and_has_the_metrics_of_the_page(self):
        cluster = self.enterContext(EmbeddedCluster())
        cluster.admin.create("namespaces", None, {"metadata": {"name": "demo"}})
        sharders = Sharders(cluster, count=1).start()
        self.addCleanup(sharders.stop)
        ring = next(yaml.safe_load_all((EXAMPLE / "ring.yaml").read_text(encoding="utf-8")))
        cluster.admin.create("controllerrings", None, ring)
        text = self.work(cluster, sharders, cluster.kubeconfig, "default")
        self.assertGreaterEqual(metric(text, "controller_runtime_reconcile_total", result="success"), 1)
        self.assertEqual(metric(text, "controller_sharding_shard_acknowledged_drains_total"), 1)
        exported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
        table = PAGE[PAGE.index("\n## Metrics"):]
        documented = set(re.findall(r"`([a-z_]+)`", " ".join(
            line.split("|")[1] for line in table[:table.index("\n## ", 1)].splitlines() if line.startswith("| `"))))
        self.assertEqual({name for name in exported if not name.startswith("process_")}, documented)

    def test_the_test_of_the_page_passes(self):
        environment = {"SHARDER_APISERVER": str(binary().parent / "sharder-apiserver"),
                       "PATH": f"{binaries.find()}:{os.environ['PATH']}"}
        run(EXAMPLE / "test.sh", self.program, **environment)

    def test_the_permissions_of_the_page_are_enough(self):
        cluster = self.enterContext(ControlPlane())
        cluster.install_manifests()
        cluster.admin.create("namespaces", None, {"metadata": {"name": "demo"}})
        for name in ("rbac.yaml", "ring.yaml"):
            cluster.kubectl("apply", "-f", EXAMPLE / name)
        for name in ("deployment.yaml", "statefulset.yaml"):
            cluster.kubectl("apply", "--dry-run=server", "-f", EXAMPLE / name)
        token = cluster.service_account_token(RING, RING)
        kubeconfig = cluster.write_kubeconfig(self.folder / "kubeconfig", Credentials(token=token))
        # As in a pod, where the namespace is the service account's.
        config = yaml.safe_load(kubeconfig.read_text(encoding="ascii"))
        config["contexts"][0]["context"]["namespace"] = RING
        kubeconfig.write_text(yaml.safe_dump(config), encoding="ascii")
        cluster.wait_allowed(token, verb="create", group="", resource="events", namespace="demo")
        cluster.wait_allowed(token, verb="create", group="coordination.k8s.io", resource="leases", namespace=RING)
        cluster.wait_allowed(cluster.service_account_token(), verb="watch", group="policy",
                             resource="poddisruptionbudgets")
        sharders = Sharders(cluster, count=1).start()
        self.addCleanup(sharders.stop)
        self.work(cluster, sharders, kubeconfig, RING)


def get(port, path):
    """(status, text); (0, reason) when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


if __name__ == "__main__":
    install_signal_handlers()
    unittest.main(verbosity=2, warnings="ignore")  # of sockets that the tests' client leaves open
