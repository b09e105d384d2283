"""Workers behind one port tell their figures together, and no total is ever seen to shrink."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cowork.telemetry import shared
from cowork.telemetry.catalogue import (
    CLI_INFO,
    CLI_LOGGED_IN,
    HTTP_REFUSED,
    PROCESS_FDS,
    SESSIONS,
    STORE_UP,
    TURN_QUEUE,
    TURNS_IN_PROGRESS,
)
from cowork.telemetry.prometheus import PrometheusMetrics
from cowork.telemetry.shared import SharedMetrics


class Server:
    """Workers of one server; those in `dead` have ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dead: set[str] = set()

    def worker(self, name: str) -> Worker:
        return Worker(self, name)

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


class Worker:
    def __init__(self, server: Server, name: str) -> None:
        self.metrics = PrometheusMetrics()
        self.shared = SharedMetrics(
            self.metrics,
            worker=name,
            folder=server.folder,
            is_dead=server.dead.__contains__,
            interval=0.01,
        )

    def refused(self, times: int = 1) -> Worker:
        for _ in range(times):
            self.metrics.count(HTTP_REFUSED, "host")
        return self

    def value(self, name: str, **labels: str) -> float:
        return sum(each for each in self.values(name, **labels))

    def values(self, name: str, **labels: str) -> list[float]:
        families = text_string_to_metric_families(self.shared.text().decode())
        return [
            each.value
            for family in families
            for each in family.samples
            if each.name == f"cowork_{name}" and labels.items() <= each.labels.items()
        ]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_totals_of_all_workers_add_up_whoever_is_asked(server):
    first, second = server.worker("1").refused(2), server.worker("2").refused(3)
    for each in (first, second):
        each.metrics.observe(TURN_QUEUE, 0.02)
        each.shared.close()
    for each in (first, second):
        assert each.value("http_refused_total", reason="host") == 5
        assert each.values("turn_queue_seconds_bucket", le="0.05") == [2]
        assert each.values("turn_queue_seconds_bucket", le="0.01") == [0]
        assert each.value("turn_queue_seconds_sum") == pytest.approx(0.04)


def test_what_one_worker_has_shown_no_other_shows_less_of(server):
    first, second = server.worker("1"), server.worker("2")
    shown = 0.0
    for number in range(6):
        asked = (first, second)[number % 2].refused()
        found = asked.value("http_refused_total")
        assert found == shown + 1
        shown = found


def test_a_worker_that_has_ended_is_still_in_the_totals_but_in_no_gauge(server):
    gone, left = server.worker("gone").refused(4), server.worker("left").refused()
    for each in (gone, left):
        each.metrics.watch(PROCESS_FDS, lambda: {(): 7.0})
        each.metrics.watch(TURNS_IN_PROGRESS, lambda: {("running",): 1.0})
        each.shared.close()
    assert left.value("turns_in_progress", state="running") == 2
    assert len(left.values("process_open_fds")) == 2
    server.dead.add("gone")
    for _ in range(2):  # when it is moved to the others that have ended, and after
        assert left.value("http_refused_total") == 5
        assert left.value("turns_in_progress", state="running") == 1
        assert left.values("process_open_fds", worker="left") == [7]
        assert len(left.values("process_open_fds")) == 1


def test_a_server_that_is_reloaded_for_years_has_few_files(server):
    left = server.worker("left")
    for number in range(2 * shared.MAX_REMEMBERED // 32):
        for each in range(32):
            name = f"{number}-{each}"
            server.worker(name).refused().shared.close()
            server.dead.add(name)
        assert left.value("http_refused_total") == 32 * (number + 1)
        assert server.files() == {"left.worker", "ended.json", "lock"}


def test_a_worker_that_dies_while_it_moves_anothers_totals_counts_none_twice(server):
    server.worker("gone").refused(3).shared.close()
    left = server.worker("left")
    server.dead.add("gone")
    kept = (server.folder / "gone.worker").read_bytes()
    assert left.value("http_refused_total") == 3
    (server.folder / "gone.worker").write_bytes(kept)  # as if it had not come to remove it
    assert left.value("http_refused_total") == 3
    assert "gone.worker" not in server.files()


def test_while_another_worker_moves_the_dead_ones_they_are_read_where_they_are(server):
    import fcntl  # noqa: PLC0415 - of this test alone

    server.worker("gone").refused(3).shared.close()
    server.dead.add("gone")
    with (server.folder / shared.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert server.worker("left").value("http_refused_total") == 3
    assert "gone.worker" in server.files()


def test_gauges_are_put_together_as_they_are_meant(server):
    first, second = server.worker("1"), server.worker("2")
    for each, number in ((first, 1.0), (second, 0.0)):
        for metric in (STORE_UP, CLI_LOGGED_IN, SESSIONS):
            each.metrics.watch(metric, lambda number=number: {(): number})
        each.metrics.watch(CLI_INFO, lambda: {("2.1.332",): 1.0})
        each.shared.close()
    assert first.value("store_up") == 0
    assert first.value("cli_logged_in") == 0
    assert first.value("sessions") == 1
    assert first.values("cli_info", version="2.1.332") == [1]


def test_a_worker_tells_the_others_without_being_asked(server):
    silent, asked = server.worker("1").refused(2), server.worker("2")
    silent.shared.start()
    told = threading.Event()
    try:
        for _ in range(500):
            if asked.value("http_refused_total") == 2:
                told.set()
                break
            told.wait(0.01)
        assert told.is_set()
    finally:
        silent.shared.close()


def test_a_folder_that_is_gone_leaves_what_there_is_here(tmp_path):
    server = Server(tmp_path / "gone")
    assert server.worker("1").refused().value("http_refused_total") == 1


def test_a_file_that_is_no_metrics_leaves_what_there_is_here(server):
    (server.folder / "2.worker").write_text("no JSON")
    assert server.worker("1").refused().value("http_refused_total") == 1
