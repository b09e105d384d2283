"""The server's parts are closed one after the other, whichever of them breaks; none is forgotten."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from cowork.claude.installation import CliState
from cowork.composition import Services
from cowork.errors import StoreUnavailable

ORDER = (
    *("conversation.shut", "spares.stop", "conversation.busy", "conversation.stop_all"),
    *("store.session_count", "store.token", "pool.close", "removals.close"),
    *("outbox.close", "keeper.close"),
    *("upstream.close", "cli.close", "closer", "turns.close", "store.close"),
)
# A step of several calls ends with the one that breaks.
STEPS = ({*ORDER[:4]}, {"store.session_count", "store.token"})


class Parts:
    """Notes what is called, as `part.method`, and breaks where it is told to."""

    def __init__(self, *broken: str) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, Any] = {}
        self._broken = set(broken)

    def call(self, name: str) -> Any:
        self.calls.append(name)
        if name in self._broken:
            raise RuntimeError("told to break")
        return self.answers.get(name)

    def part(self, name: str, *methods: str, **more: Any) -> Any:
        made = {
            each: lambda *_given, each=each, **_named: self.call(f"{name}.{each}")
            for each in methods
        }
        return SimpleNamespace(**made, **more)


def services(parts: Parts, **changed: Any) -> Services:
    """Services of which every part is one of these."""
    turns = parts.part("turns", "close")
    spares = parts.part("spares", "stop", problem=None)
    given: dict[str, Any] = {
        "store": parts.part("store", "session_count", "token", "close", shared=False),
        "keeper": parts.part("keeper", "close", ok=True, sessions=7),
        "cli": parts.part("cli", "close", state=CliState),
        "pool": parts.part(
            "pool",
            "close",
            spares=spares,
            start_problem=None,
            counts=lambda: {"busy": 0, "limit": 1},
        ),
        "removals": parts.part("removals", "close"),
        "outbox": parts.part("outbox", "close", reasons=list),
        "conversation": parts.part("conversation", "shut", "busy", "stop_all", turns=turns),
        "upstream": parts.part("upstream", "close"),
        "room": SimpleNamespace(reasons=list),
        "stopping": threading.Event(),
        "settings": SimpleNamespace(workspace="/"),
    }
    names = ("keys", "operators", "login", "bodies", "replies")
    made = Services(**{**dict.fromkeys(names), **given, **changed})  # type: ignore[arg-type]
    made.on_close(lambda: parts.call("closer"))
    return made


def test_everything_is_closed_once_and_in_order():
    parts = Parts()
    made = services(parts)
    made.close()
    made.close()
    assert tuple(parts.calls) == ORDER


@pytest.mark.parametrize("broken", ORDER)
def test_fault_t1_a_part_that_breaks_leaves_no_other_open(broken):
    parts = Parts(broken)
    services(parts).close()
    step = next((each for each in STEPS if broken in each), {broken})
    assert set(parts.calls) >= set(ORDER) - step | {broken}
    assert parts.calls[-1] == "store.close"


def test_all_that_keeps_a_question_from_its_answer_is_named():
    def reasons(**changed):
        return services(Parts(), **changed).reasons()

    stopping = threading.Event()
    stopping.set()
    full = SimpleNamespace(
        counts=lambda: {"busy": 1, "limit": 1},
        start_problem=None,
        spares=SimpleNamespace(problem=None),
    )
    assert reasons() == []
    assert reasons(stopping=stopping) == ["the server is shutting down"]
    assert reasons(pool=full) == ["every Claude process is busy"]
    assert reasons(refusal="root may not") == ["root may not"]
    assert reasons(room=SimpleNamespace(reasons=lambda: ["no room"])) == ["no room"]
    gone = SimpleNamespace(workspace="/no/such/place")
    assert reasons(settings=gone) == ["the workspace is gone: /no/such/place"]
    assert reasons(keeper=SimpleNamespace(ok=False)) == ["the store is away"]
    late = SimpleNamespace(reasons=lambda: ["late"])
    assert reasons(outbox=late) == ["late"]
    assert reasons(outbox=late, keeper=SimpleNamespace(ok=False)) == ["the store is away"]


def test_the_number_of_sessions_is_the_last_known_while_the_store_is_away():
    def away():
        raise StoreUnavailable("away")

    assert services(Parts(), store=SimpleNamespace(session_count=away)).session_count() == 7
