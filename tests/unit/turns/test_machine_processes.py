"""Of the machine's other workers, that with the longest idle process is asked for room first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cowork.model import WorkerInfo
from cowork.turns.remote.channel import Channel
from cowork.turns.workers import machine_processes
from cowork.turns.workers.machine_processes import MachineProcesses
from tests.unit.turns.other_workers import Hub


class Worker:
    """A worker with so many idle processes, as far as it is asked."""

    def __init__(self, hub: Hub, holder: str, *, idle: int, told_idle_s: float) -> None:
        self.idle = idle
        self.asked: list[dict[str, Any]] = []
        self.channel = Channel(hub.join(holder), holder, is_dead=lambda _worker: False)
        self.channel.start({"make_room": self._make_room})
        machine = holder.partition("/")[0]
        hub.workers.append(
            WorkerInfo(holder, "host", 1, machine, datetime.now(UTC), idle_s=told_idle_s)
        )

    def _make_room(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        self.idle -= 1
        return {"ends": self.idle >= 0}


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def join(hub: Hub) -> Iterator[Callable[..., Worker]]:
    begun: list[Worker] = []

    def start(holder: str, **told: Any) -> Worker:
        begun.append(Worker(hub, holder, **told))
        return begun[-1]

    yield start
    hub.away = False
    for worker in begun:
        worker.channel.close()


@pytest.fixture
def ours(hub: Hub, join: Callable[..., Worker]) -> MachineProcesses:
    us = join("boot/us", idle=9, told_idle_s=99.0)
    others: Any = hub.join("boot/us-asking")
    return MachineProcesses(others, us.channel, holder="boot/us", limit=4)


def test_the_longest_idle_is_asked_first(
    ours: MachineProcesses, join: Callable[..., Worker]
) -> None:
    short, long = (
        join("boot/short", idle=1, told_idle_s=2.0),
        join("boot/long", idle=1, told_idle_s=8.0),
    )
    assert ours.ask_for_room(1.0)
    assert long.asked == [{"idle_s": 1.0}]
    assert not short.asked


def test_who_has_none_any_more_says_so_and_another_is_asked(
    ours: MachineProcesses, join: Callable[..., Worker]
) -> None:
    first = join("boot/first", idle=0, told_idle_s=8.0)
    second = join("boot/second", idle=1, told_idle_s=2.0)
    assert ours.ask_for_room(1.0)
    assert len(first.asked) == len(second.asked) == 1


def test_of_many_that_wait_one_asks_and_the_others_know_for_a_moment(
    ours: MachineProcesses, join: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_processes, "NOBODY_TTL_S", 600.0)
    other = join("boot/other", idle=0, told_idle_s=8.0)
    assert not any(ours.ask_for_room(1.0) for _ in range(50))
    assert len(other.asked) == 1


def test_nobody_is_asked_who_is_on_another_machine_or_was_idle_for_less(
    ours: MachineProcesses, join: Callable[..., Worker]
) -> None:
    elsewhere = join("another/one", idle=1, told_idle_s=8.0)
    less = join("boot/less", idle=1, told_idle_s=2.0)
    assert not ours.ask_for_room(3.0)
    assert not elsewhere.asked
    assert not less.asked


def test_who_cannot_be_reached_and_a_store_that_is_away_give_no_room(
    hub: Hub, ours: MachineProcesses, join: Callable[..., Worker]
) -> None:
    join("boot/gone", idle=1, told_idle_s=8.0)
    hub.gone.add("boot/gone")
    assert not ours.ask_for_room(1.0)
    hub.away = True
    assert not ours.ask_for_room(1.0)
