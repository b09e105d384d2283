"""T17: however much was spent, and on however much, what is told of it is bounded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cowork.model import Project, Spending, TurnEnd, TurnRecord, Usage
from cowork.stores.memory import usage as memory_usage
from tests.serving import Client, Served

A, B = "a" * 40, "b" * 40
LONG = "日" * 190


def test_t17_who_spends_on_much_neither_gets_a_large_reply_nor_costs_another_its_own(
    serve: Callable[..., Served],
    another: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_usage, "ROW_LIMIT", 3000)
    served = serve(COWORK_API_KEYS=f"a={A},b={B}", COWORK_ADMIN_KEYS="a")
    begin = datetime.now(UTC) - timedelta(days=100)
    for number in range(6000):
        at = begin + timedelta(days=number // 100)
        owner, name = ("b", "mine") if number == 0 else ("a", f"{LONG}{number}")
        turn = TurnRecord(f"t-{number}", Project(owner, name), "succeeded", "", at, ended=at)
        spent = (Spending("m", Usage(2**50), 1.0),)
        served.services.store.end_turn(TurnEnd(turn, keep=60.0, spent=spent))
    since = begin.date().isoformat()
    reply = another(served, A).get(f"/usage?by=project&from={since}")
    found = reply.json()
    assert (found["count"], found["truncated"], found["total"]["turns"]) == (1000, True, 3000)
    assert len(reply.content) < 2**20
    assert another(served, B).get(f"/usage?from={since}").json()["total"]["turns"] == 1
    assert another(served, A).get("/usage?from=2000-01-01").status_code == 422
