"""When each alert of manifests/components/monitoring fires, as input of `promtool test rules`.

CASES, for each alert: series with which it fires, and when; and series with which it never does. EVENTS: what happens
every day, with which no alert may ever fire. In promtool's notation, `0+1x60` is 0, 1, 2, ... for 60 minutes, `_` is no
sample, and `stale` the end of a series.
"""

RING = 'job="sharder",controllerring="shop"'
EXPIRY = 'controller_sharding_certificate_expiry_timestamp_seconds{job="sharder",server="webhook"}'
KIND = f'{RING},group="apps",resource="deployments"'
WEBHOOK = 'name="sharder.sharding.timebertt.dev",type="admit"'
SLOW, FAST = 'le="10"', 'le="0.025"'


def latency(bound):
    return f"apiserver_admission_webhook_admission_duration_seconds_bucket{{{WEBHOOK},{bound}}}"


def available(values):
    return {f'controller_sharding_controllerring_status_available_shards{{{RING},pod="a"}}': values}


def oldest_unassigned(values):
    return {f'controller_sharding_oldest_unassigned_seconds{{{KIND},pod="a"}}': values}


def oldest_misplaced(values):
    return {f'controller_sharding_oldest_misplaced_seconds{{{KIND},pod="a"}}': values}


def deleted_leases(**by_pod):
    return {f'controller_sharding_shard_leases_deleted_total{{{RING},pod="{pod}"}}': values
            for pod, values in by_pod.items()}


def leases(**by_namespace):
    """Of one shard, as both replicas see them."""
    return {f'controller_sharding_shard_info{{{RING},namespace="{namespace}",shard="s-0",uid="{namespace}",pod="{pod}"}}': values
            for namespace, values in by_namespace.items() for pod in "ab"}


def hashes(**by_pod):
    return {f'controller_sharding_ring_members_hash{{{RING},pod="{pod}"}}': values for pod, values in by_pod.items()}


def shard_is_ready(values):
    return {f'controller_sharding_shard_state{{{RING},namespace="shop",shard="s-0",state="ready",pod="a"}}': values}


