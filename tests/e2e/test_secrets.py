#!/usr/bin/python3
"""Secrets: what is wrong with input that holds one is told without it, wherever the program speaks (design, 6.12).

Each secret of these tests is MARKER. All that the program says is searched for a part of it.
"""

import base64
import copy
import http.client
import http.server
import json
import os
import ssl
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import yaml

import pki
import python_shard
from environment import Environment
from processes import free_ports, wait_until
from sharder import Sharders
from sharderctl import program
from suite import Suite
from test_startup import refusal

MARKER = "QZQZQZQZQZQZQZQZ"
PART = "QZQZQZ"  # too long to stand in base64 by chance
EXEC = "client.authentication.k8s.io/v1"
PLAIN, JSON = "text/plain", "application/json"

suite = Suite("secrets", lambda short: Environment(replicas=0, short=short))


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def pem(kind, body=MARKER):
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n"


def holds_secret(text):
    """Where a part of the marker stands in it, also in base64; -1: nowhere."""
    return max(text.find(PART), text.find(encoded(MARKER)[:12]))


def check(what, said):
    at = holds_secret(said)
    assert at < 0, f"{what}: {said[max(0, at - 300):at + 100]}"


def kubeconfig(server, authority, user, **cluster):
    """A kubeconfig's text for a server with this authority (a file), as somebody with the fields `user`."""
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {
            "server": server, "certificate-authority-data": encoded(Path(authority).read_text(encoding="ascii")),
            **cluster}}],
        "users": [{"name": "u", "user": user}]}, sort_keys=False)


def plugin(folder, name, output, complaint="plugin was here"):
    """The user of an exec plugin that prints a file, which may be replaced, and complains on standard error."""
    file = folder / f"{name}.output"
    file.write_text(output, encoding="utf-8")
    script = f"echo '{complaint}' >&2; cat '{file}'"
    return {"exec": {"apiVersion": EXEC, "command": "sh", "args": ["-c", script], "interactiveMode": "Never",
                     "env": [{"name": "PASSWORD", "value": MARKER}]}}


def credential(status):
    return json.dumps({"apiVersion": EXEC, "kind": "ExecCredential", "status": status})


BROKEN_OUTPUTS = {
    "raw-line-break": credential({"token": "BREAK"}).replace("BREAK", f"{MARKER}\n{MARKER}"),
    "followed": credential({"token": MARKER}) + "\ndone\n",
    "cut-off": credential({"token": MARKER})[:-4],
    "of-a-list": credential({"token": [MARKER]}),
    "control-character": credential({"token": f"{MARKER}\x07"}),
    "half-a-pair": credential({"clientKeyData": pem("PRIVATE KEY")}),
    "no-pair": credential({"clientKeyData": pem("PRIVATE KEY"), "clientCertificateData": pem("CERTIFICATE")}),
    "no-json": f"token: {MARKER}",
}


# -- what ends the start

