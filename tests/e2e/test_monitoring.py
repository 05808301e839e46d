#!/usr/bin/python3
"""Dashboards and alerts, with a real Prometheus that scrapes two replicas of the sharder and the API server."""

import contextlib
import itertools
import math
import re
import sys
import threading

from cluster import ROOT, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from environment import CONFIG_MAPS, SECRETS, Environment
from kubeclient import ApiError
from processes import wait_until
from prometheus import DASHBOARDS, RULES, Prometheus, as_grafana_would, dashboard_queries, rules
from suite import Suite

sys.path.append(str(ROOT / "tests" / "e2e" / "kind"))
from images import go_project  # pylint: disable=wrong-import-position

REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
GO_DASHBOARDS = "hack/config/monitoring/default/dashboards"
SHARDER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
OF_OTHERS = re.compile(r"apiserver_|up$")  # the API server's own metrics, and Prometheus'

# Metrics of the Go project's dashboards that we do not have, with the reason. Their panels stay empty.
NOT_OURS = {
    "controller_runtime_active_workers": "there are no workers: reconciliations are events of one thread",
    "controller_runtime_max_concurrent_reconciles": "the same",
    "rest_client_request_size_bytes": "requests are small, and their number is known",
    "rest_client_response_size_bytes": "answers are read as a stream",
    "rest_client_rate_limiter_duration_seconds": "there is no limit of requests by default",
    "workqueue_adds_total": "there are no work queues",
    "workqueue_depth": "there are no work queues; controller_sharding_pending_moves says what waits",
    "workqueue_longest_running_processor_seconds": "there are no work queues",
    "workqueue_queue_duration_seconds": "there are no work queues",
    "workqueue_retries_total": "there are no work queues",
    "workqueue_unfinished_work_seconds": "there are no work queues",
    "workqueue_work_duration_seconds": "there are no work queues",
}


class Load:
    """Somebody who creates Secrets all the time, 20 a second."""

    def __init__(self, ring):
        self._ring, self._stop = ring, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        client = self._ring.env.admin
        for number in itertools.count():
            if self._stop.wait(0.05):
                return
            with contextlib.suppress(OSError):  # on a busy machine an answer may be late
                client.create("secrets", self._ring.namespace, {"metadata": {"name": f"load-{number}"}})


class Monitored(Environment):
    """Two replicas that are scraped, and a ring of three shards under load."""

    def __enter__(self):
        super().__enter__()
        try:
            self.prometheus = Prometheus(self.plane, self.sharders, rules()).__enter__()
            self.shop = self.ring("shop", ((SECRETS, (CONFIG_MAPS,)),))
            self.shards = self.shop.shards("shard-a", "shard-b", "shard-c", working=True).__enter__()
            self.shop.wait_ready(["shard-a", "shard-b", "shard-c"])
            self.shop.create_secrets(200, owned=100)
            self.load = Load(self.shop).__enter__()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exception):
        for part in ("load", "shards", "prometheus"):
            if hasattr(self, part):
                getattr(self, part).__exit__(*exception)
        super().__exit__(*exception)


suite = Suite("monitoring", lambda short: Monitored(short=short), parallel=False)


