"""The workers of a machine share its limit of processes; each can have all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.background import BackgroundCalls
from tests.serving import Client, Gunicorn, wait_for
from tests.workers.places import Places, open_places

LIMIT = 4


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("limited")
    with open_places(folder, COWORK_MAX_PROCESSES=str(LIMIT), COWORK_QUEUE_TIMEOUT="20") as opened:
        yield opened


def pids(server: Gunicorn) -> set[int]:
    """Of the server's own worker."""
    (worker,) = server.workers()
    listed = server.get("/processes").json()["processes"]
    return {each["pid"] for each in listed if f"/{worker}:" in each["worker"]}


def of_the_machine(places: Places) -> int:
    """At one moment: one may end here while the next one starts there."""
    home, sister = places.servers["home"], places.servers["sister"]
    before, there, after = pids(home), pids(sister), pids(home)
    return len(set(before) & set(after)) + len(there)


def test_idle_processes_of_a_sister_make_room(places: Places) -> None:
    home, sister = places.servers["home"], places.servers["sister"]
    for number in range(LIMIT):
        assert home.ask("[[say hi]]", f"home {number}").status_code == 200
    assert len(pids(home)) == LIMIT
    for number in range(LIMIT):
        assert sister.ask("[[say hi]]", f"sister {number}").status_code == 200
        assert of_the_machine(places) <= LIMIT
    assert len(pids(sister)) == LIMIT


def test_busy_processes_are_waited_for_and_there_are_never_too_many(
    places: Places, background: BackgroundCalls
) -> None:
    servers = [places.servers["home"], places.servers["sister"]]
    most = 0

    def ask(number: int) -> int:
        client = Client(servers[number % 2].url)
        try:
            return client.ask("[[words 20]] [[delay 10]]", f"busy {number}").status_code
        finally:
            client.close()

    calls = [background(ask, number) for number in range(12)]
    while not all(call.done() for call in calls):
        most = max(most, of_the_machine(places))
    assert [call.result() for call in calls] == [200] * 12
    assert most <= LIMIT


def test_who_waits_in_vain_is_told(places: Places) -> None:
    home, sister = places.servers["home"], places.servers["sister"]
    busy = [home.stream("[[words 9000]] [[delay 10]]", f"long {n}") for n in range(LIMIT)]
    wait_for(lambda: len(pids(home)) == LIMIT, what="the processes")
    reply = sister.ask("[[say hi]]", "late", timeout=2)
    assert reply.status_code in {503, 504}
    for number, each in enumerate(busy):
        home.post(f"/sessions/long {number}/interrupt")
        each.close()
    assert sister.ask("[[say hi]]", "late").status_code == 200
