#!/usr/bin/python3
"""scripts/release.sh: what is in the tarball and the .debs, and that signatures hold: against a registry on loopback,
with a key made here. `make release-test`.

cosign and the registry are built from their Go modules once. The .deb is installed in $BUILD_BASE, when it is set.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import binaries  # noqa: E402
from processes import free_ports  # noqa: E402

VERSION = re.search(r"project\(sharder VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
IMAGE = os.environ.get("IMAGE") or f"sharder:{VERSION}"
COSIGN = ("github.com/sigstore/cosign/v2", "2.6.5", "cmd/cosign")
REGISTRY = ("github.com/distribution/distribution/v3", "3.1.2", "cmd/registry")
OUT = ROOT / "build" / f"release-{VERSION}"


def run(*command, **environment):
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=600,
                          env={**os.environ, "COSIGN_PASSWORD": "", **environment})


def release(**environment):
    clean = {name: "" for name in ("IMAGE", "COSIGN_KEY", "COSIGN")}
    return run(ROOT / "scripts" / "release.sh", **{**clean, "ALLOW_DIRTY": "1", **environment})


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.cosign = str(binaries.tool(*COSIGN))
        for name in ("ours", "other"):
            (cls.folder / name).mkdir()
            subprocess.run([cls.cosign, "generate-key-pair"], cwd=cls.folder / name, check=True, capture_output=True,
                           env={**os.environ, "COSIGN_PASSWORD": ""})
        cls.key, cls.other = (cls.folder / name / "cosign.key" for name in ("ours", "other"))

    def test_the_tarball_and_the_deb_have_program_manifests_and_licence(self):
        done = release()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        (tarball,), (deb,) = OUT.glob("*.tar.gz"), OUT.glob("sharder_*.deb")
        for line in (OUT / "SHA256SUMS").read_text(encoding="ascii").splitlines():
            digest, name = line.split()
            self.assertEqual(hashlib.sha256((OUT / name).read_bytes()).hexdigest(), digest)
        with tarfile.open(tarball) as archive:
            names = archive.getnames()
        listed = [line.split()[-1] for line in run("dpkg-deb", "-c", deb).stdout.splitlines()]
        for path in ("bin/sharder", "bin/sharderctl", "bin/kubectl-sharder", "share/sharder/manifests/kustomization.yaml", "share/doc/sharder/copyright"):
            self.assertEqual([name for name in names if name.endswith("/" + path)],
                             [f"{tarball.name.removesuffix('.tar.gz')}/{path}"], names)
            self.assertIn(f"./usr/{path}", listed)
        fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", deb).stdout.splitlines() if ": " in line)
        self.assertEqual((fields["Package"], fields["Version"]), ("sharder", VERSION))
        for package in ("libcurl4", "libssl3", "libc6", "ca-certificates"):
            self.assertIn(package, fields["Depends"])

    def test_the_library_has_packages_of_its_own(self):
        self.assertEqual(release().returncode, 0)
        minor = VERSION.rpartition(".")[0]
        library, development = f"libsharder-shard{minor}", "libsharder-dev"
        packages = {run("dpkg-deb", "-f", deb, "Package").stdout.strip(): deb for deb in OUT.glob("*.deb")}
        self.assertEqual(set(packages), {"sharder", library, development})
        sums = (OUT / "SHA256SUMS").read_text(encoding="ascii")
        for name, file, depends in ((library, f"lib/libsharder-shard.so.{minor}", "libcurl4"),
                                    (development, "lib/libsharder-shard.so", f"{library} (= {VERSION})"),
                                    (development, "include/sharder/shard/shard.h", "nlohmann-json3-dev"),
                                    (development, "lib/cmake/sharder/sharderConfig.cmake", ""),
                                    (development, "lib/pkgconfig/sharder.pc", "")):
            self.assertIn(f" ./usr/{file}", run("dpkg-deb", "-c", packages[name]).stdout)
            self.assertIn(depends, run("dpkg-deb", "-f", packages[name], "Depends").stdout)
            self.assertIn(packages[name].name, sums)

    def test_the_deb_installs_and_runs(self):
        base = os.environ.get("BUILD_BASE")
        if not base:
            self.skipTest("BUILD_BASE names no image to install it in")
        self.assertEqual(release().returncode, 0)
        (deb,) = OUT.glob("sharder_*.deb")
        done = run("docker", "run", "--rm", "-v", f"{OUT}:/out:ro", base, "sh", "-c",
                   f"apt-get update -qq && apt-get install -y -qq --no-install-recommends /out/{deb.name} >&2 && "
                   "sharder --version")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[0], f"sharder {VERSION}")

    def test_files_and_image_are_signed(self):
        registry = binaries.tool(*REGISTRY)
        (port,) = free_ports(1)
        config = self.folder / "registry.yaml"
        config.write_text("version: 0.1\nlog: {level: warn}\nhttp: {addr: 127.0.0.1:%d}\n"
                          "storage: {filesystem: {rootdirectory: %s}}\n" % (port, self.folder / "registry"),
                          encoding="ascii")
        process = subprocess.Popen([registry, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
                break
            except OSError:
                self.assertLess(time.monotonic(), deadline, "the registry does not answer")
                time.sleep(0.1)
        pushed = f"127.0.0.1:{port}/platform/sharder:{VERSION}"
        tagged = run("docker", "tag", IMAGE, pushed)
        self.assertEqual(tagged.returncode, 0, f"{tagged.stderr.strip()}; make image builds {IMAGE}")
        self.addCleanup(run, "docker", "rmi", pushed)
        done = release(IMAGE=pushed, COSIGN_KEY=str(self.key), COSIGN=self.cosign)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

        public = OUT / "sharder.pub"
        digest = (OUT / "IMAGE_DIGEST").read_text(encoding="ascii").strip()
        self.assertRegex(digest, rf"^127\.0\.0\.1:{port}/platform/sharder@sha256:[0-9a-f]{{64}}$")
        other = self.other.with_suffix(".pub")

        def verified(what, *options, key=public):
            done = run(self.cosign, what, "--key", key, "--insecure-ignore-tlog=true", *options)
            return done.returncode == 0

        self.assertTrue(verified("verify", digest))
        self.assertTrue(verified("verify", pushed))
        self.assertFalse(verified("verify", digest, key=other))
        sums, signature = OUT / "SHA256SUMS", OUT / "SHA256SUMS.sig"
        self.assertTrue(verified("verify-blob", "--signature", signature, sums))
        self.assertFalse(verified("verify-blob", "--signature", signature, sums, key=other))
        changed = self.folder / "changed"
        changed.write_bytes(sums.read_bytes() + b"\n")
        self.assertFalse(verified("verify-blob", "--signature", signature, changed))

    def test_what_is_missing_is_named(self):
        for wanted, environment in (
                ("name the key with COSIGN_KEY", {"IMAGE": "x/y:1"}),
                ("there is no no-such-cosign: go install", {"COSIGN_KEY": str(self.key), "COSIGN": "no-such-cosign"}),
                ("cannot read the key /no/such.key", {"COSIGN_KEY": "/no/such.key", "COSIGN": self.cosign}),
                ("cannot push 127.0.0.1:1/x:1", {"IMAGE": "127.0.0.1:1/x:1", "COSIGN_KEY": str(self.key),
                                                 "COSIGN": self.cosign})):
            done = release(**environment)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn(wanted, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