def broken_kubeconfigs(folder, authority, pair):
    """{name: text}; each is refused."""
    def of(user, server="https://127.0.0.1:1", **cluster):
        return kubeconfig(server, authority, user, **cluster)

    def file(name, text):
        (folder / name).write_text(text, encoding="utf-8")
        return str(folder / name)

    whole = of({"token": MARKER})
    line = f"token: {MARKER}"
    assert line in whole
    certificate = encoded(pair.certificate.read_text(encoding="ascii"))
    found = {
        "a token instead of it": MARKER,
        "cut off, in JSON": json.dumps(yaml.safe_load(whole)).partition(MARKER)[0] + MARKER,
        "an alias": whole.replace(line, f"token: *{MARKER}"),
        "an escape": whole.replace(line, f'token: "{MARKER}\\q"'),
        "a tab": whole.replace(line, f"\ttoken: {MARKER}"),
        "a colon more": whole.replace(line, f"token: a: {MARKER}"),
        "an open bracket": whole.replace(line, f"token: [{MARKER}"),
        "a list": of({"token": [MARKER]}),
        "a map": of({"password": {"a": MARKER}}),
        "a line break": of({"token": f"{MARKER}\n{MARKER}"}),
        "token and password": of({"token": MARKER, "password": MARKER}),
        "a plugin of the past": of({"auth-provider": {"name": "oidc", "config": {"id-token": MARKER}}}),
        "a token file of two lines": of({"tokenFile": file("two-lines", f"{MARKER}\n{MARKER}\n")}),
        "key data that is no base64": of({"client-certificate-data": certificate, "client-key-data": f"{MARKER}!"}),
        "key data that is no key": of({"client-certificate-data": certificate,
                                       "client-key-data": encoded(pem("PRIVATE KEY"))}),
        "a key file that is none": of({"client-certificate": str(pair.certificate),
                                       "client-key": file("bad.key", pem("EC PRIVATE KEY"))}),
        "a certificate file that is none": of({"client-certificate": file("bad.crt", pem("CERTIFICATE")),
                                               "client-key": str(pair.key)}),
        "a password in the server": of({"token": "t"}, server=f"https://user:{MARKER}@127.0.0.1:1"),
        "a password in a proxy that is none": of({"token": "t"}, **{"proxy-url": f"ftp://user:{MARKER}@127.0.0.1"}),
        "a password in a proxy without a port": of({"token": "t"}, **{"proxy-url": f"http://user:{MARKER}@a:b"}),
        "an authority that is none": of({"token": "t"}, **{"certificate-authority-data": f"{MARKER}!"}),
    }
    for name, text in found.items():
        assert holds_secret(text) >= 0 or "file" in name or name == "key data that is no key", name
    return found


@suite.case("a start that fails names what is wrong with a kubeconfig, a token or a key, and none of what is in it")
def refused(env):
    sharders = Sharders(env.plane, 1, folder=env.plane.folder / "refused")
    folder, config = sharders.folder, sharders.replicas[0].config
    pair = sharders.authority.issue("client", "/CN=client")
    for name, text in broken_kubeconfigs(folder, sharders.authority.certificate, pair).items():
        path = folder / "broken.kubeconfig"
        path.write_text(text, encoding="utf-8")
        code, said = refusal(folder, config, path)
        assert code == 2 and said.strip(), f"{name}: {code} {said}"
        check(name, said)

    good = folder / "good.kubeconfig"
    good.write_text(kubeconfig("https://192.0.2.1", sharders.authority.certificate, {"token": MARKER}),
                    encoding="utf-8")
    code, said = refusal(folder, config, good, environment={"HTTPS_PROXY": f"ftp://user:{MARKER}@192.0.2.2"})
    assert code == 2 and "proxy" in said, (code, said)
    check("a proxy of the environment", said)
    for number, body in enumerate((MARKER, pem("PRIVATE KEY"), pem("PRIVATE KEY", f"{MARKER} ?"))):
        certificates = folder / f"bad-certs-{number}"
        certificates.mkdir()
        (certificates / "tls.crt").write_bytes(sharders.certificate)
        (certificates / "tls.key").write_text(body, encoding="ascii")
        changed = copy.deepcopy(config)
        changed["webhook"]["server"]["certDir"] = str(certificates)
        code, said = refusal(folder, changed, good)
        assert code == 2 and "tls.key" in said, (code, said)
        check("a key of the webhook", said)


# -- what goes on