CASES = {
    "SharderDown": ({'up{job="sharder",pod="a"}': "0x60"}, "10m", {'up{job="sharder",pod="a"}': "0x60",
                                                                   'up{job="sharder",pod="b"}': "1x60"}),
    "SharderHasNoLeader": ({'leader_election_master_status{job="sharder",name="sharder",pod="a"}': "0x60"}, "5m",
                           {'leader_election_master_status{job="sharder",name="sharder",pod="a"}': "0x60",
                            'leader_election_master_status{job="sharder",name="sharder",pod="b"}': "1x60"}),
    "ShardingRingHasNoShard": (
        {f'controller_sharding_controllerring_status_available_shards{{{RING},pod="a"}}': "0x60"}, "5m",
        {f'controller_sharding_controllerring_status_available_shards{{{RING},pod="a"}}': "1x60"}),
    "ShardingRingNotReady": ({f'controller_sharding_controllerring_ready{{{RING},pod="a"}}': "0x60"}, "10m",
                             {f'controller_sharding_controllerring_ready{{{RING},pod="a"}}': "1x10 0x3 1x47"}),
    "ShardingObjectsUnassigned": ({**oldest_unassigned("0+60x60"), **available("3x60")}, "10m",
                                  {**oldest_unassigned("0+60x60"), **available("0x60")}),
    "ShardingObjectsMisplaced": (oldest_misplaced("0+60x60"), "20m", oldest_misplaced("0x10 0+60x10 0x40")),
    "ShardingAdmissionsFailOpen": (
        {f"apiserver_admission_webhook_fail_open_count{{{WEBHOOK}}}": "0+5x60"}, "15m",
        {f"apiserver_admission_webhook_fail_open_count{{{WEBHOOK}}}": "0x10 9x49"}),
    "ShardingWebhookSlow": ({latency(FAST): "0+90x60", latency(SLOW): "0+100x60", latency('le="+Inf"'): "0+100x60"}, "20m",
                            {latency(FAST): "0+100x60", latency(SLOW): "0+100x60", latency('le="+Inf"'): "0+100x60"}),
    "ShardingWebhookNotReachable": (
        {f'controller_sharding_webhook_reachable{{{RING},pod="a"}}': "0x60"}, "10m",
        {f'controller_sharding_webhook_reachable{{{RING},pod="a"}}': "1x60"}),
    "ShardingAdmissionWarnings": ({'controller_sharding_admission_warnings_total{job="sharder"}': "0+1x60"}, "10m",
                                  {'controller_sharding_admission_warnings_total{job="sharder"}': "7x60"}),
    "ShardingWebhookRefusesClients": ({'controller_sharding_refused_clients_total{job="sharder"}': "0+1x60"}, "20m",
                                      {'controller_sharding_refused_clients_total{job="sharder"}': "7x60"}),
    # Times are counted from 0: two days after the beginning, and 90 days.
    "SharderCertificateExpires": ({EXPIRY: "172800x60"}, "20m", {EXPIRY: "7776000x60"}),
    "SharderCertificateUnreadable": ({'certwatcher_read_certificate_errors_total{job="sharder"}': "0+1x60"}, "20m",
                                     {'certwatcher_read_certificate_errors_total{job="sharder"}': "3x60"}),
    "ShardingDrainNotAcknowledged": ({f"controller_sharding_oldest_drain_seconds{{{KIND}}}": "0+60x60"}, "10m",
                                     {f"controller_sharding_oldest_drain_seconds{{{KIND}}}": "200x60"}),
    "ShardingMovesFail": (
        {f'controller_sharding_move_failures_total{{{KIND},reason="forbidden"}}': "0+1x60"}, "20m",
        {f'controller_sharding_move_failures_total{{{KIND},reason="unavailable"}}': "0+1x60"}),
    "ShardingMovesAreStuck": ({f"controller_sharding_pending_moves{{{KIND}}}": "100x60"}, "40m",
                              {f"controller_sharding_pending_moves{{{KIND}}}": "6000-100x60"}),
    # Times are counted from 0, so a pass at 0 is 40 minutes old after 40 minutes.
    "ShardingPassOverdue": ({f"controller_sharding_last_pass_timestamp_seconds{{{KIND}}}": "0x60"}, "40m",
                            {f"controller_sharding_last_pass_timestamp_seconds{{{KIND}}}": "0x20 1200x20 2400x20"}),
    "ShardingShardFlaps": (shard_is_ready("1 0 1 0 1 0 1 0 1x52"), "30m", shard_is_ready("1x10 0 0 1x18 0 1x28")),
    "ShardingLeaseDeleted": (deleted_leases(a="0x10 1x50", b="0x11 1x49"), "15m", deleted_leases(a="1x60", b="0x60")),
    # A controller that is moved to another namespace has Leases in both for a while.
    "ShardingShardNamedTwice": (leases(shop="1x60", other="1x60"), "10m", leases(shop="1x12 stale", other="_x10 1x50")),
    # One replica sees a shard come, the other one does not.
    "ShardingReplicasDisagree": (hashes(a="7x10 8x50", b="7x60"), "30m",
                                 hashes(a="7x10 8x10 9x40", b="7x11 8x10 9x39")),
    "SharderRequestsFail": ({'rest_client_requests_total{job="sharder",code="403",method="PATCH"}': "0+5x60"}, "30m",
                            {'rest_client_requests_total{job="sharder",code="409",method="PATCH"}': "0+5x60"}),
}


