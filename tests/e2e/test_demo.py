#!/usr/bin/python3
"""`make run`: what it prints, and the table in a terminal. `make run KUBECONFIG=FILE` on somebody's cluster: which
address the API server is given, what is said when there is none, and that whatever happens everything is as it was
before."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import reach
import screen
from cluster import ROOT
from control_plane import ControlPlane
from kubeclient import Credentials, path_of
from processes import Failed, allowed, spawn, wait_until
from reach import Address
from shards import lease
from suite import Suite
from user_cluster import CRD, UserCluster

NOWHERE = "nowhere.invalid"  # no resolver knows a name in this domain (RFC 6761)
WATCHED = ("namespaces", "mutatingwebhookconfigurations", "customresourcedefinitions", "clusterroles",
           "clusterrolebindings", "roles", "rolebindings", "leases", "secrets", "configmaps", "serviceaccounts", "events")


class Plane:
    """A cluster without the sharder's manifests. The cases run one after the other: each looks at the whole cluster."""

    def __init__(self, short):
        self.short = short
        self.figures = []
        self.keep_logs = False
        self.plane = ControlPlane(controller_manager=True)

    def __enter__(self):
        self.plane.__enter__()
        wait_until(lambda: len(self.admin.list("serviceaccounts")) == len(self.admin.list("namespaces")) == 4, 20,
                   "the namespaces of the cluster itself are complete")
        return self

    def __exit__(self, *_):
        if self.keep_logs:
            self.plane.save_logs()
        self.plane.stop()

    @property
    def admin(self):
        return self.plane.admin

    def state(self):
        """Everything that is there."""
        return {(resource, item["metadata"].get("namespace"), item["metadata"]["name"])
                for resource in WATCHED for item in self.admin.list(resource)}

    def demonstrate(self, *arguments, kubeconfig=None, **options):
        return Demonstration(kubeconfig or self.plane.kubeconfig, *arguments, **options)


