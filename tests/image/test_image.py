#!/usr/bin/python3
"""The image that `make image` built: what is in it, what is not, and that it runs as manifests/ runs it.

`make image-test`. $IMAGE names the image; the default is sharder:VERSION. The list of its packages (SBOM, SPDX JSON) is
made by syft, which is built from its Go module once, and stays in build/image/.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import binaries  # noqa: E402
from pki import Authority  # noqa: E402

VERSION = re.search(r"project\(sharder VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
IMAGE = os.environ.get("IMAGE") or f"sharder:{VERSION}"
SYFT = ("github.com/anchore/syft", "1.57.1", "cmd/syft")
PROGRAMS = ("sharder", "sharderctl")
USER = 65532
# As in manifests/sharder/deployment.yaml.
RESTRICTED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")

CONFIG = """\
apiVersion: config.sharding.timebertt.dev/v1alpha1
kind: SharderConfig
metrics: {bindAddress: "0"}
webhook: {server: {certDir: /work/certs}}
shutdownDelay: 0s
"""
# Nobody is there: the sharder starts, and is not ready.
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: x, user: {token: x}}]
contexts: [{name: x, context: {cluster: x, user: x}}]
current-context: x
"""


def docker(*arguments, check=True):
    done = subprocess.run(["docker", *map(str, arguments)], check=False, capture_output=True, text=True, timeout=300)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done


def run(*arguments, flags=(), check=True):
    return docker("run", "--rm", "--network", "none", *RESTRICTED, *flags, IMAGE, *arguments, check=check)


def spdx(folder):
    """The SBOM of the image, by syft, as a dictionary."""
    archive = folder / "image.tar"
    docker("save", "-o", archive, IMAGE)
    output = ROOT / "build" / "image" / f"sharder-{VERSION}.spdx.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([binaries.tool(*SYFT), "scan", f"docker-archive:{archive}", "--output", f"spdx-json={output}",
                    "--source-name", "sharder", "--source-version", VERSION],
                   check=True, timeout=300, capture_output=True,
                   env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false", "TMPDIR": str(folder)})
    archive.unlink()
    return json.loads(output.read_text(encoding="utf-8"))


