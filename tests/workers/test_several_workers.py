"""One server with two workers: which of them takes a connection is the kernel's choice."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.background import BackgroundCalls
from tests.serving import Client, Gunicorn, joined, wait_for
from tests.workers.places import Places, open_places

WORDS = " ".join(f"w{number}" for number in range(1, 21))


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("two")
    with open_places(folder, ("home",), COWORK_WORKERS="2") as opened:
        wait_for(lambda: opened.home.get("/workers").json()["count"] == 2, what="two workers")
        yield opened


def stream(server: Gunicorn, project: str) -> str:
    """An answer on a connection of its own, and so by any worker."""
    client = Client(server.url)
    try:
        return joined(client.streamed("[[words 20]] [[delay 5]]", project))
    finally:
        client.close()


def test_every_connection_is_answered_and_a_project_has_one_process(
    places: Places, background: BackgroundCalls
) -> None:
    calls = [background(stream, places.home, f"p{number % 4}") for number in range(24)]
    assert Counter(call.result() for call in calls) == {WORDS: 24}
    assert [places.starts(f"p{number}") for number in range(4)] == [1] * 4


def test_a_reload_loses_nobody(places: Places, background: BackgroundCalls) -> None:
    before = set(places.home.workers())
    for _ in range(3):
        calls = [background(stream, places.home, f"r{number}") for number in range(6)]
        places.home.send_signal(signal.SIGHUP)
        calls += [background(stream, places.home, f"r{number}") for number in range(6)]
        assert Counter(call.result() for call in calls) == {WORDS: 12}
    wait_for(lambda: len(places.home.workers()) == 2, 60, what="the old workers' end")
    assert before.isdisjoint(places.home.workers())
    wait_for(lambda: _pids(places) == set(places.home.workers()), 20, what="their names")
    assert stream(places.home, "r0") == WORDS


def _pids(places: Places) -> set[int]:
    return {each["pid"] for each in places.home.get("/workers").json()["workers"]}
