"""Runs shell blocks of docs/ (scripts/docs.py says which)."""

import os
import subprocess
import sys

from cluster import ROOT
from processes import Failed, allowed

sys.path.insert(0, str(ROOT / "scripts"))

import docs  # pylint: disable=wrong-import-position


def blocks(page, place):
    """Those that are run there."""
    return [block for block in docs.blocks(page) if block.place == place]


def run(block, kubeconfig, *folders, replace=(), environment=None, timeout=300):
    """What a block prints; it ends with 0, within so many seconds. `folders`: with kubectl and other programs. `replace`:
    [(text, by what)], each of which is in the block."""
    text = block.text
    for old, new in replace:
        assert old in text, (block, old)
        text = text.replace(old, new)
    path = ":".join([*map(str, folders), os.environ["PATH"]])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=ROOT, capture_output=True, text=True,
                          check=False, timeout=allowed(timeout), stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {}), "KUBECONFIG": str(kubeconfig), "PATH": path})
    if done.returncode:
        raise Failed(f"docs/{block.page}:{block.line} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
