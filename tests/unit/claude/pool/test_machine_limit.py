"""Where the machine has too many processes, who has been idle for longest goes, in any worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.claude.pool_of_fakes import PoolOfFakes, answer, pools


class OtherWorker:
    """A `MachineLimit` that refuses so often, because of another worker's processes.

    `ends` is whether that one ends one of them when it is asked.
    """

    def __init__(self, *, refusals: int, ends: bool) -> None:
        self.refusals, self.ends = refusals, ends
        self.asked: list[float] = []
        self.told: list[int] = []

    def acquire(self, count: int) -> bool:
        del count
        if not self.refusals:
            return True
        self.refusals -= 1
        return False

    def report(self, count: int) -> None:
        self.told.append(count)

    def ask_for_room(self, idle_s: float) -> bool:
        self.asked.append(idle_s)
        return self.ends


@pytest.fixture
def make_pool(tmp_path: Path, fake_environ: dict[str, str]) -> Iterator[Callable[..., PoolOfFakes]]:
    with pools(tmp_path, fake_environ) as make:
        yield make


def test_ours_stays_while_another_workers_process_takes_its_time_to_end(
    make_pool: Callable[..., PoolOfFakes],
) -> None:
    other = OtherWorker(refusals=0, ends=True)
    pool = make_pool(limit=4, slot_timeout=PATIENCE_S, machine=other)
    ours = pool.get()
    answer(ours, "[[say hi]]")
    pool.give_back(ours)
    other.refusals = 6  # for more than half a second
    new = pool.get()
    assert len(other.asked) == 1
    assert other.asked[0] > 0
    assert pool.count("idle") == 1
    assert ours.alive
    pool.give_back(new)


def test_ours_goes_where_no_other_worker_has_one_that_was_idle_for_longer(
    make_pool: Callable[..., PoolOfFakes],
) -> None:
    other = OtherWorker(refusals=0, ends=False)
    pool = make_pool(limit=4, slot_timeout=PATIENCE_S, machine=other)
    ours = pool.get()
    answer(ours, "[[say hi]]")
    pool.give_back(ours)
    other.refusals = 2
    new = pool.get()
    assert not ours.alive
    assert pool.count("idle") == 0
    pool.give_back(new)


def test_room_is_made_for_others_by_what_was_idle_for_longer_than_theirs(
    make_pool: Callable[..., PoolOfFakes],
) -> None:
    pool = make_pool()
    assert not pool.make_room(0.0)
    process = pool.get()
    assert not pool.make_room(0.0), "it is busy"
    pool.give_back(process)
    assert not pool.make_room(3600.0)
    assert pool.make_room(0.0)
    wait_for(lambda: pool.count("busy") + pool.count("idle") == 0, what="its end")


def test_the_others_are_told_how_many_processes_there_are(
    make_pool: Callable[..., PoolOfFakes],
) -> None:
    other = OtherWorker(refusals=0, ends=False)
    pool = make_pool(machine=other)
    process = pool.get()
    pool.report()
    assert other.told == [1]
    pool.give_back(process)
