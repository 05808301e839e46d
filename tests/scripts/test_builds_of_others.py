#!/usr/bin/python3
"""What a stranger's build meets, tried on systems that are made up: scripts/deps.sh with stand-ins for dpkg-query and
apt-get, and the presets. Part of `make lint`."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BOOKWORM = {"libboost-dev": "1.74.0.3", "libboost1.81-dev": "1.81.0-5+deb12u1", "g++": "4:12.2.0-3", "cmake": "3.25.1-1"}
TRIXIE = {"libboost-dev": "1.83.0.2+b2", "libboost1.83-dev": "1.83.0-4.2", "g++": "4:14.2.0-1", "cmake": "3.31.6-2"}
BULLSEYE = {"libboost-dev": "1.74.0.3", "g++": "4:10.2.1-1", "cmake": "3.18.4-2"}
ALTERNATIVE = ("libboost-dev", "libboost1.81-dev", "g++", "cmake")
OTHERS = ("ninja-build pkg-config libcurl4-openssl-dev libssl-dev libsimdjson-dev libprotozero-dev nlohmann-json3-dev "
          "libxxhash-dev libyaml-dev libzstd-dev zlib1g-dev libspdlog-dev prometheus-cpp-dev "
          "libcpp-httplib-dev ccache").split()


class System:
    """A PATH whose dpkg-query and apt-cache tell of `installed` and `offered`, {name: version}."""

    def __init__(self, folder, installed, offered):
        self.folder, self.calls = Path(folder), Path(folder) / "calls"
        self.calls.touch()
        lines = [f"ii  {name}:amd64 {version}" for name, version in installed.items()] + ["rc  cmake 9"]
        self._program("dpkg-query", "\n".join(f"echo '{line}'" for line in lines))
        policies = {name: offered.get(name, "(none)") for name in (*ALTERNATIVE, *OTHERS)}
        cases = "\n".join(f"{name}) printf '%s:\\n  Installed: (none)\\n  Candidate: %s\\n' $name '{version}';;"
                          for name, version in policies.items())
        self._program("apt-cache", f"shift; for name; do case $name in\n{cases}\nesac; done")
        self._program("apt-get", f"echo \"$*\" >>{self.calls}")
        self._program("sudo", 'exec "$@"')

    def _program(self, name, body):
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="ascii")
        path.chmod(0o755)

    def deps(self, *groups, path=None, **environment):
        """(exit code, names that were installed, all that was said) of deps.sh."""
        done = subprocess.run(["/bin/bash", ROOT / "scripts" / "deps.sh", *groups], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={"PATH": path or f"{self.folder}:{os.environ['PATH']}", **environment})
        installs = [line.split() for line in self.calls.read_text(encoding="ascii").splitlines() if "install" in line]
        names = {word for words in installs for word in words[words.index("install") + 1:]
                 if not word.startswith(("-", "DPkg"))}
        return done.returncode, names, done.stdout


class Deps(unittest.TestCase):
    def system(self, installed, offered):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return System(folder.name, installed, offered | {name: "99" for name in OTHERS})

    def test_package_names_follow_the_distribution(self):
        for offered, boost in ((BOOKWORM, "libboost1.81-dev"), (TRIXIE, "libboost-dev")):
            code, names, said = self.system({}, offered).deps("build")
            self.assertEqual((code, names), (0, {boost, "g++", "cmake", *OTHERS}), said)

    def test_an_installed_library_that_is_too_old_does_not_count(self):
        installed = {name: "99" for name in OTHERS} | {name: BOOKWORM[name] for name in ("g++", "cmake", "libboost-dev")}
        self.assertEqual(self.system(installed, BOOKWORM).deps("build")[:2], (0, {"libboost1.81-dev"}))

    def test_nothing_missing_asks_nobody(self):
        for have in (BOOKWORM, TRIXIE):
            system = self.system({name: "99" for name in OTHERS} | have, {})
            self.assertEqual(system.deps("build"), (0, set(), ""))
            self.assertEqual(system.calls.read_text(encoding="ascii"), "")

    def test_a_system_that_is_too_old_is_told_all_that_it_lacks(self):
        code, names, said = self.system({}, BULLSEYE).deps("build")
        self.assertEqual((code, names), (1, set()))
        self.assertIn("does not offer g++>=4:12 cmake>=3.25 libboost-dev>=1.81|libboost1.81-dev; Debian 12 and 13 do", said)

    def test_a_system_without_apt_is_told_what_is_needed(self):
        system = self.system({}, {})
        code, _, said = system.deps("build", path="/nowhere")
        self.assertEqual(code, 1)
        self.assertIn("has no apt. Install what Debian calls: g++>=4:12 cmake>=3.25 ninja-build", said)
        self.assertEqual(system.deps("build", path="/nowhere", SHARDER_DEPS="installed")[::2], (0, ""))


class Presets(unittest.TestCase):
    def test_a_warning_stops_the_projects_own_builds_only(self):
        presets = {one["name"]: one for one in json.loads((ROOT / "CMakePresets.json").read_text("utf-8"))["configurePresets"]}

        def strict(one):
            own = one.get("cacheVariables", {}).get("CMAKE_COMPILE_WARNING_AS_ERROR")
            return own or strict(presets[one["inherits"]])

        self.assertEqual({name: strict(one) for name, one in presets.items() if not one.get("hidden")},
                         dict.fromkeys(("release", "bench", "debug"), "$env{SHARDER_WERROR}")
                         | dict.fromkeys(("asan", "tsan"), "ON"))
        for path in (ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir()):
            self.assertNotIn("-Werror", path.read_text(encoding="utf-8"), path)


class Commit(unittest.TestCase):
    """cmake/WriteCommit.cmake, in a folder that is a repository or not."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.source = Path(folder.name).resolve() / "source"
        self.output = self.source / "build" / "commit.cc"
        self.output.parent.mkdir(parents=True)
        (self.source / "file").write_text("1", encoding="ascii")

    def write(self, *defined, **environment):
        """(exit code, the commit that was written, all that was said)"""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "SHARDER_"))}
        done = subprocess.run(
            ["cmake", f"-DSOURCE={self.source}", f"-DOUTPUT={self.output}", *defined, "-P",
             ROOT / "cmake" / "WriteCommit.cmake"],
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**clean, **environment})
        text = self.output.read_text(encoding="ascii") if self.output.exists() else ""
        return done.returncode, "".join(re.findall(r'kCommit = "(.*)";', text)), done.stdout

    def repository(self, folder):
        """Makes a repository with one commit of it; that commit."""
        git = ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
        for command in (["init", "--quiet"], ["add", "--all", "--", ":!*build*"], ["commit", "--quiet", "-m", "x"],
                        ["tag", "v1"]):
            subprocess.run([*git, *command], check=True)
        return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    def test_it_comes_from_git(self):
        commit = self.repository(self.source)
        self.assertEqual(self.write(), (0, commit, ""))
        (self.source / "file").write_text("2", encoding="ascii")
        self.assertEqual(self.write(), (0, commit + "-dirty", ""))

    def test_what_is_given_comes_first(self):
        self.repository(self.source)
        self.assertEqual(self.write(SHARDER_COMMIT="b"), (0, "b", ""))
        self.assertEqual(self.write("-DCOMMIT=a", SHARDER_COMMIT="b"), (0, "a", ""))

    def test_without_git_it_is_unknown_even_inside_another_repository(self):
        self.repository(self.source.parent)
        self.assertEqual(self.write(), (0, "unknown", ""))

    def test_an_unchanged_commit_compiles_nothing(self):
        self.write(SHARDER_COMMIT="b")
        os.utime(self.output, (1, 1))
        self.write(SHARDER_COMMIT="b")
        self.assertEqual(self.output.stat().st_mtime, 1)
        self.write(SHARDER_COMMIT="c")
        self.assertGreater(self.output.stat().st_mtime, 1)

    def test_a_value_that_is_no_commit_stops_the_build(self):
        code, commit, said = self.write(SHARDER_COMMIT='a";b')
        self.assertEqual((code, commit), (1, ""))
        self.assertIn("SHARDER_COMMIT: want letters", said)


if __name__ == "__main__":
    unittest.main()
