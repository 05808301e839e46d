"""The images that run in the cluster, and where they come from: the sharder's own from `make image`, all others from Go
modules, a program each and nothing else."""

import io
import os
import re
import subprocess
import tarfile

from kind_cluster import ROOT, docker  # first: it finds the modules of tests/e2e

import binaries
from processes import Failed

VERSION = re.search(r"project\(sharder VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
SHARDER = os.environ.get("IMAGE") or f"sharder:{VERSION}"
SHARD = f"checksum-controller:{VERSION}"  # examples/checksum-controller

CERT_MANAGER = ("github.com/cert-manager/cert-manager", "1.11.5")
CERT_MANAGER_PROGRAMS = ("controller", "cainjector", "webhook")

# The Go project: its sharder, and the sharded controller that it comes with, which makes a ConfigMap for each Secret. The
# newest version that is to be had as a module from everywhere; the protocol is the same in all newer ones.
GO_PROJECT = ("github.com/timebertt/kubernetes-controller-sharding", "0.11.0")
GO_SUMS = ("github.com/timebertt/kubernetes-controller-sharding v0.11.0 h1:iIEQdteCppAy5Hy+By1My9vqyLqPJD1491ESAfhyKTw=\n"
           "github.com/timebertt/kubernetes-controller-sharding v0.11.0/go.mod "
           "h1:MNQ7M22tifSDWp7g1U+OF/Oz82CJSrgabp9vvX9FjVs=\n")
GO_SHARDER, GO_SHARD = f"go-sharder:{GO_PROJECT[1]}-e2e", f"go-checksum-controller:{GO_PROJECT[1]}-e2e"


def cert_manager_image(program):
    return f"cert-manager-{program}:{CERT_MANAGER[1]}-e2e"


def go_project():
    """The folder with the Go project's files."""
    return binaries.sources(*GO_PROJECT, GO_SUMS)


def go_sharder():
    """The Go project's sharder."""
    return binaries.tool(*GO_PROJECT, "cmd/sharder", name="go-sharder", sums=GO_SUMS)


def cert_manager():
    """The folder with cert-manager's files."""
    return binaries.sources(*CERT_MANAGER)


def build_ours():
    """`make image`, unless $IMAGE names one that is there, and the same for the example of a sharded controller. Where
    nothing can be pulled, in a Debian made from packages."""
    given = os.environ.get("IMAGE") and is_there(SHARDER)
    if not given:
        _make_image(SHARDER, "sharder")
    if not given or not is_there(SHARD):
        _make_image(SHARD, "checksum-controller")


def build_environment():
    """Of `make image`: where nothing can be pulled, with a base that is made from packages."""
    environment = dict(os.environ)
    if "BUILD_BASE" not in environment and not is_there("debian:12") and docker("pull", "-q", "debian:12",
                                                                                check=False).returncode:
        environment["BUILD_BASE"] = subprocess.run([ROOT / "scripts" / "base_image.sh"], check=True, text=True,
                                                   stdout=subprocess.PIPE).stdout.strip()
    return environment


def _make_image(image, target):
    environment = build_environment()
    done = subprocess.run(["make", "--no-print-directory", "-C", ROOT, "image", f"IMAGE={image}", f"TARGET={target}"], check=False,
                          env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"make image TARGET={target}:\n{(done.stdout + done.stderr)[-4000:]}")


def build_others():
    """Those that are not there."""
    for program in CERT_MANAGER_PROGRAMS:
        _static(cert_manager_image(program), program, lambda program=program: binaries.tool(
            *CERT_MANAGER, f"cmd/{program}", name=f"cert-manager-{program}"))
    _static(GO_SHARDER, "sharder", go_sharder)
    _static(GO_SHARD, "checksum-controller", lambda: binaries.tool(
        *GO_PROJECT, "cmd/checksum-controller", name="go-checksum-controller", sums=GO_SUMS))


def all_names():
    return [SHARDER, SHARD, *map(cert_manager_image, CERT_MANAGER_PROGRAMS), GO_SHARDER, GO_SHARD]


def is_there(image):
    return docker("image", "inspect", image, check=False).returncode == 0


def _static(image, name, program):
    """An image of one statically linked program, under the name by which clients of the API server are known; `program`
    gives its path."""
    if is_there(image):
        return
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(program(), name)
        done = subprocess.run(["docker", "import", "-c", f'ENTRYPOINT ["/{name}"]', "-c", "USER 65532", "-", image],
                              input=archive.getvalue(), check=False, capture_output=True, timeout=120)
    if done.returncode:
        raise Failed(f"docker import {image}: {done.stderr.decode()}")
