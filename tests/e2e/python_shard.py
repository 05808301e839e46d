"""The shard in Python (examples/python-shard): where it is, and a Python that has what it needs."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from cluster import ROOT
from processes import Failed

FOLDER = ROOT / "examples" / "python-shard"
SHARD = FOLDER / "shard.py"


def interpreter():
    """The Python of a virtual environment with the example's requirements, made once in the tests' cache. Safe to call
    from several processes at once."""
    requirements = FOLDER / "requirements.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    mark = hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sharder-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"python-shard-{version}-{mark}"
    with open(cache / f"{folder.name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").is_file():
            print(f"installing the Python client of Kubernetes into {folder}, once", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            for command in (["/usr/bin/python3", "-m", "venv", folder],
                            [folder / "bin" / "pip", "install", "--quiet", "--requirement", requirements]):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise Failed(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
            (folder / "complete").touch()
    return folder / "bin" / "python"


if __name__ == "__main__":
    print(interpreter())
