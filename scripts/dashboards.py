#!/usr/bin/env python3
"""Writes the Grafana dashboards of manifests/components/monitoring/dashboards from the descriptions below, in which
everything stands that a person decides: titles, queries, units. --check: only says what is not up to date.

To try a change, import the JSON in Grafana (Dashboards, New, Import); then change this file, run it, run
scripts/chart.py, and let tests/e2e/test_monitoring.py ask a Prometheus for each query.
"""
import dataclasses
import json
import pathlib
import sys

root = pathlib.Path(__file__).resolve().parent.parent
folder = root / "manifests" / "components" / "monitoring" / "dashboards"

WIDTH = 24  # of a dashboard in Grafana
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED = "green", "orange", "red"
YES_NO = [{"type": "value", "options": {"0": {"text": "No", "color": RED}, "1": {"text": "Yes", "color": GREEN}}}]


@dataclasses.dataclass(frozen=True)
class Panel:
    """`queries`: (PromQL, legend). `unit`: Grafana's name of it. `colors`: of a Stat, (from which value on, color)."""
    title: str
    description: str
    queries: tuple
    unit: str = "short"
    height: int = 8

    def json(self):
        return {"title": self.title, "description": self.description, "datasource": DATA_SOURCE, "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend, "datasource": DATA_SOURCE}
            for number, (expression, legend) in enumerate(self.queries)]}


@dataclasses.dataclass(frozen=True)
class Lines(Panel):
    """Values over time. `stacked`: their sum means something. `steps`: a value stays until the next one."""
    stacked: bool = False
    steps: bool = False

    def json(self):
        custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 40 if self.stacked else 0, "showPoints": "never",
                  "lineInterpolation": "stepAfter" if self.steps else "linear",
                  "stacking": {"mode": "normal" if self.stacked else "none"}}
        return super().json() | {
            "type": "timeseries",
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0, "custom": custom}, "overrides": []},
            "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                        "tooltip": {"mode": "multi", "sort": "desc"}}}


@dataclasses.dataclass(frozen=True)
class Stat(Panel):
    """The last value of each series, with its name. `colors`: (from which value on, color); `none`: what is shown when
    there is no series."""
    colors: tuple = ((None, GREEN),)
    mappings: tuple = ()
    none: str = "-"
    height: int = 5

    def json(self):
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in self.colors]}
        return super().json() | {
            "type": "stat",
            "fieldConfig": {"defaults": {"unit": self.unit, "noValue": self.none, "mappings": list(self.mappings),
                                         "thresholds": thresholds}, "overrides": []},
            "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none",
                        "textMode": "value_and_name" if any(legend for _, legend in self.queries) else "value"}}


@dataclasses.dataclass(frozen=True)
class Dashboard:
    """`variables`: {name: query}, besides the data source. `rows`: (title, panel, ...); the panels of a row share its
    width."""
    name: str
    title: str
    description: str
    variables: dict
    rows: tuple

    def json(self):
        panels, top = [], 0

        def add(content, height, left=0, width=WIDTH):
            panels.append(content | {"id": len(panels) + 1,
                                     "gridPos": {"h": height, "w": width, "x": left, "y": top}})

        for title, *members in self.rows:
            add({"type": "row", "title": title, "collapsed": False, "panels": []}, 1)
            top += 1
            width = WIDTH // len(members)
            height = max(panel.height for panel in members)
            for number, panel in enumerate(members):
                add(panel.json(), height, number * width, width)
            top += height
        source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
        return {"uid": f"sharder-{self.name}", "title": f"Sharder / {self.title}", "description": self.description,
                "tags": ["sharder"], "schemaVersion": 39, "editable": True, "graphTooltip": 1, "refresh": "30s",
                "time": {"from": "now-1h", "to": "now"}, "timezone": "", "annotations": {"list": []},
                "links": [{"type": "dashboards", "tags": ["sharder"], "title": "Sharder", "tooltip": "", "icon": "external link",
                           "asDropdown": False, "includeVars": True, "keepTime": True, "targetBlank": False}],
                "templating": {"list": [source, *(self._variable(*one) for one in self.variables.items())]},
                "panels": panels}

    @staticmethod
    def _variable(name, query):
        return {"name": name, "label": name, "type": "query", "datasource": DATA_SOURCE, "refresh": 2, "sort": 1,
                "query": {"query": query, "refId": name}, "multi": True, "includeAll": True, "allValue": ".*",
                "current": {"text": ["All"], "value": ["$__all"]}}


