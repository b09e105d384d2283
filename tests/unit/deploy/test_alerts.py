"""Each alert of `deploy/alerts.yml` is fired by a series that has its trouble, and by no other."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.serving import ROOT

RULES = ROOT / "deploy" / "alerts.yml"
# Series of a server that is well: promtool's notation, a value a minute.
FLAT = "x45"
AT = "40m"
# Those that look back for hours are asked about alone, and seldom: a value every five minutes.
SLOW = {"CoworkDescriptorsRise": "8h", "CoworkMemoryGrows": "26h"}
WELL = {
    "cowork_ready": "1",
    "cowork_store_up": "1",
    "cowork_cli_logged_in": "1",
    'cowork_turns_total{outcome="succeeded",code="",key="web"}': "0+10",
    'cowork_turns_total{outcome="failed",code="claude_failed",key="web"}': "0+0.1",
    'cowork_http_requests_total{status="200"}': "0+10",
    'cowork_turn_first_token_seconds_bucket{start="resident",le="3.0"}': "0+10",
    'cowork_turn_first_token_seconds_bucket{start="resident",le="5.0"}': "0+10",
    'cowork_turn_first_token_seconds_bucket{start="resident",le="+Inf"}': "0+10",
    'cowork_turn_queue_seconds_bucket{le="10.0"}': "0+10",
    'cowork_turn_queue_seconds_bucket{le="30.0"}': "0+10",
    'cowork_turn_queue_seconds_bucket{le="+Inf"}': "0+10",
    'cowork_cli_processes{state="busy"}': "3",
    'cowork_cli_processes{state="starting"}': "0",
    "cowork_cli_processes_limit": "8",
    'cowork_cli_starts_total{kind="new",result="ok"}': "0+1",
    'cowork_cli_starts_total{kind="new",result="claude_unavailable"}': "0",
    'cowork_cli_starts_total{kind="spare",result="given_up"}': "0+1",
    'cowork_sessions_lost_total{why="no_transcript"}': "0",
    "cowork_outbox_oldest_age_seconds": "5",
    'cowork_outbox_messages{state="dead"}': "4",
    'cowork_event_loop_lag_seconds_bucket{le="0.1"}': "0+1200",
    'cowork_event_loop_lag_seconds_bucket{le="0.25"}': "0+1200",
    'cowork_event_loop_lag_seconds_bucket{le="+Inf"}': "0+1200",
    'cowork_process_open_fds{worker="1"}': "100",
    'cowork_process_max_fds{worker="1"}': "1024",
    'cowork_disk_free_bytes{where="workspace"}': "50",
    'cowork_disk_size_bytes{where="workspace"}': "100",
    'cowork_process_resident_memory_bytes{worker="1"}': "100",
    'cowork_cost_usd_total{key="web",model="m"}': "0+0.1",
    "cowork_log_lines_dropped_total": "0",
    'cowork_process_start_time_seconds{worker="1"}': "1",
}
# What of it is otherwise, for the alert to fire.
TROUBLE = {
    "CoworkNotReady": {"cowork_ready": "0"},
    "CoworkStoreUnavailable": {"cowork_store_up": "0"},
    "CoworkLoginLost": {"cowork_cli_logged_in": "0"},
    "CoworkTurnsFail": {
        'cowork_turns_total{outcome="failed",code="claude_failed",key="web"}': "0+1"
    },
    "CoworkInternalError": {'cowork_http_requests_total{status="500"}': "0+1"},
    "CoworkFirstTokenSlow": {
        'cowork_turn_first_token_seconds_bucket{start="resident",le="3.0"}': "0+8"
    },
    "CoworkQueueLong": {'cowork_turn_queue_seconds_bucket{le="10.0"}': "0+8"},
    "CoworkProcessesAtLimit": {'cowork_cli_processes{state="busy"}': "8"},
    "CoworkStartsFail": {'cowork_cli_starts_total{kind="new",result="claude_unavailable"}': "0+1"},
    "CoworkSessionsLost": {'cowork_sessions_lost_total{why="no_transcript"}': "0+1"},
    "CoworkOutboxLate": {"cowork_outbox_oldest_age_seconds": "700"},
    "CoworkDeadLetters": {'cowork_outbox_messages{state="dead"}': "4+1"},
    "CoworkEventLoopLate": {'cowork_event_loop_lag_seconds_bucket{le="0.1"}': "0+1100"},
    "CoworkDescriptorsShort": {'cowork_process_open_fds{worker="1"}': "900"},
    "CoworkDescriptorsRise": {'cowork_process_open_fds{worker="1"}': "0+3"},
    "CoworkDiskFull": {'cowork_disk_free_bytes{where="workspace"}': "4"},
    "CoworkMemoryGrows": {'cowork_process_resident_memory_bytes{worker="1"}': "100+1"},
    "CoworkCostOverBudget": {'cowork_cost_usd_total{key="web",model="m"}': "0+2"},
    "CoworkLogLinesLost": {"cowork_log_lines_dropped_total": "0+1"},
    "CoworkWorkerRestarted": {'cowork_process_start_time_seconds{worker="1"}': "1x38 2300x7"},
}


def series(values: dict[str, str], times: str = FLAT) -> list[dict[str, str]]:
    """As promtool takes them; a value that says for how long it is so is taken as it is."""
    found = []
    for name, value in values.items():
        grown = value if "x" in value else f"{value}{'' if '+' in value else '+0'}{times}"
        labelled = name.replace("{", '{instance="a",') if "{" in name else f'{name}{{instance="a"}}'
        found.append({"series": labelled, "values": grown})
    return found


def expected(expression: str, at: str, alerts: list[str]) -> list[dict[str, object]]:
    told = [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in alerts]
    expr = f"group by (alertname) ({expression})"
    return [{"expr": expr, "eval_time": at, "exp_samples": told}]


def firing(values: dict[str, str], alerts: list[str]) -> dict[str, object]:
    """A test of promtool's: of these series exactly these alerts are firing then."""
    firing_now = expected('ALERTS{alertstate="firing"}', AT, alerts)
    return {"interval": "1m", "input_series": series(values), "promql_expr_test": firing_now}