def metrics_of(expression):
    """The metrics of a PromQL expression, without the ends of histograms' series."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) if "_seconds_" in name or "_bytes_" in name else name
            for name in re.findall(r"\b([a-z][a-z0-9_]*)(?=\{)", expression)}


def all_queries(boards=None):
    """[(where, PromQL)] of these files of dashboards, or of ours."""
    return [(f"{path.stem}: {title}", query) for path in boards or sorted(DASHBOARDS.glob("*.json"))
            for title, query in dashboard_queries(path)]


def without_data(env, queries, **variables):
    """Those of [(where, PromQL)] with no value but NaN."""
    return [(where, query) for where, query in queries
            if all(math.isnan(value) for _, value in env.prometheus.query(as_grafana_would(query, **variables)))]


@suite.case("a join, a crash, a leave and a restart of the replicas, one after the other, fire no alert", short=False)
def quiet(env):
    env.shards.start("shard-d")
    env.shop.wait_members(["shard-a", "shard-b", "shard-c", "shard-d"])
    for replica in env.sharders.replicas:
        with env.sharders.forgotten(replica):
            assert replica.process.stop(25) == 0
            replica.start()
            replica.wait_ready()
    env.shards.crash("shard-b")
    env.shards.release("shard-c")
    env.shop.wait_members(["shard-a", "shard-d"], timeout=60)
    env.sharders.wait_leader()
    fired = env.prometheus.query('last_over_time(ALERTS{alertstate="firing"}[1h])')
    assert not fired, fired
    # Prometheus judges at all: some conditions hold for a moment.
    assert env.prometheus.query("sum(scrape_samples_scraped)")[0][1] > 100
    assert len(env.prometheus.query("prometheus_rule_evaluations_total or vector(1)")) >= 1


@suite.case("each query of the dashboards returns data", short=False)
def dashboards(env):
    queries = all_queries()
    assert len(queries) > 40, queries
    refuse_patches(env, "load-1")
    env.sharders.balancer.kill()  # the API server goes on without an answer
    failed_open = [one for one in queries if "fail_open" in one[1]]
    try:
        wait_until(lambda: not without_data(env, failed_open), 30, "requests that failed open are in the dashboards",
                   interval=0.5)
    finally:
        env.sharders.balancer.start()
    missing = [one for one in queries if one not in failed_open]
    env.shards.release("shard-d")  # its objects move
    env.shards.start("shard-e")

    def all_have_data():
        nonlocal missing
        # What was there once is not asked for again.
        missing = without_data(env, missing)
        return not missing

    try:
        wait_until(all_have_data, 90, "each query has data", interval=0.5)
    finally:
        env.figure("queries of our dashboards", f"{len(queries)}, without data: "
                   f"{sorted({where for where, _ in missing}) or 'none'}")


def refuse_patches(env, name):
    """A policy lets nobody but us patch this object: moves of it fail. It is made one of nobody's."""
    kind = "admissionregistration.k8s.io/v1"
    env.admin.create("validatingadmissionpolicies", None, {
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "refused"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
                                                    "resources": ["secrets"]}]},
            "validations": [{"expression": f"request.userInfo.username != '{SHARDER}' || "
                                           f"object.metadata.name != '{name}'"}]}})
    env.admin.create("validatingadmissionpolicybindings", None, {
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "refused"},
        "spec": {"policyName": "refused", "validationActions": ["Deny"]}})
    sharder = env.plane.client(env.plane.service_account_token())

    def refused():
        try:
            sharder.patch("secrets", env.shop.namespace, name, {"metadata": {"annotations": {"a": "b"}}}, dryRun="All")
        except ApiError as error:
            return "denied" in error.message
        return False

    wait_until(refused, 30, "the policy is in force", interval=0.2)
    env.admin.patch("secrets", env.shop.namespace, name, {"metadata": {"labels": {env.shop.label: "nobody"}}})


@suite.case("each query of the Go project's dashboards returns data, unless we do not have its metric, for a reason",
            short=False)
def dashboards_of_the_go_project(env):
    variables = {"job": "sharder", "pod": ".*", "verb": ".*", "code": ".*", "controller": ".*", "percentile": "90"}
    boards = sorted((go_project() / GO_DASHBOARDS).glob("*.json"))
    assert len(boards) == 3, boards
    queries = all_queries(boards)
    empty = without_data(env, queries, **variables)
    for where, query in queries:
        known = metrics_of(query) & set(NOT_OURS)
        if (where, query) in empty:
            assert known, f"no data, without a reason: {where}: {query}"
        else:
            assert not known, f"there is data: {where}: {query}"
    env.figure("queries of the Go project's dashboards", f"{len(queries)}, {len(empty)} without data: " + ", ".join(
        sorted({name for _, query in empty for name in metrics_of(query)})))


@suite.case("each metric of dashboards and alerts is exported by a replica, and is in the reference", short=False)
def metrics(env):
    alerts = [rule["expr"] for group in rules() for rule in group["rules"]]
    names = set().union(*(metrics_of(query) for query in (*(query for _, query in all_queries()), *alerts)))
    assert len(names) > 30, names
    ours = {name for name in names if not OF_OTHERS.match(name)}
    token = env.plane.metrics_token()
    text = wait_until(lambda: "".join(replica.scrape(token) for replica in env.sharders.replicas), 30, "metrics")
    exported = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert ours <= exported, f"of {RULES.parent}, not exported: {sorted(ours - exported)}"
    documented = set(re.findall(r"^\| `(\w+)`", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))
    assert ours <= documented, f"not in {REFERENCE}: {sorted(ours - documented)}"


if __name__ == "__main__":
    suite.main()
