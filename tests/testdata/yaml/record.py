#!/usr/bin/python3
"""Asks kubectl and Go's YAML packages what the texts of this folder mean to them, and writes down the answers.

    tests/testdata/yaml/record.py

values.json holds texts and answers; kubeconfig.txt and sharderconfig.txt hold texts, the .json beside them the answers.
The tests that read them need neither Go nor kubectl. Needs `go` and `openssl`; kubectl comes from tests/e2e/binaries.py,
a request of it goes to a server of this program. See README.md.
"""

import base64
import concurrent.futures
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "e2e"))

import binaries  # pylint: disable=wrong-import-position,import-error

KUBERNETES = "v0." + binaries.K8S_VERSION.split(".", 1)[1]
GO_MOD = f"""module record

go 1.26.0

require (
\tk8s.io/api {KUBERNETES}
\tk8s.io/apimachinery {KUBERNETES}
\tk8s.io/component-base {KUBERNETES}
)
"""
# What a text of kubeconfig.txt need not say; README.md.
DEFAULTS = {
    "apiVersion": "apiVersion: v1",
    "clusters": "clusters: [{name: k, cluster: {server: '@SERVER@', certificate-authority-data: '@CA@'}}]",
    "users": "users: [{name: u, user: {token: t}}]",
    "contexts": "contexts: [{name: c, context: {cluster: k, user: u}}]",
    "current-context": "current-context: c",
}
FILES = {"token": "from-file\n", "empty": "", "blank": " \n"}


def sections(name):
    """The texts of a file: title to text, without the line that a title stands in."""
    parts = re.split(r"^#### (.*)\n", (HERE / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title.split(" | ")[0]: text for title, text in zip(parts[1::2], parts[2::2])}


def write(name, rows, keys=None):
    """JSON with one row a line."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    if keys is None:
        text = "[\n" + ",\n".join(lines) + "\n]\n"
    else:
        text = "{\n" + ",\n".join(f"{json.dumps(key)}: {line}" for key, line in zip(keys, lines)) + "\n}\n"
    (HERE / name).write_text(text, encoding="utf-8")


class Reader:
    """The Go program beside this one."""

    def __init__(self, folder):
        (folder / "go.mod").write_text(GO_MOD, encoding="ascii")
        (folder / "main.go").write_text((HERE / "main.go").read_text(encoding="utf-8"), encoding="utf-8")
        environment = dict(os.environ, GOFLAGS="-mod=mod -buildvcs=false", CGO_ENABLED="0", GOWORK="off")
        self._program = folder / "reader"
        subprocess.run(["go", "build", "-o", self._program, "."], cwd=folder, env=environment, check=True)

    def read(self, what, texts):
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        output = subprocess.run([self._program, what], input=lines, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in output.rstrip("\n").split("\n")]


class Server:
    """An HTTPS server that remembers the headers of the last request for each path."""

    def __init__(self, folder):
        self.seen = {}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                server.seen[self.path.partition("?")[0]] = {name: self.headers.get_all(name) for name in self.headers}
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        run = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key",
            "-out", "server.crt", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        self.certificate = (folder / "server.crt").read_text(encoding="ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def whole(text, server):
    """A text of kubeconfig.txt with all that is left out and with what its placeholders stand for."""
    text += "".join(line + "\n" for key, line in DEFAULTS.items() if key not in text)
    damaged = re.sub(r"\n.{20}", "\n" + "A" * 20, server.certificate, count=1)
    encoded = {"@CA@": server.certificate, "@DAMAGED@": damaged, "@GOOD_AND_DAMAGED@": server.certificate + damaged,
               "@CA_AND_TEXT@": "text\n" + server.certificate + "text\n"}
    for name, pem in encoded.items():
        text = text.replace(name, base64.b64encode(pem.encode()).decode())
    return text.replace("@SERVER@", server.url)


def ask_kubectl(kubectl, server, folder, number, text):
    """What `config view` shows of the current context, and who a request was from."""
    home = folder / f"{number}"
    home.mkdir()
    for name, content in FILES.items():
        (home / name).write_text(content, encoding="ascii")
    (home / "config").write_text(whole(text, server), encoding="utf-8")
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "KUBECONFIG": "config"}

    def run(*words):
        return subprocess.run([kubectl, *words], cwd=home, env=environment, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)

    view = run("config", "view", "--raw", "--minify", "-o", "json")
    path = f"/asked/{number}"
    request = run("get", "--raw", path, "--request-timeout=5s")
    if view.returncode:
        return {}
    config = json.loads(view.stdout)
    result = {kind: (config[kind + "s"] or [{}])[0].get(kind, {}) for kind in ("cluster", "user", "context")}
    result["cluster"].pop("certificate-authority-data", None)
    result["cluster"]["server"] = result["cluster"].get("server", "").replace(server.url, "@SERVER@")
    if "exec" in result["user"]:
        return result  # there is no plugin to run
    if "Please enter Username" in request.stdout + request.stderr:
        return result | {"headers": {}}  # it would be nobody
    if path not in server.seen:
        return {}
    wanted = re.compile(r"authorization|impersonate-.*", re.IGNORECASE)
    result["headers"] = {name.lower(): values for name, values in server.seen[path].items() if wanted.fullmatch(name)}
    return result


def main():
    with tempfile.TemporaryDirectory(prefix="sharder-yaml-") as name:
        folder = Path(name)
        reader = Reader(folder)
        values = json.loads((HERE / "values.json").read_text(encoding="utf-8"))
        answers = reader.read("values", [row["yaml"] for row in values])
        kept = [{key: row[key] for key in ("yaml", "ours") if key in row} for row in values]
        write("values.json", [row | answer for row, answer in zip(kept, answers)])

        configs = sections("sharderconfig.txt")
        head = "apiVersion: config.sharding.timebertt.dev/v1alpha1\nkind: SharderConfig\n"
        texts = [text if "apiVersion" in text else head + text for text in configs.values()]
        write("sharderconfig.json", reader.read("config", texts), configs.keys())

        kubectl = binaries.find() / "kubectl"
        server = Server(folder)
        kubeconfigs = sections("kubeconfig.txt")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = pool.map(lambda case: ask_kubectl(kubectl, server, folder, *case), enumerate(kubeconfigs.values()))
            write("kubeconfig.json", answers, kubeconfigs.keys())


if __name__ == "__main__":
    main()
