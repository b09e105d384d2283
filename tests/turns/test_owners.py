"""Owners share the processes: however much one of them asks, the next one's question is soon asked."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fakes import Fakes
from tests.serving import Client, Served

MINE, YOURS = "m" * 40, "y" * 40
LIMIT = 2


def test_fault_s9_another_owners_question_does_not_wait_for_two_hundred_projects(
    serve: Callable[..., Served], another: Callable[..., Client], fakes: Fakes
) -> None:
    served = serve(
        COWORK_API_KEYS=f"me={MINE},you={YOURS}",
        COWORK_MAX_PROCESSES=str(LIMIT),
        COWORK_QUEUE_TIMEOUT="600",
        COWORK_FIRST_EVENT_WAIT="0",
        COWORK_DISCONNECT_GRACE="-1",
        **fakes.settings(),
    )
    me, you = another(served, MINE), another(served, YOURS)
    for number in range(200):
        me.stream("[[delay 50]] [[words 5]]", f"mine-{number}").close()
    fakes.wait_asked(3)
    for number in range(3):
        before, begun = len(fakes.asked), time.monotonic()
        reply = you.ask(f"[[say {number}]]", f"yours-{number}")
        assert reply.json()["message"] == str(number)
        # Two were being asked, and one may have had its slot already; a start may be slow.
        asked_first = fakes.asked.index(f"[[say {number}]]") - before
        assert asked_first <= LIMIT + 1, f"{asked_first}, {time.monotonic() - begun:.1f} s"
    assert len(fakes.asked) < 100, "the rest still waits"