def firing_slowly(values: dict[str, str], alert: str, *, fires: bool) -> dict[str, object]:
    """The same of one alert that looks back for hours."""
    expression = f'ALERTS{{alertstate="firing",alertname="{alert}"}}'
    alone = expected(expression, SLOW[alert], [alert] if fires else [])
    told = {name: value for name, value in values.items() if "process" in name}
    return {"interval": "5m", "input_series": series(told, "x400"), "promql_expr_test": alone}


def run(promtool: str, tests: list[dict[str, object]], every: str, folder: Path) -> None:
    file = folder / f"{every}.json"  # which is YAML
    told = {"rule_files": [str(RULES)], "evaluation_interval": every, "tests": tests}
    file.write_text(json.dumps(told))
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_trouble_here_and_what_to_do() -> None:
    text = RULES.read_text()
    assert re.findall(r"(?m)^ +- alert: (\w+)$", text) == list(TROUBLE)
    assert len(re.findall(r"(?m)^ +action: ", text)) == len(TROUBLE)
    for trouble in TROUBLE.values():
        assert trouble.keys() <= WELL.keys() | {'cowork_http_requests_total{status="500"}'}


def test_the_rules_are_rules(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_alert_is_fired_by_its_trouble_alone(promtool: str, tmp_path: Path) -> None:
    quick = {alert: trouble for alert, trouble in TROUBLE.items() if alert not in SLOW}
    tests = [firing({**WELL, **trouble}, [alert]) for alert, trouble in quick.items()]
    run(promtool, [firing(WELL, []), *tests], "1m", tmp_path)
    slow = [firing_slowly(WELL, alert, fires=False) for alert in SLOW]
    slow += [firing_slowly({**WELL, **TROUBLE[alert]}, alert, fires=True) for alert in SLOW]
    run(promtool, slow, "10m", tmp_path)
