#!/usr/bin/python3
"""Gets the programs of a Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager, kubectl.

Looks in $KUBEBUILDER_ASSETS, then in ${XDG_CACHE_HOME:-~/.cache}/sharder-tests/k8s-VERSION/bin, and else builds them
there from their Go modules. A `go` that is too old (Debian 12 has 1.19) only fetches the right toolchain, which is a Go
module too. By hand: `binaries.py` prints the folder.

$K8S_VERSION and $ETCD_VERSION choose other versions, $SHARDER_GO_VERSION the toolchain to build with.
"""

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

K8S_VERSION = "1.36.3"
ETCD_VERSION = "3.6.8"
GO_VERSION = "1.26.8"  # builds every Kubernetes that asks for this Go or an older one

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NEEDED_BYTES = 6 << 30  # modules, build cache and programs of a build from nothing take 4.5 GB


class Unavailable(Exception):
    """The programs cannot be had; the message says what to do."""


def find(k8s_version=None, etcd_version=None, say=lambda line: print(line, file=sys.stderr, flush=True)):
    """The folder with PROGRAMS in it; builds them when nobody has them. Safe to call from several processes at once."""
    k8s_version = k8s_version or os.environ.get("K8S_VERSION") or K8S_VERSION
    etcd_version = etcd_version or os.environ.get("ETCD_VERSION") or ETCD_VERSION
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        missing = _missing(Path(assets))
        if not missing:
            return Path(assets)
        say(f"KUBEBUILDER_ASSETS={assets} has no {', '.join(missing)}: not used")

    cache = _cache_dir() / f"k8s-{k8s_version}"
    if not _missing(cache / "bin"):
        return cache / "bin"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with _lock(cache.parent / f"{cache.name}.lock", say):
        if _missing(cache / "bin"):  # nobody built them while we waited
            _build(cache, k8s_version, etcd_version, say)
    return cache / "bin"


def tool(module, version, package, name=None, sums="", say=lambda line: print(line, file=sys.stderr, flush=True)):
    """The program of a Go module's main package, such as ("github.com/anchore/syft", "1.2.3", "cmd/syft"); built once.
    `name`: under which it is kept, if not that of its package. `sums`: the module's lines of go.sum, where the public
    database of checksums does not have it."""
    path = f"{module}/{package}" if package else module
    name = name or path.rsplit("/", 1)[-1]
    cache = _cache_dir() / f"{name}-{version}"
    program = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache.parent / f"{cache.name}.lock", say):
        if not os.access(program, os.X_OK):
            say(f"building {name} {version} from its Go module into {cache}, once")
            with tempfile.TemporaryDirectory(prefix=f".{cache.name}-", dir=cache.parent) as scratch_name:
                scratch = Path(scratch_name)
                go = _Go(scratch, say)
                if sums:
                    go.environment["GONOSUMDB"] = module
                go_mod = go.go_mod_of(f"{module}@v{version}")
                folder = _module(scratch / name, go_mod, f"{module}@v{version}", [path], "")
                if sums:
                    (folder / "go.sum").write_text(sums, encoding="ascii")
                go.use(_go_version(go_mod), say)
                go.run(folder, "build", "-trimpath", "-ldflags", f"-s -w -X main.version={version}", "-o",
                       str(scratch / "built"), path)
                (scratch / "built").rename(program)
    return program


def sources(module, version, sums=""):
    """The folder with a Go module's files, which nobody may change."""
    with tempfile.TemporaryDirectory() as scratch:
        go = _Go(Path(scratch), say=None)
        if sums:
            go.environment["GONOSUMDB"] = module
        told = go.download(f"{module}@v{version}")
    if sums and f"{module} v{version} {told['Sum']}\n" not in sums:
        raise Unavailable(f"{module} v{version} has the checksum {told['Sum']}, which is not the one that is expected")
    return Path(told["Dir"])


