"""The table of `docs/metrics.md` is the catalogue's, and every metric that was promised is there."""

from __future__ import annotations

import re
from pathlib import Path

from cowork.telemetry import catalogue
from cowork.telemetry.catalogue import ALL, PREFIX

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "metrics.md").read_text()
ACROSS = {"sum": "sum", "max": "largest", "min": "smallest", "each": "each, by `worker`"}
# Dashboards and alerts rely on these names, and on their labels.
PROMISED = {
    "http_requests_total": "method route status",
    "http_request_duration_seconds": "method route",
    "http_refused_total": "reason",
    "turns_total": "api kind outcome code key",
    "turn_duration_seconds": "kind",
    "turn_first_token_seconds": "start",
    "turn_queue_seconds": "",
    "turn_slot_wait_seconds": "",
    "turn_claim_wait_seconds": "",
    "turns_in_progress": "state",
    "relay_delay_seconds": "",
    "streams_open": "",
    "stream_ends_total": "how",
    "stream_resumes_total": "result",
    "tokens_total": "key model type",
    "cost_usd_total": "key model",
    "sessions": "",
    "sessions_lost_total": "why",
    "idempotent_replays_total": "result",
    "cli_processes": "state",
    "cli_processes_limit": "",
    "cli_starts_total": "kind result",
    "cli_start_duration_seconds": "kind",
    "cli_ends_total": "why",
    "cli_memory_bytes": "",
    "cli_process_memory_bytes": "",
    "cli_orphans_ended_total": "",
    "cli_info": "version",
    "cli_logged_in": "",
    "store_operation_duration_seconds": "operation",
    "store_errors_total": "operation",
    "store_up": "",
    "store_waiting_ends": "",
    "store_file_bytes": "",
    "outbox_messages": "state",
    "outbox_oldest_age_seconds": "",
    "outbox_deliveries_total": "result",
    "upstream_request_duration_seconds": "path",
    "event_loop_lag_seconds": "",
    "log_lines_dropped_total": "",
    "disk_free_bytes": "where",
    "disk_size_bytes": "where",
    "ready": "",
    "build_info": "version python gevent",
    "approvals_pending": "kind",
    "approvals_total": "kind decision",
    "approval_wait_seconds": "",
    "workers": "",
    "inbox_wait_seconds": "",
    "remote_readers": "",
    "transcript_bytes_total": "direction",
    "process_cpu_seconds": "",
    "process_resident_memory_bytes": "",
    "process_open_fds": "",
    "process_max_fds": "",
    "process_start_time_seconds": "",
}


def test_the_table_has_every_metric_and_no_other():
    rows = [
        tuple(cell.strip() for cell in row.strip("|").split("|"))
        for row in TEXT.splitlines()
        if row.startswith(f"| `{PREFIX}")
    ]
    assert rows == [
        (
            f"`{each.full_name}`",
            each.kind,
            ", ".join(f"`{label}`" for label in each.labels) or "-",
            ACROSS[each.across],
            each.help,
        )
        for each in ALL
    ]


def test_every_metric_that_is_relied_on_is_there_with_its_labels():
    assert {each.name: " ".join(each.labels) for each in ALL} == PROMISED


def test_no_document_names_a_metric_that_there_is_not():
    known = {each.full_name for each in ALL}
    known |= {f"{name}_{end}" for name in known for end in ("bucket", "count", "sum")}
    for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*"), ROOT / "README.md"]:
        if path.is_file():
            named = set(re.findall(r"\bcowork_[a-z_]*[a-z]\b(?!\*)", path.read_text()))
            assert {each for each in named if "api" not in each} <= known, path


def test_every_constant_of_the_catalogue_is_listed_once():
    named = [each for each in vars(catalogue).values() if isinstance(each, catalogue.Metric)]
    assert len(named) == len(ALL) == len({each.name for each in ALL})
