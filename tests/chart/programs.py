"""Helm, and where the tests find the modules of tests/e2e.

$HELM names a program of your own. Else Helm is built once from its Go module and kept in ~/.cache/sharder-tests.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import binaries  # pylint: disable=wrong-import-position
from processes import Failed  # pylint: disable=wrong-import-position

ROOT = HERE.parents[1]
CHART = ROOT / "charts" / "sharder"
HELM_VERSION = "3.22.0"
KUBERNETES = "1.36.0"  # what Helm renders for: the version of one that go builds by itself is none


class Helm:
    """Helm with a home of its own, and a cluster when it has a kubeconfig."""

    def __init__(self, home, kubeconfig=None):
        self._program = os.environ.get("HELM") or binaries.tool("helm.sh/helm/v3", HELM_VERSION, "cmd/helm")
        self._environment = {**os.environ, "HOME": str(home), "HELM_CACHE_HOME": str(Path(home) / "helm"),
                             "HELM_CONFIG_HOME": str(Path(home) / "helm"), "HELM_DATA_HOME": str(Path(home) / "helm"),
                             "KUBECONFIG": str(kubeconfig or Path(home) / "none")}
        self._is_4 = self.run("version", "--short").stdout.startswith("v4")

    def run(self, *arguments, check=True):
        if "--take-ownership" in arguments and self._is_4:
            arguments += ("--server-side=false",)  # else: helm/helm#31510, or conflicts
        done = subprocess.run([self._program, *map(str, arguments)], env=self._environment, capture_output=True,
                              text=True, check=False, timeout=180)
        if check and done.returncode:
            raise Failed(f"helm {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done

    def template(self, *arguments, namespace="sharding-system", check=True):
        return self.run("template", "sharder", CHART, "--namespace", namespace, "--kube-version", KUBERNETES,
                        *arguments, check=check)
