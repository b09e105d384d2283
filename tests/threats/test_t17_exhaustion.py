"""T17: however many ask at once, few processes run, the others are told so, and it passes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.fake_claude import Lifelines
from tests.serving import Client, Served

SLOTS = 3
PROJECTS = 60


def test_t17_many_projects_at_once_get_no_more_than_there_is(
    serve: Callable[..., Served], lifelines: Lifelines, another: Callable[..., Client]
) -> None:
    served = serve(
        COWORK_MAX_PROCESSES=str(SLOTS), COWORK_QUEUE_TIMEOUT="1", **lifelines.environment
    )
    most = 0

    def ask(number: int) -> int:
        nonlocal most
        reply = another(served).ask("[[delay 50]] [[words 8]]", f"p{number}")
        most = max(most, lifelines.held)
        if reply.status_code != 200:
            assert reply.json()["detail"]["code"] == "at_capacity"
            assert int(reply.headers["Retry-After"]) >= 1
        return reply.status_code

    with ThreadPoolExecutor(PROJECTS) as pool:
        seen = list(pool.map(ask, range(PROJECTS)))
    assert set(seen) <= {200, 503}
    assert seen.count(200) >= SLOTS
    assert most <= SLOTS
    for number in range(5):
        assert served.ask("[[words 2]]", f"later{number}").status_code == 200