class Demonstration:
    """demo.py as a process, without a terminal unless `stdin` is one."""

    def __init__(self, kubeconfig, *arguments, stdin=subprocess.DEVNULL):
        self._child = spawn([ROOT / "tests" / "e2e" / "demo.py", "--kubeconfig", str(kubeconfig), *arguments],
                            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.text = ""

    def read_until(self, words):
        """Reads what it says up to a line with these words."""
        for line in self._child.stdout:
            self.text += line
            if words in line:
                return self
        raise AssertionError(f"it did not say {words!r}:\n{self.text}")

    def interrupt(self, number=signal.SIGINT):
        self._child.send_signal(number)
        return self

    def stop_reading(self):
        """Until its end."""
        self._child.stdout.close()
        self._child.wait()

    def end(self):
        """(exit code, all it said)."""
        self.text += self._child.stdout.read()
        return self._child.wait(), self.text


suite = Suite("demo", Plane, parallel=False)


# -- which addresses are worth a try

class FakeMachine:
    """A machine with these networks: {prefix of an address: our address there}."""

    def __init__(self, routes=None, names=None, bridges=()):
        self._routes, self._names, self._bridges = routes or {}, names or {}, list(bridges)

    def resolve(self, host):
        return self._names.get(host, [host] if host[0].isdigit() or ":" in host else [])

    def route_to(self, address):
        found = [own for prefix, own in self._routes.items() if address.startswith(prefix)]
        return found[-1] if found else None

    def bridges(self):
        return self._bridges


LAN = {"": "192.168.1.5"}  # everything by the default route
DESKTOP = ["host.docker.internal", "host.containers.internal"]


@suite.case("the way to the nodes gives the address; loopback, bridges and names only for a server on this machine")
def chosen(_):
    docker = [("docker0", "172.17.0.1"), ("br-1", "172.18.0.1")]
    for what, server, nodes, machine, wanted in (
        ("kind", "127.0.0.1", ["172.18.0.3", "172.18.0.2"], FakeMachine({**LAN, "172.18.": "172.18.0.1"}, bridges=docker),
         ["127.0.0.1", "172.18.0.1", "172.17.0.1", *DESKTOP]),
        ("minikube", "192.168.49.2", ["192.168.49.2"], FakeMachine({**LAN, "192.168.49.": "192.168.49.1"}, bridges=docker),
         ["192.168.49.1"]),
        ("Docker Desktop", "kubernetes.docker.internal", ["192.168.65.3"],
         FakeMachine(LAN, {"kubernetes.docker.internal": ["127.0.0.1"]}), ["127.0.0.1", "192.168.1.5", *DESKTOP]),
        ("k3s on this machine", "127.0.0.1", ["192.168.1.5"], FakeMachine(LAN), ["127.0.0.1", "192.168.1.5", *DESKTOP]),
        ("by its own address", "192.168.1.5", [], FakeMachine(LAN), ["192.168.1.5", *DESKTOP]),
        ("kube-apiserver without nodes", "127.0.0.1", [], FakeMachine(LAN), ["127.0.0.1", *DESKTOP]),
        ("nodes unknown, on this machine", "127.0.0.1", [], FakeMachine(LAN, bridges=docker),
         ["127.0.0.1", "172.17.0.1", "172.18.0.1", *DESKTOP]),
        ("remote, by VPN", "10.0.0.1", ["10.1.0.7", "10.2.0.7"], FakeMachine({**LAN, "10.": "10.8.0.2"}), ["10.8.0.2"]),
        ("hosted, nodes elsewhere", "api.example.com", ["10.1.0.7"],
         FakeMachine({**LAN, "10.": "10.8.0.2"}, {"api.example.com": ["203.0.113.9"]}), ["10.8.0.2", "192.168.1.5"]),
        ("hosted, no nodes", "api.example.com", [], FakeMachine(LAN, {"api.example.com": ["203.0.113.9"]}),
         ["192.168.1.5"]),
        ("two families", "fd00::9", ["10.1.0.7", "fd00::7"], FakeMachine({"10.": "10.8.0.2", "fd00:": "fd00::1"}),
         ["10.8.0.2", "fd00::1"]),
        ("no way, no name", "api.example.com", ["10.1.0.7"], FakeMachine(), []),
    ):
        found = reach.candidates(server, [(f"node-{number}", address) for number, address in enumerate(nodes)], machine, 1)
        assert [one.host for one in found] == wanted, f"{what}: {found}"
        assert all(one.why and one.port == 1 for one in found), f"{what}: {found}"
        # What is a name here may lead to any address of ours.
        assert all(one.listen == (reach.EVERYWHERE if one.host in DESKTOP else one.host) for one in found), found


@suite.case("an address that somebody gives may have a port and need not be this machine's")
def given(_):
    machine = FakeMachine({"192.168.1.": "192.168.1.5"}, {"me.example.com": ["192.168.1.5"]})
    for text, wanted in (("192.168.1.5", Address("192.168.1.5", "192.168.1.5", 7, "as you said")),
                         ("me.example.com", Address("me.example.com", "192.168.1.5", 7, "as you said")),
                         ("bastion:9443", Address("bastion", "0.0.0.0", 9443, "as you said")),
                         ("127.0.0.1:9443", Address("127.0.0.1", "127.0.0.1", 9443, "as you said")),
                         ("[fd00::1]:9443", Address("fd00::1", "0.0.0.0", 9443, "as you said"))):
        assert reach.given(text, machine, 7) == wanted, text
    assert Address("fd00::1", "::", 9443).url == "https://[fd00::1]:9443"
    for wrong in ("", ":9443", "bastion:many", "https://bastion", "bastion/path", "me@bastion"):
        try:
            found = reach.given(wrong, machine, 7)
        except Failed:
            continue
        raise AssertionError(f"{wrong!r} was taken for {found}")


@suite.case("the machine knows its own addresses, and no way where there is none")
def machine_itself(_):
    machine = reach.Machine()
    assert machine.route_to("127.0.0.1") == "127.0.0.1" and machine.route_to("no address") is None
    assert machine.resolve("127.0.0.1") == ["127.0.0.1"] and machine.resolve(NOWHERE) == []
    assert all(machine.route_to(address) == address for _, address in machine.bridges())


# -- the terminal

class Terminal:
    """What a terminal shows of the few control sequences that screen.py writes."""

    def __init__(self):
        self.lines, self.row, self.cursor, self.wraps = [""], 0, True, True
        self._rest = ""  # of a sequence that has not come whole

    def feed(self, text):
        text, self._rest = re.fullmatch(r"(.*?)(\x1b(?:\[[?\d]*)?)?", self._rest + text, re.DOTALL).group(1, 2)
        self._rest = self._rest or ""
        for part in re.findall(r"\x1b\[[?\d]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
            if part == "\x1b[H":
                self.row = 0
            elif part == "\x1b[2J":
                self.lines = [""]
            elif part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part == "\x1b[J":
                self.lines[self.row:] = [""]
            elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
                self.row -= int(up[1])
                assert self.row >= 0, "it goes above the first line"
            elif part in (screen.HIDE_CURSOR, screen.SHOW_CURSOR):
                self.cursor = part == screen.SHOW_CURSOR
            elif part in (screen.NO_WRAP, screen.WRAP):
                self.wraps = part == screen.WRAP
            elif part != "\r":
                assert not part.startswith("\x1b"), repr(part)
                self.lines[self.row] += part

    def tables(self):
        """The lines of the tables on it, from their head on."""
        return [index for index, line in enumerate(self.lines) if re.match(r"shard +state +objects", line)]


class InTerminal:
    """demo.py on the embedded API server, with a terminal of this many columns."""

    def __init__(self, columns):
        self._ours, theirs = pty.openpty()
        self.resize(columns)
        environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        self._child = spawn([ROOT / "tests" / "e2e" / "demo.py"], stdin=theirs, stdout=theirs, stderr=theirs,
                            env=environment)
        os.close(theirs)
        self.terminal = Terminal()

    def resize(self, columns):
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def read_until(self, condition, what):
        deadline = time.monotonic() + allowed(60)
        while not condition(self.terminal):
            ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
            try:
                data = os.read(self._ours, 65536) if ready else b""
            except OSError:  # its end
                data = b""
            assert data, f"not seen: {what}: {self.terminal.lines}"
            self.terminal.feed(data.decode())

    def end(self, number):
        """Sends the signal; the exit code, when all is read."""
        self._child.send_signal(number)
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                data = b""
            if not data:
                break
            self.terminal.feed(data.decode())
        os.close(self._ours)
        return self._child.wait()


def shows_objects(terminal):
    return any(line.startswith("shard-a ready") and int(line.split()[2]) > 100 for line in terminal.lines)


@suite.case("in a terminal one table is drawn anew in place, after a resize too, and the cursor comes back at the end")
def live(_):
    for columns, number in ((40, signal.SIGINT), (100, signal.SIGTERM)):
        run = InTerminal(columns)
        run.read_until(shows_objects, "objects in the table")
        assert not run.terminal.cursor, "it blinks in the table"
        for other in (140 - columns, columns):
            run.resize(other)
            run.read_until(lambda terminal, wide=other >= 100: any(
                line.startswith("shard-a ready") and ("#" in line) == wide for line in terminal.lines),
                f"a table for {other} columns")
        run.read_until(lambda terminal: any("objects moved" in line for line in terminal.lines), "the first step's end")
        code = run.end(number)
        assert code not in (0, None), code
        lines, tables = run.terminal.lines, run.terminal.tables()
        assert len(tables) == 1, lines
        assert all(len(line) <= columns for line in lines[tables[0]:tables[0] + 5]), lines
        assert run.terminal.cursor and run.terminal.wraps, "the terminal is left as it was"
        assert not any("Traceback" in line for line in lines), lines


@suite.case("a table fits every width from 40 columns on, whatever the names, and is cut below")
def widths(_):
    rows = [("a-shard-with-a-name-that-is-longer-than-most-0", "uncertain", 1234567, 123456, "12345", 0.75),
            ("b", "ready", 0, 0, "-", 0.25), ("no shard", "", 7, "", "", 0)]
    for width in (10, 40, 41, 60, 80, 200):
        lines = screen.table(rows, width)
        assert all(len(line) <= max(width, screen.MIN_COLUMNS) for line in lines), (width, lines)
        assert len(lines) == 4 and "uncertain" in lines[1] and "1234567" in lines[1], lines
    assert "#" in screen.table(rows, 100)[1] and "#" not in screen.table(rows, 40)[1]


# -- on a control plane

@suite.case("it runs to its end and leaves nothing behind")
def good(env):
    before = env.state()
    code, text = env.demonstrate("--yes").end()
    assert code == 0 and "every object has the live shard that the ring gives" in text, text
    assert "webhook:  https://127.0.0.1:" in text, text
    assert re.search(r"page:     http://127\.0\.0\.1:\d+/status\n", text), text
    assert "\x1b" not in text, "lines without a terminal are plain"
    check_steps(text)
    assert env.state() == before, env.state() ^ before


def check_steps(text):
    """That each step was shown, and after it a table that fits to it: all objects, on shards that are in the ring."""
    rest = text
    for title, members in (("creating 100 Secrets", "abc"), ("shard-d joins", "abcd"), ("shard-b leaves", "acd"),
                           ("shard-c crashes", "ad"), ("shard-d hangs", "a"), ("shard-d goes on", "ad"),
                           ("shard-b and shard-c are started anew", "abcd"), ("all shards are restarted", "abcd")):
        assert title in rest, f"{title!r} is missing in: {text}"
        rest = rest.split(title, 1)[1]
        shown = rest.split("\n\n", 1)[0]
        assert title.startswith("creating") or re.search(r"\d+ objects moved, the first after", shown), shown
        rows = {name: (lease, int(objects)) for name, lease, objects in
                re.findall(r"^    shard-(\w) +(\S+) +(\d+) ", shown, re.MULTILINE)}
        assert sum(objects for _, objects in rows.values()) == 200, shown
        assert {name for name, (_, objects) in rows.items() if objects} == set(members), shown
        assert {name for name, (lease, _) in rows.items() if lease == "ready"} == set(members), shown


@suite.case("it listens where the API server calls it, and the certificate is for that address")
def elsewhere(env):
    before = env.state()
    run = env.demonstrate("--yes", "--webhook-host", "127.0.0.2").read_until("each object has its shard").interrupt()
    _, text = run.end()
    assert "webhook:  https://127.0.0.2:" in text, text
    assert env.state() == before, env.state() ^ before


@suite.case("of several addresses the first that the API server reaches is taken")
def second(env):
    before = env.state()
    with UserCluster(env.plane.kubeconfig, "second") as cluster:
        addresses = [Address(NOWHERE, reach.EVERYWHERE, 20001), Address("127.0.0.1", "192.0.2.77", 20001),
                     Address("127.0.0.1", "127.0.0.1", 20001)]
        with reach.Probe(env.admin, "second-probe", "second", addresses, cluster.folder / "probe") as probe:
            said = [probe.refusal(address) for address in addresses]
    assert NOWHERE in said[0] and "failed calling webhook" in said[0], said
    assert "cannot listen on port 20001 of 192.0.2.77" in said[1], said
    assert said[2] is None, said
    assert env.state() == before, env.state() ^ before


@suite.case("no address is reached: it says which were tried, what the API server said, and what helps")
def unreachable(env):
    before = env.state()
    code, text = env.demonstrate("--yes", "--webhook-host", f"{NOWHERE}:9443").end()
    assert code == 1, text
    for part in (f"https://{NOWHERE}:9443 (as you said)", "failed calling webhook", "no such host", "tunnel",
                 "WEBHOOK_HOST=", "manifests/"):
        assert part in text, f"{part!r} is not in: {text}"
    assert "CRD" not in text.split("looking for", 1)[1] and "Traceback" not in text, text
    assert env.state() == before, env.state() ^ before


@suite.case("interrupted at any step, and again while it cleans up, it leaves nothing behind", short=False)
def interrupted(env):
    before = env.state()
    for words, number in (("looking for an address", signal.SIGINT), ("looking for an address", signal.SIGTERM),
                          ("webhook:", signal.SIGINT), ("sharder:", signal.SIGTERM), ("creating 100", signal.SIGINT),
                          ("shard-d joins", signal.SIGHUP), ("shard-c crashes", signal.SIGINT)):
        run = env.demonstrate("--yes").read_until(words).interrupt(number).read_until("cleaning up")
        code, text = run.interrupt(number).end()
        assert code and "Traceback" not in text, f"{words}: {code}: {text}"
        assert env.state() == before, f"{words}: {env.state() ^ before}"


@suite.case("it cleans up although nobody reads what it says any more", short=False)
def unread(env):
    before = env.state()
    env.demonstrate("--yes").read_until("creating 100").stop_reading()
    assert env.state() == before, env.state() ^ before


@suite.case("without a terminal it asks for YES=1 and touches nothing")
def no_terminal(env):
    before = env.state()
    code, text = env.demonstrate().end()
    assert code == 1 and "YES=1" in text and f"https://127.0.0.1:{env.plane.port}" in text, text
    assert env.state() == before, env.state() ^ before


@suite.case("in a terminal only a yes is a yes; what else is said touches nothing")
def terminal(env):
    before = env.state()
    for answer in (b"\n", b"no\n", b"\x04"):  # the last one ends the input
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        code, text = env.demonstrate(stdin=theirs).end()
        assert code == 0 and "Go on? [y/N]" in text and "nothing was touched" in text, f"{answer}: {code}: {text}"
        os.close(ours)
        os.close(theirs)
    ours, theirs = pty.openpty()
    os.write(ours, b"y\n")
    _, text = env.demonstrate(stdin=theirs).read_until("looking for an address").interrupt().end()
    assert "cleaning up" in text, text
    os.close(ours)
    os.close(theirs)
    assert env.state() == before, env.state() ^ before


@suite.case("a kubeconfig that leads nowhere is told in a line, and touches nothing")
def no_cluster(env):
    with tempfile.TemporaryDirectory(prefix="sharder-demo-") as name:
        code, text = env.demonstrate("--yes", kubeconfig=Path(name) / "missing").end()
        assert code == 1 and "there is no file" in text and "Traceback" not in text, text
        config = (env.plane.kubeconfig).read_text(encoding="ascii")
        other = Path(name) / "nobody"
        other.write_text(config.replace(f":{env.plane.port}", ":1"), encoding="ascii")
        code, text = env.demonstrate("--yes", kubeconfig=other).end()
        assert code == 1 and "refused" in text and "Traceback" not in text, text
        other.write_text(config.replace("current-context: e2e", "current-context: other"), encoding="ascii")
        code, text = env.demonstrate("--yes", kubeconfig=other).end()
        assert code == 1 and "Traceback" not in text, text


@suite.case("a user with too few rights is told which are missing, and nothing is touched", short=False)
def rights(env):
    # Everything but two verbs; the nodes cannot be listed either.
    env.admin.create("clusterroles", None, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "some"}, "rules": [
            {"apiGroups": [""], "resources": ["namespaces", "secrets", "configmaps", "events"], "verbs": ["*"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
            {"apiGroups": ["sharding.timebertt.dev"], "resources": ["*"], "verbs": ["*"]},
            {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
             "verbs": ["create", "delete", "get", "list", "watch"]},
            {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
             "verbs": ["create", "get", "patch"]}]})
    env.admin.create("serviceaccounts", "default", {"metadata": {"name": "some"}})
    env.admin.create("clusterrolebindings", None, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "some"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "some"},
        "subjects": [{"kind": "ServiceAccount", "name": "some", "namespace": "default"}]})
    token = env.plane.service_account_token("default", "some")
    env.plane.wait_allowed(token, verb="delete", group="sharding.timebertt.dev", resource="controllerrings")
    before = env.state()
    kubeconfig = env.plane.write_kubeconfig(env.plane.folder / "some.kubeconfig", Credentials(token=token))
    code, text = env.demonstrate("--yes", kubeconfig=kubeconfig).end()
    lines = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert code == 1 and lines == ["patch mutatingwebhookconfigurations.admissionregistration.k8s.io",
                                   "delete customresourcedefinitions.apiextensions.k8s.io"], text
    assert env.state() == before, env.state() ^ before

    role = env.admin.get("clusterroles", None, "some")
    role["rules"][-1]["verbs"] = role["rules"][-2]["verbs"] = ["*"]
    env.admin.update("clusterroles", None, "some", role)
    env.plane.wait_allowed(token, verb="patch", group="admissionregistration.k8s.io",
                           resource="mutatingwebhookconfigurations")
    code, text = env.demonstrate("--yes", kubeconfig=kubeconfig).end()
    assert code == 0, f"these rights are enough: {text}"
    code, text = env.demonstrate("--yes", "--webhook-host", NOWHERE, kubeconfig=kubeconfig).end()
    assert code == 1 and NOWHERE in text, text
    assert env.state() == before, env.state() ^ before


