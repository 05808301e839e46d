"""When each alert of manifests/components/monitoring fires, as input of `promtool test rules`.

For each alert: series with which it fires, and when; and series with which it does not. In promtool's notation,
`0+1x60` is 0, 1, 2, ... for 60 minutes.
"""

RING = 'job="sharder",controllerring="shop"'
EXPIRY = 'controller_sharding_certificate_expiry_timestamp_seconds{job="sharder",server="webhook"}'
KIND = f'{RING},group="apps",resource="deployments"'

CASES = {
    "SharderDown": ({'up{job="sharder",pod="a"}': "0x60"}, "10m", {'up{job="sharder",pod="a"}': "0x60",
                                                                   'up{job="sharder",pod="b"}': "1x60"}),
    "SharderHasNoLeader": ({'leader_election_master_status{job="sharder",name="sharder",pod="a"}': "0x60"}, "5m",
                           {'leader_election_master_status{job="sharder",name="sharder",pod="a"}': "0x60",
                            'leader_election_master_status{job="sharder",name="sharder",pod="b"}': "1x60"}),
    "ShardingRingHasNoShard": (
        {f'controller_sharding_controllerring_status_available_shards{{{RING},pod="a"}}': "0x60"}, "5m",
        {f'controller_sharding_controllerring_status_available_shards{{{RING},pod="a"}}': "1x60"}),
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
    "SharderRequestsFail": ({'rest_client_requests_total{job="sharder",code="403",method="PATCH"}': "0+5x60"}, "30m",
                            {'rest_client_requests_total{job="sharder",code="409",method="PATCH"}': "0+5x60"}),
}


def test_file(rules):
    """The contents of promtool's test file."""
    def test(alert, series, when, expected):
        firing = f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
        return {"interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": firing, "eval_time": when, "exp_samples": expected}]}

    tests = []
    for alert, (fires, when, silent) in CASES.items():
        tests.append(test(alert, fires, when, [{"labels": f'{{alertname="{alert}"}}', "value": 1}]))
        tests.append(test(alert, silent, when, []))
    return {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}
