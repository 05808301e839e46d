"""The shard that is judged: a process of somebody's program."""

import os
import re

from processes import Process, free_ports

PLACEHOLDERS = ("ring", "shard", "namespace", "lease-namespace", "kubeconfig", "port")


class Subject:
    """One shard. `command` may have {ring}, {shard}, {namespace}, {lease-namespace}, {kubeconfig}, and {port}, a free
    port, another one each time. The environment has KUBECONFIG, SHARDER_RING, SHARDER_SHARD, SHARDER_NAMESPACE and
    SHARDER_LEASE_NAMESPACE."""

    def __init__(self, command, folder, kubeconfig, ring, shard, namespace, lease_namespace):
        self.name = shard
        values = {"ring": ring, "shard": shard, "namespace": namespace, "lease-namespace": lease_namespace,
                  "kubeconfig": str(kubeconfig)}
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment["KUBECONFIG"] = str(kubeconfig)
        for key in ("ring", "shard", "namespace", "lease-namespace"):
            environment[f"SHARDER_{key.upper().replace('-', '_')}"] = values[key]
        self._process = Process(f"the shard {shard}", [_filled(part, values) for part in command],
                                folder / f"{shard}.log", environment)

    def start(self):
        self._process.start()
        return self

    def alive(self):
        return self._process.alive()

    def ask_to_stop(self):
        self._process.ask_to_stop()

    def kill(self):
        self._process.kill()

    def code(self):
        """Its exit code; None while it runs."""
        return None if self._process.alive() else self._process.wait(5)

    def ending(self):
        """How it has ended, with the end of its log."""
        return f"the process ended with code {self.code()}; its log ends with:\n{self._process.log_end(8)}"


def _filled(part, values):
    """Braces that are no placeholder stay."""
    def value(match):
        return str(free_ports(1)[0]) if match[1] == "port" else values[match[1]]

    return re.sub("{(" + "|".join(PLACEHOLDERS) + ")}", value, part)
