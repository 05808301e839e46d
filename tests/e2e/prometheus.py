"""A real Prometheus that scrapes the replicas of the sharder and the API server, and judges our alerts.

$PROMETHEUS and $PROMTOOL name programs of your own. Else both are taken once out of Debian's packages, which are not
installed: one would start a server. They are kept in ~/.cache/sharder-tests.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

import binaries
from cluster import ROOT
from processes import Failed, Process, free_ports, wait_until

RULES = ROOT / "manifests" / "components" / "monitoring" / "prometheus_rule.yaml"
DASHBOARDS = ROOT / "manifests" / "components" / "monitoring" / "dashboards"
SECONDS = {"s": 1, "m": 60, "h": 3600}


def program(name):
    """The path of `prometheus` or `promtool`."""
    own = os.environ.get(name.upper()) or shutil.which(name)
    if own:
        return Path(own)
    kept = binaries._cache_dir() / "prometheus" / name  # pylint: disable=protected-access
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".prometheus-", dir=kept.parent) as scratch:
            # In Debian 13 promtool has a package of its own, in Debian 12 it is in that of prometheus.
            get = "(apt-get download -qq prometheus promtool || apt-get download -qq prometheus)"
            unpack = "for deb in *.deb; do dpkg-deb -x $deb .; done"
            done = subprocess.run(f"({get} || (apt-get update -qq && {get})) && {unpack}", shell=True, cwd=scratch,
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failed(f"no {name}: install it, or set {name.upper()}; "
                             f"apt-get download says: {done.stderr.strip()}")
            for one in ("prometheus", "promtool"):
                (Path(scratch) / "usr" / "bin" / one).rename(kept.parent / one)
    return kept


def rules(faster=1):
    """The groups of our PrometheusRule. `faster`: every time in them is divided by this: `for`, the ranges in brackets,
    and what an expression writes as a product, `5 * 60` seconds."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]

    def shorter(text):
        return f"{max(1, round(int(text[:-1]) * SECONDS[text[-1]] / faster))}s"

    if faster != 1:
        for rule in (rule for group in groups for rule in group["rules"]):
            rule["expr"] = re.sub(r"(?<=[\[:])\d+[smh](?=[:\]])", lambda match: shorter(match[0]), rule["expr"])
            rule["expr"] = re.sub(r"(\d+) \* 60\b", lambda match: f"{int(match[1]) * 60 / faster:g}", rule["expr"])
            if "for" in rule:
                rule["for"] = shorter(rule["for"])
    return groups


class Prometheus:
    """It scrapes replicas and judges once a second, and the API server with its many metrics each other second. Replicas
    have the labels that the Prometheus operator would give them."""

    def __init__(self, plane, sharders, groups):
        self.plane, self._sharders = plane, sharders
        self._folder = plane.folder / "prometheus"
        self._folder.mkdir()
        self._port, = free_ports(1)
        (self._folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
        self.process = Process("prometheus", [
            program("prometheus"), f"--config.file={self._folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address=127.0.0.1:{self._port}"],
            self._folder / "prometheus.log")

    def __enter__(self):
        def job(name, targets, token, tls, interval):
            return {"job_name": name, "scheme": "https", "honor_labels": True, "tls_config": tls,
                    "scrape_interval": interval, "scrape_timeout": interval,
                    "authorization": {"credentials": token}, "static_configs": targets}

        replicas = [{"targets": [f"127.0.0.1:{replica.metrics_port}"], "labels": {"pod": replica.name}}
                    for replica in self._sharders.replicas]
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump({
            "global": {"evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                job("sharder", replicas, self.plane.metrics_token(), {"insecure_skip_verify": True}, "1s"),
                job("apiserver", [{"targets": [f"127.0.0.1:{self.plane.port}"]}],
                    self.plane.all_powerful_token("prometheus"), {"ca_file": str(self.plane.ca_file)}, "2s")],
        }), encoding="utf-8")
        self.process.start()
        wait_until(lambda: len(self.query('up{job="sharder"} == 1')) == len(self._sharders.replicas) and
                   self.query('up{job="apiserver"} == 1'), 30, "Prometheus scrapes", alive=self.process, interval=0.2)
        return self

    def __exit__(self, *_):
        self.process.kill()

    def _get(self, path, **query):
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it starts
                raise ConnectionError(str(error)) from None
            raise Failed(f"{query}: {error.read().decode()}") from None

    def query(self, expression):
        """[(labels, value)] of an expression now."""
        return [(one["metric"], float(one["value"][1])) for one in self._get("query", query=expression)["result"]]

    def firing(self, states=("firing",)):
        """{(alert, ring or "")} of the alerts that fire now, or are in one of these states: "pending", "firing"."""
        return {(alert["labels"]["alertname"], alert["labels"].get("controllerring", ""))
                for alert in self._get("alerts")["alerts"] if alert["state"] in states}


def dashboard_queries(path):
    """[(title of the panel, or $variable, PromQL)] of a dashboard, also of panels in collapsed rows."""
    board = json.loads(Path(path).read_text(encoding="utf-8"))

    def panels(members):
        for panel in members:
            yield from ((panel["title"], target["expr"]) for target in panel.get("targets", []))
            yield from panels(panel.get("panels", []))

    def variables():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
                yield f"${variable['name']}", f"count by ({label}) ({series})"

    return [*panels(board["panels"]), *variables()]


def as_grafana_would(expression, **variables):
    """The PromQL that Grafana sends: its variables have values. It computes rates over four of the ServiceMonitor's
    intervals."""
    for name, value in {"__rate_interval": "2m", "__range": "1h", "controllerring": ".*", **variables}.items():
        expression = re.sub(rf"\${name}\b", value, expression)
    return expression