def quantile(part, histogram, by=""):
    return f"histogram_quantile({part}, sum by (le{by}) (rate({histogram}[$__rate_interval])))"


RING_VARIABLE = {"controllerring": 'label_values(controller_sharding_controllerring_metadata_generation{job="sharder"}, '
                                   'controllerring)'}
JOB = '{job="sharder"}'
RING = '{job="sharder",controllerring=~"$controllerring"}'
# As the API server knows it; its metrics do not tell rings apart.
WEBHOOK = '{name="sharder.sharding.timebertt.dev"}'

RINGS = Dashboard(
    "rings", "Rings", "Which shards there are, whether each object has the right one, and what moves.", RING_VARIABLE, (
        ("Now",
         Stat("Ready", "The ring's condition Ready. With No, its message says why: kubectl get controllerrings.",
              ((f"min by (controllerring) (controller_sharding_controllerring_ready{RING})", "{{controllerring}}"),),
              mappings=tuple(YES_NO)),
         Stat("Available shards", "Shards to which objects are assigned. With 0, nobody works on the ring's objects.",
              ((f"max by (controllerring) (controller_sharding_controllerring_status_available_shards{RING})",
                "{{controllerring}}"),), colors=((None, RED), (1, GREEN))),
         Stat("Unassigned objects", "Objects that should have a shard and have none that is in the ring: nobody works on "
              "them. While the objects of a lost shard are moved, that is no fault.",
              ((f"sum by (controllerring) (controller_sharding_unassigned_objects{RING})", "{{controllerring}}"),),
              colors=((None, GREEN), (1, RED))),
         Stat("Misplaced objects", "Objects on another shard than the one that the ring chooses, which was not asked yet "
              "to let them go. While shards join, that is no fault.",
              ((f"sum by (controllerring) (controller_sharding_misplaced_objects{RING})", "{{controllerring}}"),),
              colors=((None, GREEN), (1, ORANGE))),
         Stat("Draining objects", "Objects whose shard was asked to let them go and has not done so yet.",
              ((f"sum by (controllerring) (controller_sharding_draining_objects{RING})", "{{controllerring}}"),)),
         Stat("Waiting moves", "Moves that the leader has found to be needed and has not carried out yet.",
              ((f"sum by (controllerring) (controller_sharding_pending_moves{RING})", "{{controllerring}}"),))),
        ("Shards",
         Lines("Shards by state", "States of the shards' Leases. All but ready, in which a shard should be: expired and "
               "uncertain ones are late with a renewal, dead ones have lost their objects, orphaned ones are forgotten "
               "soon.",
               (("sum by (state) (\n"
                 f"  max by (controllerring, namespace, shard, state) (controller_sharding_shard_state{RING})\n"
                 ")", "{{state}}"),), stacked=True, steps=True),
         Lines("Cordoned shards, and shards in grace", "Cordoned: their objects drain to the others, and they get no new "
               "ones. In grace: gone, and expected back; their objects wait for them, and nobody works on them.",
               tuple(("sum by (controllerring) (\n"
                      f"  max by (controllerring, namespace, shard) (controller_sharding_shard_{metric}{RING})\n"
                      ")", f"{{{{controllerring}}}} {shown}") for metric, shown in (
                          ("cordoned", "cordoned"), ("in_grace", "in grace"))), steps=True),
         Lines("Changes of the members", "How often a ring was built anew in a minute, because a shard came or went.",
               (("max by (controllerring) (\n"
                 f"  rate(controller_sharding_ring_calculations_total{RING}[$__rate_interval])\n"
                 ") * 60", "{{controllerring}}"),))),
        ("Objects",
         Lines("Objects of each shard", "As the last pass over all objects has counted them.",
               ((f"sum by (controllerring, shard) (controller_sharding_objects{RING})", "{{controllerring}} {{shard}}"),),
               stacked=True, steps=True),
         Lines("Share of each shard", "The part of all possible keys that a shard owns: the part of the objects to "
               "expect on it. With few objects the real part differs.",
               ((f"max by (controllerring, shard) (controller_sharding_ring_share{RING})",
                 "{{controllerring}} {{shard}}"),), unit="percentunit", stacked=True, steps=True),
         Lines("Fullest shard", "How many times as many objects as the average one it has. 1 is perfect; 1.3 is usual.",
               ((f"max by (controllerring) (sum by (controllerring, shard) (controller_sharding_objects{RING}))\n"
                 "/\n"
                 f"avg by (controllerring) (sum by (controllerring, shard) (controller_sharding_objects{RING}))",
                 "{{controllerring}}"),), steps=True)),
        ("Not where they should be",
         Lines("Objects", "Unassigned: nobody works on them. Misplaced: not where the ring wants them. Draining: their "
               "shard was asked to let go.",
               tuple((f"sum by (controllerring) (controller_sharding_{kind}_objects{RING})",
                      f"{{{{controllerring}}}} {kind}") for kind in ("unassigned", "misplaced", "draining"))),
         Lines("Oldest of them", "For how long the leader has known the oldest one. It begins anew with each leader. "
               "Lines that climb mean that nothing is done about an object.",
               tuple((f"max by (controllerring, resource) (controller_sharding_oldest_{kind}_seconds{RING})",
                      f"{{{{controllerring}}}} {{{{resource}}}} {shown}") for kind, shown in (
                          ("unassigned", "unassigned"), ("misplaced", "misplaced"), ("drain", "draining"))), unit="s"),
         Lines("Since the last pass", "The leader looks at all objects after each change of the members and every "
               "syncPeriod (5 minutes).",
               ((f"time() - max by (controllerring, resource) (controller_sharding_last_pass_timestamp_seconds{RING})",
                 "{{controllerring}} {{resource}}"),), unit="s")),
        ("Moves",
         Lines("Assignments, moves and drains", "Objects that got their shard from the webhook when they were created, "
               "objects that the leader gave a shard, and objects whose shard it asked to let go.",
               tuple((f"sum by (controllerring) (rate(controller_sharding_{kind}_total{RING}[$__rate_interval]))",
                      f"{{{{controllerring}}}} {kind}") for kind in ("assignments", "movements", "drains")), unit="ops"),
         Lines("Time to move an object", "From when a move was found to be needed until it was carried out.",
               tuple((quantile(part, f"controller_sharding_move_duration_seconds_bucket{RING}", ", controllerring"),
                      f"{{{{controllerring}}}} {shown}") for part, shown in ((0.5, "half of them"), (0.99, "99 %"))),
               unit="s"),
         Lines("Failed moves", "By reason; the Events of the ring name objects. Conflicts do not count.",
               ((f"sum by (controllerring, resource, reason) (rate(controller_sharding_move_failures_total{RING}"
                 "[$__rate_interval]))", "{{controllerring}} {{resource}} {{reason}}"),), unit="ops"))))