def build(folder, program, say=lambda line: print(line, file=sys.stderr, flush=True)):
    """Builds the Go program of a folder that has a go.mod and a go.sum."""
    with tempfile.TemporaryDirectory() as scratch:
        go = _Go(Path(scratch), say)
        go.environment["GOFLAGS"] = "-mod=readonly -buildvcs=false"
        go.use(_go_version((folder / "go.mod").read_text(encoding="ascii")), say)
        go.run(folder, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(program), ".")


def _missing(folder):
    return [program for program in PROGRAMS if not os.access(folder / program, os.X_OK)]


def _cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "sharder-tests"


@contextlib.contextmanager
def _lock(path, say):
    with open(path, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is building a control plane: waiting for it ({path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(cache, k8s_version, etcd_version, say):
    free = shutil.disk_usage(cache.parent).free
    if free < NEEDED_BYTES:
        raise Unavailable(f"{cache.parent} has {free >> 20} MiB free, a build of the control plane needs "
                          f"{NEEDED_BYTES >> 20} MiB")
    say(f"building etcd {etcd_version} and Kubernetes {k8s_version} from their Go modules into {cache}/bin, once: "
        "about 6 minutes on 2 cores with an empty cache (1 GB of modules and toolchain to fetch)")
    began = time.monotonic()
    # Beside the destination, so that the last step is one rename: the folder is there whole or not at all.
    with tempfile.TemporaryDirectory(prefix=f".{cache.name}-", dir=cache.parent) as scratch_name:
        scratch = Path(scratch_name)
        output = scratch / "k8s" / "bin"
        output.mkdir(parents=True)
        go = _Go(scratch, say)
        major, minor = k8s_version.split(".")[:2]
        package = "k8s.io/component-base/version"
        _build_kubernetes(go, scratch, output, k8s_version,
                          f"-s -w -X {package}.gitVersion=v{k8s_version} -X {package}.gitMajor={major} "
                          f"-X {package}.gitMinor={minor}", say)
        _build_etcd(go, scratch, output, etcd_version, say)
        if cache.exists():  # incomplete: find() looked
            shutil.rmtree(cache)
        (scratch / "k8s").rename(cache)
    say(f"built in {time.monotonic() - began:.0f} s: {cache}/bin")


def _build_kubernetes(go, scratch, output, version, ldflags, say):
    """k8s.io/kubernetes replaces its own libraries by folders of its repository; their published versions stand in."""
    module = f"k8s.io/kubernetes@v{version}"
    go_mod = go.go_mod_of(module)
    libraries = sorted(set(re.findall(r"^\s*(?:replace )?(k8s\.io/[\w.-]+) => \./staging", go_mod, re.MULTILINE)))
    if not libraries:
        raise Unavailable(f"the go.mod of {module} does not replace its libraries as expected")
    library_version = "v0." + version.split(".", 1)[1]
    replaced = "".join(f"\t{name} => {name} {library_version}\n" for name in libraries)
    commands = [f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-controller-manager", "kubectl")]
    folder = _module(scratch / "kubernetes", go_mod, module, commands, f"\nreplace (\n{replaced})\n")
    say("compiling kube-apiserver, kube-controller-manager and kubectl")
    go.use(_go_version(go_mod), say)
    go.run(folder, "build", "-trimpath", "-ldflags", ldflags, "-o", f"{output}/", *commands)


def _build_etcd(go, scratch, output, version, say):
    module = f"go.etcd.io/etcd/server/v3@v{version}"
    go_mod = go.go_mod_of(module)
    folder = _module(scratch / "etcd", go_mod, module, ["go.etcd.io/etcd/server/v3"], "")
    say("compiling etcd")
    go.use(_go_version(go_mod), say)
    go.run(folder, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(output / "etcd"), "go.etcd.io/etcd/server/v3")


def _module(folder, their_go_mod, module, packages, more):
    """A throw-away module that requires `module` and imports its main packages, so that go finds their versions."""
    folder.mkdir()
    name, version = module.split("@")
    (folder / "go.mod").write_text(
        f"module controlplane\n\ngo {_go_version(their_go_mod)}\n\nrequire {name} {version}\n{more}", encoding="ascii")
    imports = "".join(f'\t_ "{package}"\n' for package in packages)
    (folder / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports})\n", encoding="ascii")
    return folder


def _go_version(go_mod):
    """The Go that a go.mod asks for, "1.26.0"."""
    match = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?", go_mod, re.MULTILINE)
    if not match:
        raise Unavailable("a go.mod without a go line")
    return f"{match[1]}.{match[2]}.{match[3] or 0}"


def _numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


class _Go:
    """The go command: the machine's own as long as it is new enough, else a toolchain that it has fetched."""

    def __init__(self, scratch, say):
        self.program = shutil.which("go")
        if not self.program:
            raise Unavailable("no go in PATH to fetch and build the control plane with: scripts/deps.sh test installs "
                              "one; or set KUBEBUILDER_ASSETS")
        self.scratch = scratch
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
        # go.sum does not exist yet, so go must be free to write it. What it fetches is still checked against the
        # checksum database where the user's settings say so. -buildvcs=false: the cache may lie inside a checkout.
        self.environment.update(GOFLAGS="-mod=mod -buildvcs=false", CGO_ENABLED="0", GO111MODULE="on", GOWORK="off",
                                GOTOOLCHAIN="local")
        self.version = self._own_version()

    def _own_version(self):
        output = subprocess.run([self.program, "version"], env=self.environment, cwd=self.scratch, check=True,
                                capture_output=True, text=True).stdout
        match = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", output)
        if not match:
            raise Unavailable(f"cannot tell the version of {self.program}: {output.strip()}")
        return match[1]

    def use(self, needed, say):
        """Makes sure that the go command is at least `needed`."""
        chosen = os.environ.get("SHARDER_GO_VERSION")
        if chosen is None and _numbers(self.version) >= _numbers(needed):
            return
        wanted = chosen or max(GO_VERSION, needed, key=_numbers)
        if wanted == self.version:
            return
        say(f"{self.program} is Go {self.version}, needed is {needed}: fetching Go {wanted}")
        root = Path(self.download(f"golang.org/toolchain@v0.0.1-go{wanted}.{self._platform()}")["Dir"])
        _make_executable(root)
        self.environment["GOROOT"] = str(root)
        self.program = str(root / "bin" / "go")
        self.version = self._own_version()

    def _platform(self):
        machine = platform.machine()
        return "linux-" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)

    def go_mod_of(self, module):
        """The text of a module's go.mod. From 1.21 on go refuses a module that asks for a newer one, but not its go.mod."""
        told = self._download(module)
        if "GoMod" not in told:
            raise Unavailable(f"go mod download failed: {told.get('Error', told)}")
        return Path(told["GoMod"]).read_text(encoding="utf-8")

    def download(self, module):
        """Fetches a module into the module cache; what `go mod download -json` says of it."""
        told = self._download(module)
        if "Error" in told:
            raise Unavailable(f"go mod download failed: {told['Error']}")
        return told

    def _download(self, module):
        folder = self.scratch / "download"
        if not folder.exists():
            folder.mkdir()
            (folder / "go.mod").write_text("module download\n\ngo 1.19\n", encoding="ascii")
        done = self._run(folder, "mod", "download", "-json", module, stdout=subprocess.PIPE)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Unavailable(f"go mod download failed: {(done.stdout + done.stderr).strip()[-4000:]}") from None

    def run(self, folder, *arguments):
        done = self._run(folder, *arguments, stdout=sys.stderr.fileno())
        if done.returncode:
            raise Unavailable(f"go {' '.join(arguments[:2])} failed: {done.stderr.strip()[-4000:]}")

    def _run(self, folder, *arguments, stdout):
        return subprocess.run([self.program, *arguments], cwd=folder, env=self.environment, check=False, text=True,
                              stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)


def _make_executable(root):
    """Modules are unpacked without executable bits and read-only; programs of a toolchain need them."""
    for folder in (root / "bin", root / "pkg" / "tool"):
        for path in [folder, *folder.rglob("*")]:
            mode = path.stat().st_mode
            if path.is_file() and not mode & stat.S_IXUSR:
                path.chmod(mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    try:
        print(find())
    except Unavailable as error:
        sys.exit(f"binaries.py: {error}")