@suite.case("rings or a sharder of somebody else are left alone, and so is a CRD that others use by then", short=False)
def others(env):
    before = env.state()
    env.admin.create("leases", "default", lease("none", "sharder", holder="their-sharder", duration=3600))
    code, text = env.demonstrate("--yes").end()
    assert code == 1 and "a sharder runs in this cluster already" in text, text
    env.admin.delete("leases", "default", "sharder")

    run = env.demonstrate("--yes").read_until("each object has its shard")
    theirs = {"apiVersion": "sharding.timebertt.dev/v1alpha1", "kind": "ControllerRing", "metadata": {"name": "theirs"},
              "spec": {"resources": [{"group": "", "resource": "configmaps"}],
                       "namespaceSelector": {"matchLabels": {"no": "namespace"}}}}
    env.admin.create("controllerrings", None, theirs)
    run.interrupt()
    code, text = run.end()
    assert code == 1 and "theirs" in text, text
    assert env.admin.find("controllerrings", None, "theirs") is not None

    code, text = env.demonstrate("--yes").end()
    assert code == 1 and "this cluster has ControllerRings already" in text, text
    env.admin.delete("controllerrings", None, "theirs")
    env.admin.delete("mutatingwebhookconfigurations", None, "controllerring-theirs")
    env.admin.request("DELETE", path_of("events", "default"))
    env.admin.delete("customresourcedefinitions", None, CRD)
    wait_until(lambda: env.admin.find("customresourcedefinitions", None, CRD) is None, 20, "the CRD is gone")
    assert env.state() == before, env.state() ^ before


if __name__ == "__main__":
    suite.main()