WEBHOOK_BOARD = Dashboard(
    "webhook", "Webhook", "Whether objects get their shard when they are created, and what that costs. The upper half "
    "needs the API server's metrics.", RING_VARIABLE, (
        ("Now",
         Stat("Objects without an answer", "In the time shown, requests that the API server let pass without the "
              "webhook's answer. Their objects get their shard from the leader, soon afterwards.",
              ((f"sum(increase(apiserver_admission_webhook_fail_open_count{WEBHOOK}[$__range]))", ""),),
              colors=((None, GREEN), (1, RED)), none="0"),
         Stat("Slowest requests", "99 % of the requests to the webhook are faster, as the API server measures.",
              ((quantile(0.99, f"apiserver_admission_webhook_admission_duration_seconds_bucket{WEBHOOK}"), ""),),
              unit="s", colors=((None, GREEN), (0.1, ORANGE), (0.5, RED))),
         Stat("Certificate is trusted", "The ring's condition WebhookReachable. With No, its message says what to do.",
              ((f"min by (controllerring) (controller_sharding_webhook_reachable{RING})", "{{controllerring}}"),),
              mappings=tuple(YES_NO)),
         Stat("Certificate expires in", "The first of the replicas' certificates, for the webhook and for metrics.",
              ((f"min by (server) (controller_sharding_certificate_expiry_timestamp_seconds{JOB}) - time()",
                "{{server}}"),), unit="s", colors=((None, RED), (7 * 86400, GREEN)))),
        ("As the API server sees it",
         Lines("Requests by status", "Admission reviews that the API server sent, by the HTTP status of the answer. "
               "Without an answer the status is that of the API server itself.",
               ((f"sum by (code) (rate(apiserver_admission_webhook_request_total{WEBHOOK}[$__rate_interval]))",
                 "{{code}}"),), unit="reqps", stacked=True),
         Lines("Time until the answer", "With connection, TLS and network. Each creation of an object waits for this.",
               tuple((quantile(part, f"apiserver_admission_webhook_admission_duration_seconds_bucket{WEBHOOK}"), shown)
                     for part, shown in ((0.5, "half of them"), (0.99, "99 %"))), unit="s"),
         Lines("Let pass without an answer", "Objects that were created or changed without the webhook, because it "
               "did not answer in time or could not be trusted.",
               ((f"sum(rate(apiserver_admission_webhook_fail_open_count{WEBHOOK}[$__rate_interval]))", "failed open"),),
               unit="reqps")),
        ("As the sharder sees it",
         Lines("Requests by replica", "Admission reviews that each replica answered, by HTTP status.",
               ((f"sum by (pod, code) (rate(controller_runtime_webhook_requests_total{JOB}[$__rate_interval]))",
                 "{{pod}} {{code}}"),), unit="reqps", stacked=True),
         Lines("Time in the sharder", "From the whole request until the answer. What the API server measures more than "
               "this is the way.",
               tuple((quantile(part, f"controller_runtime_webhook_latency_seconds_bucket{JOB}"), shown)
                     for part, shown in ((0.5, "half of them"), (0.99, "99 %"))), unit="s"),
         Lines("Requests in flight", "Admission reviews that are being answered.",
               ((f"sum by (pod) (controller_runtime_webhook_requests_in_flight{JOB})", "{{pod}}"),))),
        ("Answers",
         Lines("Assigned objects", "Objects that got their shard from the webhook.",
               (("sum by (controllerring, resource) (\n"
                 f"  rate(controller_sharding_assignments_total{RING}[$__rate_interval])\n"
                 ")", "{{controllerring}} {{resource}}"),), unit="ops", stacked=True),
         Lines("What went wrong", "Objects that were allowed with a warning, exceptions, clients without a certificate "
               "of webhook.server.clientCAFile, and reads of the certificate that failed. The log has the reasons.",
               tuple((f"sum(rate({name}{JOB}[$__rate_interval]))", shown) for name, shown in (
                   ("controller_sharding_admission_warnings_total", "warnings"),
                   ("controller_runtime_webhook_panics_total", "exceptions"),
                   ("controller_sharding_refused_clients_total", "refused clients"),
                   ("certwatcher_read_certificate_errors_total", "unreadable certificates"))), unit="ops"))))