class BadServer:
    """An "API server" that knows nobody and repeats all that it is told. `mode`: how it answers."""

    MODES = {  # status, content type, body: from what it was told
        "a page": (403, PLAIN, lambda told: f"You may not. You said: {told}"),
        "a Status": (500, JSON, lambda told: json.dumps({"kind": "Status", "reason": "InternalError", "message": told})),
        "a 401": (401, PLAIN, lambda told: f"Who is {told}?"),
        "broken JSON": (200, JSON, lambda told: f'{{"kind":"List","items":[{{"data":{MARKER}, "told":"{told}"'),
        "other JSON": (201, JSON, lambda told: json.dumps({"status": [told, MARKER], "items": MARKER})),
    }

    def __init__(self, authority):
        self.port, = free_ports(1)
        self.mode = "a page"
        self.heard = set()  # (mode, Authorization)
        pair = authority.issue("bad-server", "/CN=bad", ("127.0.0.1",))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
                authorization = self.headers.get("Authorization", "")
                mode = owner.mode
                status, content_type, body = owner.MODES[mode]
                data = body(f"{authorization} {sent}").encode()
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                owner.heard.add((mode, authorization))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, name="bad-server", daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def post_reviews(replica):
    """What the webhook answers to bodies that hold a secret and are no admission reviews."""
    said = []
    for body in (f'{{"request":{{"object":{{"data":{{"password":"{MARKER}', MARKER, json.dumps({"kind": MARKER}),
                 json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                             "request": {"uid": "u", "object": [MARKER]}})):
        context = ssl.create_default_context(cafile=replica.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", replica.port, timeout=10, context=context)
        try:
            connection.request("POST", "/webhooks/sharder/controllerring/r", body, {"Content-Type": JSON})
            answer = connection.getresponse()
            said.append(f"{answer.status} {answer.headers} {answer.read().decode(errors='replace')}")
        finally:
            connection.close()
    return "\n".join(said)


def endpoints(replica, token=MARKER):
    """What the ports of a replica say, to somebody with this token."""
    said = [replica.health(path) for path in ("/readyz", "/healthz", "/other")]
    said += [replica.metrics(token, path) for path in ("/metrics", "/debug/pprof/heap")]
    return "\n".join(f"{status} {text}" for status, text in said)


def start(sharders, texts):
    """Starts a replica for each kubeconfig's text, with all that it logs."""
    for replica, text in zip(sharders.replicas, texts, strict=True):
        path = sharders.folder / f"{replica.name}.kubeconfig"
        path.write_text(text, encoding="utf-8")
        command = replica.process.command
        command[command.index("--kubeconfig") + 1] = str(path)
        command[command.index("--log-level") + 1] = "debug"
        replica.start()
    for replica in sharders.replicas:
        wait_until(lambda replica=replica: replica.health("/healthz")[0] == 200, 30, "alive", alive=replica.process)


@suite.case("good credentials at a server that repeats them: in no log line and no answer of any port")
def repeated(env):
    folder = env.plane.folder / "repeated"
    folder.mkdir()
    token_file = folder / "token"
    token_file.write_text(f"{MARKER}-file", encoding="ascii")
    users = {f"Bearer {MARKER}": {"token": MARKER}, f"Bearer {MARKER}-file": {"tokenFile": str(token_file)},
             f"Basic {encoded('user:' + MARKER)}": {"username": "user", "password": MARKER},
             f"Bearer {MARKER}-plugin": plugin(folder, "good", credential({"token": f"{MARKER}-plugin"}))}
    sharders = Sharders(env.plane, len(users), folder=folder)
    server = BadServer(sharders.authority)
    try:
        start(sharders, [kubeconfig(f"https://127.0.0.1:{server.port}", sharders.authority.certificate, user)
                         for user in users.values()])
        said = []
        for mode in BadServer.MODES:
            if mode == "a 401":  # it makes them read the file again
                token_file.write_text(f"{MARKER}-file\n{MARKER}", encoding="ascii")
            server.mode = mode
            wait_until(lambda mode=mode: all((mode, who) in server.heard for who in users), 60, f"all have met {mode}")
            for replica in sharders.replicas:
                status, text = replica.metrics(f"{MARKER}-{mode}")  # a caller for whom no decision is remembered
                assert status in (401, 503), (mode, status, text)
                said.append(text)
                said.append(endpoints(replica))
                said.append(post_reviews(replica))
                status, reason = replica.health("/readyz")
                assert status == 503 and reason.startswith("not ready: waiting for "), (status, reason)
        for replica in sharders.replicas:  # the pair of the webhook, broken while it is served
            replica.volume.publish(sharders.certificate, pem("PRIVATE KEY").encode())
        for replica in sharders.replicas:
            wait_until(lambda replica=replica: "certificate not reloaded" in replica.log(), 30, "it is told")
        sharders.stop()
    finally:
        server.close()
    for replica, who in zip(sharders.replicas, users, strict=True):
        log = replica.log()
        for wanted in ("watch failed, is retried", "cannot review access to the metrics port", "not valid JSON: line 1",
                       "You may not. You said: " + ("Basic" if "Basic" in who else "Bearer") + " ..."):
            assert wanted in log, f"{who}: {wanted!r} is not in the log"
        check(f"log of {who}", log)
        assert encoded("user:" + MARKER) not in log, "the password, in base64"
    assert "token file not read, the old token stays" in sharders.replicas[1].log()
    check("answers", "\n".join(said))
    assert encoded("user:" + MARKER) not in "\n".join(said), "the password, in base64"


@suite.case("a plugin that prints something broken: not ready, told in the log, and none of it anywhere")
def broken_plugins(env):
    sharders = Sharders(env.plane, len(BROKEN_OUTPUTS), folder=env.plane.folder / "broken-plugins")
    start(sharders, [kubeconfig("https://127.0.0.1:1", sharders.authority.certificate,
                                plugin(sharders.folder, name, output)) for name, output in BROKEN_OUTPUTS.items()])
    for replica, name in zip(sharders.replicas, BROKEN_OUTPUTS, strict=True):
        wait_until(lambda replica=replica: replica.health("/readyz") ==
                   (503, "not ready: waiting for ControllerRings: unauthorized\n"), 30, f"{name}: the reason")
        said = endpoints(replica) + post_reviews(replica)
        assert "the API server cannot say who you are" in said, said
        check(name, said)
    sharders.stop()
    for replica, name in zip(sharders.replicas, BROKEN_OUTPUTS, strict=True):
        log = replica.log()
        told = [line for line in log.splitlines() if "credentials not renewed" in line]
        assert told and "plugin was here" in told[0] and "standard output: " in told[0], f"{name}: {told}"
        check(f"log of {name}", log)


@suite.case("credentials that break while a ring of Secrets works: not in Events, statuses, Leases, metrics or the log")
def broken_later(env):
    folder = env.plane.folder / "broken-later"
    folder.mkdir()
    env.plane.sharder_kubeconfig(folder / "allowed.kubeconfig")  # waits until the permissions are there
    token = env.plane.service_account_token()
    # It has expired when it comes, so that the plugin runs for each request.
    good = credential({"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"})
    sharders = Sharders(env.plane, 1, folder=folder)
    replica, = sharders.replicas
    user = plugin(folder, "later", good)
    sharders.call_directly(replica)
    start(sharders, [kubeconfig(f"https://127.0.0.1:{env.plane.sharder_port}", env.plane.authority.certificate, user)])
    said = []
    ring = env.ring("secret")
    with ring.shards("shard-a", "shard-b"):
        replica.wait_ready()
        wait_until(lambda: ring.condition().get("status") == "True", 60, "the ring is Ready")
        for number in range(4):
            env.admin.create("secrets", "secret", {
                "metadata": {"name": f"s-{number}", "annotations": {"example.com/applied": MARKER}},
                "stringData": {"password": MARKER}})
        for number, output in enumerate((BROKEN_OUTPUTS["raw-line-break"], BROKEN_OUTPUTS["of-a-list"]), 1):
            (folder / "later.output").write_text(output, encoding="utf-8")
            env.admin.patch("controllerrings", None, "secret", {
                "metadata": {"annotations": {"example.com/changed": str(time.monotonic_ns())}}})
            wait_until(lambda number=number: replica.log().count("credentials not renewed") >= number, 60, "it is told",
                       alive=replica.process)
            said.append(endpoints(replica) + endpoints(replica, env.plane.metrics_token()))
        (folder / "later.output").write_text(good, encoding="utf-8")
        wait_until(lambda: replica.metrics(env.plane.metrics_token())[0] == 200, 60, "the API server is asked again")
        other = env.ring("later")
        wait_until(lambda: other.condition().get("status") == "True", 60, "rings are Ready again")
        wait_until(lambda: sharders.leader() is replica, 60, "it leads again")
        said.append(endpoints(replica, env.plane.metrics_token()))
        assert "controller_sharding_" in said[-1], "metrics are seen"
        stored = {resource: json.dumps(env.admin.list(resource)) for resource in (
            "events", "controllerrings", "leases", "mutatingwebhookconfigurations", "secrets")}
    sharders.stop()
    assert encoded(MARKER) in stored.pop("secrets"), "the control: it is there"
    assert "LeaderElection" in stored["events"], "Events are seen"
    for what, text in {**stored, "answers": "\n".join(said), "log": replica.log()}.items():
        check(what, text)
        assert token not in text, what


# -- the command line, and the shard in Python

def said_by(command, folder, text, seconds=60):
    """(exit code or None after that time, what it prints) of a program with a kubeconfig of this text."""
    path = folder / "kubeconfig"
    path.write_text(text, encoding="utf-8")
    try:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={**os.environ, "KUBECONFIG": str(path)}, check=False,
                              timeout=seconds)
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout.decode(errors="replace")


