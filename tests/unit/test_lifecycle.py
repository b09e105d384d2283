"""The server's parts are closed one after the other, whichever of them breaks; none is forgotten."""

from __future__ import annotations

import threading
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from cowork.errors import StoreUnavailable
from cowork.lifecycle import Services

ORDER = (
    *(
        "turn_service.stop_accepting",
        "spares.stop",
        "turn_service.is_needed",
        "turn_service.stop_all",
    ),
    *(
        "store.session_count",
        "store.token",
        "conversation_expiry.close",
        "processes.close",
        "pool.close",
        "removals.close",
    ),
    *("outbox.close", "maintenance.close"),
    *("upstream.close", "cli.close", "client_watcher.close", "loop_lag.close", "registry.close"),
    *("shared_metrics.close", "store.close"),
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
    registry = parts.part("registry", "close")
    spares = parts.part("spares", "stop")
    given: dict[str, Any] = {
        "store": parts.part("store", "session_count", "token", "close", shared=False),
        "maintenance": parts.part("maintenance", "close", sessions=7),
        "cli": parts.part("cli", "close"),
        "pool": parts.part("pool", "close", spares=spares),
        "processes": parts.part("processes", "close"),
        "removals": parts.part("removals", "close"),
        "conversation_expiry": parts.part("conversation_expiry", "close"),
        "outbox": parts.part("outbox", "close"),
        "turn_service": parts.part(
            "turn_service", "stop_accepting", "is_needed", "stop_all", registry=registry
        ),
        "upstream": parts.part("upstream", "close"),
        "client_watcher": parts.part("client_watcher", "close"),
        "loop_lag": parts.part("loop_lag", "close"),
        "shared_metrics": parts.part("shared_metrics", "close"),
        "stopping": threading.Event(),
    }
    names = {each.name for each in fields(Services)} - {"closed"}
    return Services(**{**dict.fromkeys(names), **given, **changed})  # type: ignore[arg-type]


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


def test_the_number_of_sessions_is_the_last_known_while_the_store_is_unavailable():
    def away():
        raise StoreUnavailable("away")

    assert services(Parts(), store=SimpleNamespace(session_count=away)).session_count() == 7
