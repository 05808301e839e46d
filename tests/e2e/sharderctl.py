"""Runs the command line sharderctl (docs/sharderctl.md) as an administrator of a test's cluster."""

import json
import os
import subprocess

from cluster import ROOT
from processes import Failed


def program():
    path = ROOT / "build" / "bin" / "sharderctl"
    if not path.is_file():
        raise Failed(f"no {path}: `make build` makes it")
    return path


def environment(env, **more):
    """Its environment variables."""
    kept = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "COLUMNS", "NO_COLOR")}
    return {**kept, "KUBECONFIG": str(env.plane.kubeconfig), **more}


def ctl(env, *arguments, expect=0, timeout=60, stdin=None, **variables):
    """Runs it; its CompletedProcess. `expect`: the exit code, None: any."""
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True, check=False,
                          timeout=timeout, env=environment(env, **variables), input=stdin or "")
    assert expect in (None, done.returncode), f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def document(env, *arguments, **more):
    """What it prints as JSON."""
    read = json.loads(ctl(env, *arguments, "-o", "json", **more).stdout)
    assert read["apiVersion"] == "sharderctl.sharding.timebertt.dev/v1alpha1", read
    return read