REPLICAS = Dashboard(
    "replicas", "Replicas", "The processes of the sharder: which one leads, what they use, what they ask of the API "
    "server.", {}, (
        ("Now",
         Stat("Replicas", "Processes that can be scraped.", ((f"sum(up{JOB})", ""),), colors=((None, RED), (1, GREEN))),
         Stat("Leader", "The replica that moves objects and looks after Leases.",
              ((f"max by (pod) (leader_election_master_status{JOB}) == 1", "{{pod}}"),), none="nobody",
              mappings=tuple(YES_NO)),
         Stat("Replicas agree", "Whether all see the same shards of a ring. With No for longer than a minute, some "
              "objects get a wrong shard first.",
              ((f"max by (controllerring) (controller_sharding_ring_members_hash{JOB})\n"
                "== bool\n"
                f"min by (controllerring) (controller_sharding_ring_members_hash{JOB})", "{{controllerring}}"),),
              mappings=tuple(YES_NO)),
         Stat("Versions", "Replicas of each version.",
              ((f"count by (version, commit) (controller_sharding_build_info{JOB})", "{{version}} {{commit}}"),))),
        ("Processes",
         Lines("Leader", "1 for the replica that leads. A change takes up to 20 seconds.",
               ((f"max by (pod) (leader_election_master_status{JOB})", "{{pod}}"),), stacked=True, steps=True),
         Lines("Memory", "Resident memory. It does not grow with the number of objects.",
               ((f"max by (pod) (process_resident_memory_bytes{JOB})", "{{pod}}"),), unit="bytes"),
         Lines("CPU", "CPUs that are in use.",
               ((f"sum by (pod) (rate(process_cpu_seconds_total{JOB}[$__rate_interval]))", "{{pod}}"),)),
         Lines("Open files", "File descriptors; each connection to the webhook has one.",
               ((f"max by (pod) (process_open_fds{JOB})", "{{pod}}"),))),
        ("Requests to the API server",
         Lines("By method and status", "A patch for each move. 409: an object has changed meanwhile, it is tried anew. "
               "403: a permission is missing. 429: the API server is overloaded.",
               ((f"sum by (method, code) (rate(rest_client_requests_total{JOB}[$__rate_interval]))",
                 "{{method}} {{code}}"),), unit="reqps", stacked=True),
         Lines("By replica", "The leader has most of them.",
               ((f"sum by (pod) (rate(rest_client_requests_total{JOB}[$__rate_interval]))", "{{pod}}"),), unit="reqps",
               stacked=True),
         Lines("Time until the answer", "99 % of the requests of each verb are faster.",
               ((quantile(0.99, f"rest_client_request_duration_seconds_bucket{JOB}", ", verb"), "{{verb}}"),), unit="s")),
        ("Reconciliations",
         Lines("By controller and result", "controllerring: rings. shardlease: writes of shards' Leases. sharder: passes "
               "over all objects of a resource.",
               ((f"sum by (controller, result) (rate(controller_runtime_reconcile_total{JOB}[$__rate_interval]))",
                 "{{controller}} {{result}}"),), unit="ops"),
         Lines("Time of a reconciliation", "99 % of them are faster.",
               ((quantile(0.99, f"controller_runtime_reconcile_time_seconds_bucket{JOB}", ", controller"),
                 "{{controller}}"),), unit="s"))))


def main():
    wanted = {folder / f"{board.name}.json": json.dumps(board.json(), indent=1) + "\n"
              for board in (RINGS, WEBHOOK_BOARD, REPLICAS)}
    stale = [path for path in {*wanted, *folder.glob("*")}
             if path not in wanted or not path.exists() or path.read_text(encoding="utf-8") != wanted[path]]
    names = ", ".join(sorted(str(path.relative_to(root)) for path in stale))
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"not up to date: {names}; run scripts/dashboards.py")
        print(f"dashboards: {len(wanted)} files are up to date")
        return
    for path in stale:
        if path in wanted:
            folder.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    print(f"dashboards: wrote {names}" if stale else "dashboards: all was up to date")


if __name__ == "__main__":
    main()