# Two replicas, a and b; a leads.
HEALTHY = {
    **{f'up{{job="sharder",pod="{pod}"}}': "1x60" for pod in "ab"},
    'leader_election_master_status{job="sharder",name="sharder",pod="a"}': "1x60",
    'leader_election_master_status{job="sharder",name="sharder",pod="b"}': "0x60",
    **available("3x60"), **hashes(a="7x60", b="7x60"), **oldest_unassigned("0x60"), **oldest_misplaced("0x60"),
    **shard_is_ready("1x60"), **deleted_leases(a="0x60", b="0x60"), **leases(shop="1x60"),
    f'controller_sharding_controllerring_ready{{{RING},pod="a"}}': "1x60",
    f'controller_sharding_webhook_reachable{{{RING},pod="a"}}': "1x60",
    EXPIRY: "7776000x60",
}
ADMISSION_WARNINGS = 'controller_sharding_admission_warnings_total{job="sharder",pod="a"}'

EVENTS = {
    "nothing happens": {},
    "the replicas of the sharder are restarted, one after the other": {
        'up{job="sharder",pod="a"}': "1x10 0x1 stale", 'up{job="sharder",pod="b"}': "1x60",
        'up{job="sharder",pod="c"}': "_x9 0x1 1x49",
        'leader_election_master_status{job="sharder",name="sharder",pod="a"}': "1x10 stale",
        'leader_election_master_status{job="sharder",name="sharder",pod="b"}': "0x11 1x48",
        **hashes(a="7x10 stale", b="7x60", c="_x10 7x49"), ADMISSION_WARNINGS: "3x10 stale",
        f"controller_sharding_last_pass_timestamp_seconds{{{KIND}}}": "0x10 stale 660+60x48"},
    "a replica crashes, and the API server misses some answers": {
        'up{job="sharder",pod="b"}': "1x10 0x2 1x48", **hashes(a="7x60", b="7x10 _x2 7x47"),
        f"apiserver_admission_webhook_fail_open_count{{{WEBHOOK}}}": "0x10 4x49",
        latency(FAST): "0+100x9 900 900+100x49", latency(SLOW): "0+100x9 904 904+100x49"},
    "a shard joins, and half an hour later one leaves": {
        **available("3x10 4x30 3x20"), **hashes(a="7x10 8x30 9x20", b="7x11 8x30 9x19"),
        f"controller_sharding_pending_moves{{{KIND}}}": "0x10 500 100 0x28 600 0x19",
        f"controller_sharding_oldest_drain_seconds{{{KIND}}}": "0x10 20 80 0x48",
        **oldest_unassigned("0x40 10 0x19")},
    "a shard crashes, and its many objects are moved in two minutes": {
        **available("3x10 2x50"), **shard_is_ready("1x10 0x50"), **leases(shop="1x14 stale"), **oldest_unassigned("0x10 50 110 0x48"),
        **hashes(a="7x10 8x50", b="7x10 8x50"), f"controller_sharding_pending_moves{{{KIND}}}": "0x10 9000 3000 0x48"},
    # Each scrape of one replica sees a change that the other one shows a scrape later, for half an hour.
    "all shards are restarted, one after the other": {
        **hashes(a="7x10 10+1x30 50x18", b="7x11 10+1x30 50x17"), **shard_is_ready("1x20 0 1x38"),
        **oldest_unassigned("0x10 5x30 0x19")},
    "the certificate is renewed a week before its end": {EXPIRY: "614400x5 7776000x54"},
}


def test_file(rules):
    """The contents of promtool's test file."""
    def test(series, when, expression, expected=()):
        return {"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": expression, "eval_time": when, "exp_samples": list(expected)}]}

    tests = []
    for alert, (fires, when, silent) in CASES.items():
        firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        tests.append(test(fires, when, f"count by (alertname) ({firing})",
                          [{"labels": f'{{alertname="{alert}"}}', "value": 1}]))
        tests.append(test(silent, "59m", f"last_over_time({firing}[2h])"))
    for series in EVENTS.values():
        tests.append(test({**HEALTHY, **series}, "59m", 'last_over_time(ALERTS{alertstate="firing"}[2h])'))
    return {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}
