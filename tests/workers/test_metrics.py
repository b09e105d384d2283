"""`/metrics` of several workers behind one port: whoever answers tells of all, and never of less."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE_S
from tests.scraping import Scrape
from tests.serving import Client, Gunicorn, wait_for
from tests.workers.places import Places, open_places

TURNS = 12


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """One server of two workers."""
    with open_places(tmp_path_factory.mktemp("two"), ("home",), COWORK_WORKERS="2") as opened:
        wait_for(
            lambda: opened.home.get("/workers").json()["count"] == 2, PATIENCE_S, "both workers"
        )
        yield opened


def scraped(server: Gunicorn) -> Scrape:
    """By a connection of its own, so that either worker may answer."""
    client = Client(server.url)
    try:
        return Scrape(client)
    finally:
        client.close()


def asked(server: Gunicorn, project: str) -> None:
    client = Client(server.url)
    try:
        assert client.ask("hi", project).status_code == 200
    finally:
        client.close()


def answering(found: Scrape) -> set[str]:
    return found.labels("process_open_fds", "worker")


def test_totals_are_those_of_both_workers_and_never_shrink(places: Places) -> None:
    server, shown = places.home, 0.0
    for number in range(TURNS):
        asked(server, f"p{number}")
        found = scraped(server).value("turns_total", outcome="succeeded")
        assert shown <= found <= number + 1
        shown = found
    # What neither has shown yet is told within five seconds.
    wait_for(
        lambda: scraped(server).value("turns_total", outcome="succeeded") == TURNS,
        PATIENCE_S,
        "all turns",
    )
    wait_for(lambda: len(answering(scraped(server))) == 2, PATIENCE_S, "both workers' gauges")
    found = scraped(server)
    assert found.value("workers") == 2
    assert found.value("transcript_bytes_total", direction="in") > 0


def test_a_worker_that_is_killed_takes_nothing_along_that_was_shown(places: Places) -> None:
    server = places.home
    before = scraped(server)
    killed, _ = server.workers()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: killed not in server.workers(), PATIENCE_S, "its end")
    wait_for(lambda: len(server.workers()) == 2, PATIENCE_S, "another worker")
    for _ in range(4):
        after = scraped(server)
        for name in ("turns_total", "http_requests_total", "turn_duration_seconds_count"):
            assert after.value(name) >= before.value(name), name
        assert not any(each.startswith(f"{killed}:") for each in answering(after))
