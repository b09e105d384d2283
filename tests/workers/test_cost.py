"""What it costs to read a turn elsewhere: `make bench SUITES=many` measures, here is a wide bound."""

from __future__ import annotations

import time
from statistics import quantiles

from redis import Redis

from tests.background import BackgroundCalls
from tests.scraping import Scrape, await_count
from tests.serving import Client, Gunicorn, frames
from tests.workers.places import Places

# Ten times what the benchmark has to reach.
ADDED_S = 0.6
READ_CALLS, UNREAD_CALLS = 500.0, 50.0
SCENE = "[[words 80]] [[delay 50]]"


def read(server: Gunicorn, project: str, turn: str | None = None) -> dict[str, float]:
    """When each frame of a turn came, by its id."""
    client = Client(server.url)
    try:
        if turn is None:
            reply = client.stream(SCENE, project)
        else:
            reply = client.get(f"/turns/{turn}/events", stream=True)
        assert reply.status_code == 200, reply.text
        return {str(frame.id): time.monotonic() for frame in frames(reply)}
    finally:
        client.close()


def test_a_token_comes_soon_elsewhere_too(
    places: Places, project: str, background: BackgroundCalls
) -> None:
    reading = places.home.stream(SCENE, project)
    turn = reading.headers["X-Turn-ID"]
    others = [places.servers["sister"], places.servers["machine"]]
    readers = [background(read, server, project, turn) for server in others]
    await_count(places.servers["sister"], 1, "remote_readers")
    at_home = {str(frame.id): time.monotonic() for frame in frames(reading)}
    for reader in readers:
        came = reader.result()
        assert came.keys() == at_home.keys()
        # Without what had been said before they came.
        later = sorted(at - at_home[each] for each, at in list(came.items())[10:])
        assert quantiles(later, n=100)[-1] <= ADDED_S, later[-5:]


def calls_a_second(redis: Redis, server: Gunicorn, project: str) -> float:
    before, begun = redis.info("stats")["total_reads_processed"], time.monotonic()
    read(server, project)
    return (redis.info("stats")["total_reads_processed"] - before) / (time.monotonic() - begun)


def test_redis_is_asked_little(places: Places, project: str) -> None:
    with Redis(port=places.redis.port) as redis:
        assert calls_a_second(redis, places.home, project) <= UNREAD_CALLS
        assert calls_a_second(redis, places.servers["sister"], project) <= READ_CALLS
    # The question that the sister was asked waited in an inbox.
    assert Scrape(places.servers["sister"]).value("inbox_wait_seconds_count") >= 1