def files_of_packages(sbom):
    """{file: (package, version)} of the Debian packages in an SBOM, as its own relationships say."""
    packages = {}
    for one in sbom["packages"]:
        purls = [ref["referenceLocator"] for ref in one.get("externalRefs", ()) if ref["referenceType"] == "purl"]
        if any(purl.startswith("pkg:deb/debian/") for purl in purls):
            packages[one["SPDXID"]] = (one["name"], one["versionInfo"])
    names = {one["SPDXID"]: one["fileName"].lstrip("/") for one in sbom.get("files", ())}
    return {names[one["relatedSpdxElement"]]: packages[one["spdxElementId"]] for one in sbom["relationships"]
            if one["relationshipType"] == "CONTAINS" and one["spdxElementId"] in packages
            and one["relatedSpdxElement"] in names}


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if docker("image", "inspect", IMAGE, check=False).returncode:
            raise AssertionError(f"there is no image {IMAGE}: make image builds it")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.folder.chmod(0o755)
        cls.config = json.loads(docker("image", "inspect", IMAGE).stdout)[0]["Config"]
        # All that is in it, without what docker mounts.
        container = docker("create", "--network", "none", IMAGE).stdout.strip()
        cls.addClassCleanup(docker, "rm", "-f", container)
        exported = cls.folder / "root.tar"
        docker("export", "-o", exported, container)
        with tarfile.open(exported) as archive:
            cls.members = {member.name: member for member in archive}
            cls.contents = {name: archive.extractfile(member).read() for name, member in cls.members.items()
                            if member.isfile()}
        exported.unlink()

    @classmethod
    def resolved(cls, path):
        """The file that a path of the image leads to."""
        path = path.lstrip("/")
        for _ in range(20):
            parts = Path(path).parts
            for count in range(1, len(parts) + 1):
                prefix = "/".join(parts[:count])
                member = cls.members.get(prefix)
                if member is not None and member.issym():
                    link = member.linkname
                    start = "" if link.startswith("/") else "/".join(parts[:count - 1])
                    path = os.path.normpath("/".join(["", start, link.lstrip("/"), *parts[count:]])).lstrip("/")
                    break
            else:
                return path
        raise AssertionError(f"{path} leads nowhere")

    @classmethod
    def loader(cls):
        return cls.resolved(next(name for name in cls.members if re.search(r"/ld-linux[^/]*\.so\.\d$", name)))

    @classmethod
    def libraries(cls):
        """{what the programs need: its file in the image}, as the image's own loader says; it is what ldd runs."""
        listed = "".join(docker("run", "--rm", "--network", "none", "--entrypoint", f"/{cls.loader()}", IMAGE, "--list",
                                f"/{program}").stdout for program in PROGRAMS)
        assert "not found" not in listed, listed
        found = {line.split()[0]: line.split(" => ")[1].split()[0] for line in listed.splitlines() if " => " in line}
        found |= {line.split()[0]: line.split()[0] for line in listed.splitlines() if re.match(r"\s*/", line)}
        return {name: cls.resolved(path) for name, path in found.items()}

    # -- what it is

    def test_it_prints_its_version_without_a_right_or_a_place_to_write(self):
        lines = dict(line.split(" ", 1) for line in run("--version").stdout.splitlines())
        labels = self.config["Labels"]
        self.assertEqual(lines["sharder"], VERSION)
        self.assertEqual(lines["sharder"], labels["org.opencontainers.image.version"])
        self.assertEqual(lines["commit"], labels["org.opencontainers.image.revision"])
        self.assertEqual(labels["org.opencontainers.image.licenses"], "Apache-2.0")
        for name in ("title", "description"):
            self.assertTrue(labels[f"org.opencontainers.image.{name}"])
        self.assertNotIn("", labels.values())
        self.assertNotIn("org.opencontainers.image.created", {} if os.environ.get("CREATED") else labels)

    def test_it_runs_as_a_user_without_rights(self):
        self.assertEqual((self.config["User"], self.config["Entrypoint"]), (f"{USER}:{USER}", ["/sharder"]))
        certs = self.folder / "work" / "certs"
        pair = Authority(self.folder / "authority").issue("tls", "/CN=x", ("sharder",), certs)
        pair.key.chmod(0o644)
        (certs.parent / "config.yaml").write_text(CONFIG, encoding="ascii")
        (certs.parent / "kubeconfig").write_text(KUBECONFIG, encoding="ascii")
        container = docker("run", "-d", "-p", "127.0.0.1::8081", *RESTRICTED, "-v", f"{certs.parent}:/work:ro", IMAGE,
                           "--config", "/work/config.yaml", "--kubeconfig", "/work/kubeconfig").stdout.strip()
        try:
            port = docker("port", container, "8081/tcp").stdout.strip()
            deadline = time.monotonic() + 30
            while (status := self.get(f"http://{port}/healthz")[0]) != 200:
                self.assertLess(time.monotonic(), deadline, f"{status}: {docker('logs', container).stderr}")
                time.sleep(0.1)
            self.assertEqual(self.get(f"http://{port}/readyz")[0], 503)
            processes = docker("top", container, "-o", "pid,uid,gid,args").stdout.splitlines()[1:]
            self.assertEqual([line.split()[1:4] for line in processes], [[str(USER), str(USER), "/sharder"]])
            docker("stop", "-t", "30", container)
            state = json.loads(docker("inspect", container).stdout)[0]["State"]
            self.assertEqual(state["ExitCode"], 0, docker("logs", container).stderr)
        finally:
            docker("rm", "-f", container)

    @staticmethod
    def get(url):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return None, error

    def test_sharderctl_runs_in_an_image_that_has_nothing(self):
        """As a hook of a container of somebody else's image, with the files of ours in a folder (docs/sharderctl.md)."""
        context = self.folder / "hook"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY --from={IMAGE} / /opt/sharder/\n", encoding="ascii")
        image = f"{IMAGE.rpartition(':')[0]}-hook:test"
        docker("build", "-t", image, context)
        try:
            done = docker("run", "--rm", "--network", "none", *RESTRICTED, image, f"/opt/sharder/{self.loader()}",
                          "--library-path", f"/opt/sharder/{Path(self.libraries()['libc.so.6']).parent}",
                          "/opt/sharder/sharderctl", "version", "--client", "-o", "json")
            self.assertEqual(json.loads(done.stdout)["version"], VERSION)
        finally:
            docker("rmi", image)

    # -- what is in it

    def test_it_has_no_programs_but_ours(self):
        programs = [name for name, content in self.contents.items()
                    if content.startswith((b"\x7fELF", b"#!")) and not re.search(r"\.so(\.|$)", name)]
        self.assertCountEqual(programs, PROGRAMS)
        # What is empty, docker has put there for its mounts.
        executable = [name for name, content in self.contents.items()
                      if content and self.members[name].mode & 0o111 and not re.search(r"\.so(\.|$)", name)]
        self.assertCountEqual(executable, PROGRAMS)
        for shell in ("/bin/sh", "sh", "/bin/bash", "/usr/bin/dpkg", "/usr/bin/apt-get"):
            done = run("-c", "true", flags=("--entrypoint", shell), check=False)
            self.assertIn(done.returncode, (126, 127), done)
            self.assertIn("no such file or directory" if "/" in shell else "not found", done.stderr)

    def test_nobody_but_root_can_change_it(self):
        for name, member in self.members.items():
            self.assertEqual((member.uid, member.gid, member.mode & 0o6000), (0, 0, 0), name)
            if not member.issym() and name.rstrip("/") != "tmp" and not name.startswith(("dev/", "proc/", "sys/")):
                self.assertEqual(member.mode & 0o022, 0, name)
        self.assertEqual(self.members["tmp"].mode & 0o7777, 0o1777)

    def test_it_has_exactly_the_libraries_that_the_programs_need(self):
        there = {name for name, member in self.members.items() if member.isfile() and re.search(r"\.so(\.|$)", name)}
        self.assertGreater(len(there), 10)
        self.assertEqual(set(self.libraries().values()), there)

    def test_it_has_the_authorities_that_everybody_trusts(self):
        bundle = self.contents["etc/ssl/certs/ca-certificates.crt"]
        single = [name for name in self.contents if re.fullmatch(r"etc/ssl/certs/[0-9a-f]{8}\.\d", name)]
        self.assertGreater(len(single), 100)
        self.assertEqual(len(single), bundle.count(b"-----BEGIN CERTIFICATE-----"))

    def test_each_package_comes_with_its_licence(self):
        packages = [Path(name).name for name in self.contents
                    if name.startswith("var/lib/dpkg/status.d/") and not name.endswith(".md5sums")]
        self.assertGreater(len(packages), 10)
        for package in (*packages, "sharder"):
            self.assertIn(self.resolved(f"usr/share/doc/{package}/copyright"), self.contents)

    # -- its SBOM

    def test_the_sbom_lists_the_package_of_each_library(self):
        listed = files_of_packages(spdx(self.folder))
        libraries = self.libraries()
        self.assertEqual([name for name, path in libraries.items() if path not in listed], [])
        for name, path in libraries.items():
            package, version = listed[path]
            stanza = self.contents[f"var/lib/dpkg/status.d/{package}"].decode()
            self.assertIn(f"\nVersion: {version}\n", stanza, name)
        owners = {listed[path] for path in libraries.values()}
        print(f"\n{len(libraries)} libraries of {len(owners)} packages, all of them in the SBOM, which lists "
              f"{len(set(listed.values()))} packages with files")


if __name__ == "__main__":
    if not shutil.which("docker"):
        sys.exit("test_image.py: there is no docker command")
    unittest.main(verbosity=2)