def bundle_in(path):
    """All that a support bundle has; "" when there is none. It is removed."""
    if not path.exists():
        return ""
    with tarfile.open(path) as bundle:
        text = "\n".join(bundle.extractfile(member).read().decode() for member in bundle.getmembers())
    path.unlink()
    return text


@suite.case("sharderctl: no secret of a kubeconfig or a plugin on the terminal, nor in a support bundle")
def command_line(env):
    folder = env.plane.folder / "command-line"
    folder.mkdir()
    authority = pki.Authority(folder / "pki", "server-ca")
    for name, text in broken_kubeconfigs(folder, authority.certificate, authority.issue("c", "/CN=c")).items():
        code, said = said_by([program(), "status"], folder, text)
        assert code == 2 and said.startswith("sharderctl: kubeconfig "), f"{name}: {code} {said}"
        check(name, said)
    users = {f"plugin {name}": plugin(folder, name, output) for name, output in BROKEN_OUTPUTS.items()}
    users |= {"a token": {"token": MARKER}, "a password": {"username": "user", "password": MARKER}}
    server = BadServer(authority)
    bundle = folder / "bundle.tar.gz"
    try:
        for name, user in users.items():
            text = kubeconfig(f"https://127.0.0.1:{server.port}", authority.certificate, user)
            for server.mode in list(BadServer.MODES)[:1 if name.startswith("plugin") else None]:
                for words in (["status"], ["explain", "secret/a"], ["cordon", "shard"], ["events", "ring"],
                              ["support-bundle", "--file", bundle]):
                    code, said = said_by([program(), *words, "--request-timeout=5s"], folder, text)
                    assert code is not None and said.strip(), f"{name}: {words}: {code}"
                    said += bundle_in(bundle)
                    check(f"{name}, {server.mode}: {words[0]}", said)
                    assert encoded("user:" + MARKER) not in said, "the password, in base64"
    finally:
        server.close()


@suite.case("the shard in Python: a token with a line break, and a kubeconfig that is none, are not in its log")
def in_python(env):
    folder = env.plane.folder / "in-python"
    folder.mkdir()
    authority = pki.Authority(folder / "pki", "server-ca")
    server = BadServer(authority)
    command = [python_shard.interpreter(), "-u", python_shard.SHARD, "--controllerring", "r", "--shard-name", "s"]
    try:
        user = plugin(folder, "line-break", credential({"token": f"{MARKER}\n{MARKER}"}))
        text = kubeconfig(f"https://127.0.0.1:{server.port}", authority.certificate, user)
        _, said = said_by(command, folder, text, seconds=10)
        assert "cannot acquire the lease error=ValueError" in said, said
        check("a token with a line break", said)
        code, said = said_by(command, folder, text.replace("command: sh", f"command: *{MARKER}"))
        assert code == 1 and "no usable kubeconfig: ComposerError" in said, (code, said)
        check("an alias", said)
    finally:
        server.close()


if __name__ == "__main__":
    os.umask(0o077)
    suite.main()
