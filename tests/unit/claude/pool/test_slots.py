"""Who gets a slot: owners take turns, each has a share, and nobody waits for ever."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from cowork.claude.command import LaunchConfig
from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.pool.pool import Pool
from cowork.claude.pool.slot import LeaseRequest, Slot, SlotState, Waiter
from cowork.claude.pool.slots import Slots
from cowork.errors import AtCapacity, ShuttingDown
from cowork.model import Project
from cowork.runtime.fair_queue import FairQueue, FairSemaphore
from tests.background import BackgroundCalls
from tests.patience import PATIENCE_S
from tests.serving import wait_for

CWD = "/"
NUMBERS = count(1)


@dataclass(eq=False, slots=True)
class NoProcess:
    """A process of which nothing runs: what the slots ask of one."""

    session_id: str
    last_used: float
    pid: int = 0
    turns: int = 1
    alive: bool = True
    ended: bool = False

    def end(self) -> None:
        self.alive, self.ended = False, True


def project(owner: str, name: object = "p") -> Project:
    return Project(owner, str(name))


class House(Slots):
    """Slots with what the pool does to them, one step after the other in one thread."""

    def ask(self, owner: str, name: object | None = None, **wanted: Any) -> Waiter:
        """Somebody needs a process of a new session, of a new project unless one is named."""
        named = next(NUMBERS) if name is None else name
        with self.changed:
            return self.enqueue(LeaseRequest(project(owner, named), CWD, **wanted))

    def begin(self, waiter: Waiter) -> Slot:
        """The waiter's process is there, after what it has to end has ended."""
        if waiter.victim is not None:
            self.end(waiter.victim, new_owner=waiter)
        assert waiter.slot is not None
        if waiter.slot.process is None:
            wanted, number = waiter.wanted, next(NUMBERS)
            waiter.slot.process = NoProcess(wanted.session_id or str(number), number)  # type: ignore[assignment]
            with self.changed:
                self.begun(waiter.slot, SlotState.BUSY)
        return waiter.slot

    def done(self, slot: Slot) -> None:
        """The slot's turn is over, and its process is kept."""
        assert slot.process is not None
        slot.process.last_used = next(NUMBERS)
        with self.changed:
            self.begun(slot, SlotState.IDLE)

    def spare(self) -> Slot:
        """A process that was started for nobody."""
        with self.changed:
            slot = self.add(LeaseRequest(None, CWD))
            slot.process = NoProcess(str(next(NUMBERS)), 0.0)  # type: ignore[assignment]
            self.begun(slot, SlotState.SPARE)
        return slot

    def has(self) -> Counter[str | None]:
        """How many slots each owner has, and will have for those that are making room."""
        return self._by_owner(SlotState.STARTING, SlotState.BUSY, SlotState.IDLE)


def served(*waiters: Waiter) -> list[bool]:
    return [waiter.slot is not None or waiter.victim is not None for waiter in waiters]


def test_fault_s9_owners_take_turns_whoever_came_first():
    house = House(2)
    first, second = (house.begin(house.ask("a")) for _ in range(2))
    many, one = [house.ask("a") for _ in range(5)], house.ask("b")
    house.done(first)
    assert served(one, *many) == [True, *[False] * 5]
    house.begin(one)
    house.done(second)
    assert served(*many) == [True, *[False] * 4], "and each owner's own come in their order"


def test_fault_s9_an_owner_with_its_share_gets_no_slot_before_one_without():
    house = House(4)
    begun = [house.begin(house.ask("a")) for _ in range(4)]
    house.ask("a")
    waiting = [house.ask("b") for _ in range(3)]
    for slot in begun[:2]:
        house.done(slot)
    assert served(*waiting) == [True, True, False]


def test_fault_s9_alone_an_owner_has_every_slot():
    house = House(4)
    assert served(*(house.ask("a") for _ in range(5))) == [True] * 4 + [False]


def test_fault_s9_idle_processes_above_the_share_go_first_whoever_used_theirs_longer_ago():
    house = House(4)
    others = house.begin(house.ask("b", "kept"))
    house.done(others)
    mine = [house.begin(house.ask("a")) for _ in range(3)]
    for slot in mine:
        house.done(slot)
    new = house.ask("c")
    assert new.victim is mine[0]
    house.begin(new)
    assert house.ask("a").victim is mine[1], "nor does an owner grow beyond its share at another's"
    assert others.state == SlotState.IDLE


def test_fault_s9_a_share_can_be_set():
    house = House(4, share=1)
    begun = [house.begin(house.ask("a")) for _ in range(4)]
    waiting, others = [house.ask("a") for _ in range(2)], [house.ask("b"), house.ask("c")]
    for slot in begun[:2]:
        house.done(slot)
    assert served(*others, *waiting) == [True, True, False, False]


def test_a_spare_is_no_way_around_the_queue():
    house = House(3)
    for _ in range(2):
        house.begin(house.ask("a"))
    spare = house.spare()
    resumed = house.ask("b", session_id="s")
    assert resumed.victim is spare
    late = house.ask("a")
    assert served(late) == [False]
    house.begin(resumed)
    assert served(late) == [False]


def test_the_slot_of_one_who_gave_up_is_the_next_ones():
    house = House(1)
    slot = house.begin(house.ask("a"))
    first, second, third = house.ask("a"), house.ask("a"), house.ask("b")
    with house.changed:
        house.withdraw(second)
    house.done(slot)
    assert served(first, third) == [True, False]
    house.end(first.victim, new_owner=first)
    with house.changed:
        house.withdraw(first)
    assert served(third) == [True]
    assert len(house) == 1


def test_a_slot_that_was_made_free_for_one_is_not_taken_by_who_comes_meanwhile():
    house = House(1)
    house.done(house.begin(house.ask("a")))
    first = house.ask("a")
    late = house.ask("b")
    house.end(first.victim, new_owner=first)
    assert first.slot is not None
    assert served(late) == [False]


def test_a_project_has_one_process_however_many_ask_for_it():
    house = House(4)
    first, second = house.ask("a", "p"), house.ask("a", "p")
    assert served(first, second) == [True, False]
    assert second.held
    house.begin(first).process.turns = 0  # it was warmed
    house.done(first.slot)
    assert second.slot is first.slot


def test_a_process_of_other_needs_goes_before_its_session_has_another():
    house = House(4)
    slot = house.begin(house.ask("a", "p"))
    session = slot.process.session_id
    second = house.ask("a", "p", session_id=session, options=LaunchOptions(permission_mode="plan"))
    third = house.ask("a", "p", session_id=session, options=DEFAULT)
    assert (second.held, third.held) == (True, True)
    house.done(slot)
    assert (second.victim, third.held) == (slot, True), "the former process still ends"
    house.begin(second)
    assert third.held
    house.done(second.slot)
    assert third.victim is second.slot


# -- a seeded loop


@dataclass(slots=True)
class Play:
    """Owners of different greed, turns of different length; every step is a chance to be unfair."""

    house: House
    chance: random.Random
    waiting: list[Waiter] = field(default_factory=list)
    # How many were given a slot since each began to wait, and how many were before it.
    passed: dict[int, int] = field(default_factory=dict)
    bound: dict[int, int] = field(default_factory=dict)

    def step(self, owners: list[str]) -> None:
        """One thing happens."""
        kind = self.chance.random()
        if kind < 0.45:
            self.arrive(self.chance.choice(owners))
        elif kind < 0.5 and self.waiting:
            self.give_up(self.chance.choice(self.waiting))
        else:
            self.end_one()

    def arrive(self, owner: str) -> None:
        name = self.chance.randrange(40)
        before = self.before()
        waiter = self.house.ask(owner, name)
        self.waiting.append(waiter)
        self.passed[waiter.number] = 0
        mine = [each for each in self.waiting if each.owner == owner]
        # As many of its own, times the owners, and a round for what they had before.
        self.bound[waiter.number] = (len(mine) + self.house.limit) * 4
        self.look(before)

    def give_up(self, waiter: Waiter) -> None:
        before = self.before()
        with self.house.changed:
            self.house.withdraw(waiter)
        if waiter.victim is not None:
            self.house.end(waiter.victim)
        self.waiting.remove(waiter)
        self.look(before)

    def end_one(self) -> None:
        """A process that is to end has ended, or one that was started is there, or a turn is over.

        Or nobody works, and nothing happens.
        """
        ready = [each for each in self.waiting if each.slot is not None or each.victim is not None]
        busy = [slot for slot in self.house if slot.state == SlotState.BUSY and slot.process]
        if ready and (not busy or self.chance.random() < 0.5):
            self.begin(self.chance.choice(ready))
        elif busy:
            before = self.before()
            self.house.done(self.chance.choice(busy))
            self.look(before)

    def begin(self, waiter: Waiter) -> None:
        before = self.before()
        if waiter.victim is not None:
            self.house.end(waiter.victim, new_owner=waiter)
        if waiter.slot is not None:
            self.house.begin(waiter)
            self.waiting.remove(waiter)
        self.look(before)

    def before(self) -> tuple[set[int], Counter[str | None]]:
        """Who has nothing yet, and what each owner has."""
        none = {each.number for each in self.waiting if not served(each)[0]}
        return none, self.house.has()

    def look(self, before: tuple[set[int], Counter[str | None]]) -> None:
        """Nobody beyond its share was given anything while one below it waits on."""
        had_none, has = before
        got = [each for each in self.waiting if each.number in had_none and served(each)[0]]
        still = [each for each in self.waiting if not served(each)[0] and each.queued]
        now = self.house.has()
        for each in got:
            new = now[each.owner] > has[each.owner]
            poorer = [
                other
                for other in still
                if other.owner != each.owner and now[other.owner] < self.house.share
            ]
            assert not (new and now[each.owner] > self.house.share and poorer), each
        for each in still:
            self.passed[each.number] += len(got)
            assert self.passed[each.number] <= self.bound[each.number], "somebody starves"
        assert len(self.house) <= self.house.limit
        at_work = Counter(
            slot.project
            for slot in self.house
            if slot.state in (SlotState.BUSY, SlotState.STARTING)
        )
        assert all(many == 1 for many in at_work.values()), "two processes for a project"
        free = self.house.room or any(
            slot.state in (SlotState.IDLE, SlotState.SPARE) for slot in self.house
        )
        assert not (free and still), "a slot is free and somebody waits for one"

    def finish(self) -> None:
        """Nobody comes any more: all who wait are served."""
        for _ in range(100_000):
            if not self.waiting:
                return
            self.end_one()
        raise AssertionError(f"{len(self.waiting)} are never served")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [1, 2, 5, 8])
def test_fault_s9_no_seeded_play_of_greedy_owners_starves_anybody(seed, limit):
    play = Play(House(limit, share=seed % 3), random.Random(seed))  # noqa: S311 - to be repeated
    for _ in range(1000):
        play.step(["a"] * 8 + ["b", "b", "c"])
    play.finish()
    assert not play.house._queue
    assert play.house.waiters == 0


# -- the queue alone


@dataclass(slots=True)
class Item:
    owner: str | None
    number: int


def drained(queue: FairQueue[Item]) -> Iterator[tuple[str | None, int]]:
    while queue:
        owner = queue.owners()[0]
        item = queue.first(owner)
        queue.remove(item)
        queue.served(owner)
        yield item.owner, item.number


def test_owners_take_turns_and_each_comes_in_its_order():
    queue: FairQueue[Item] = FairQueue()
    for owner, number in [("a", 3), ("a", 1), ("a", 2), ("b", 4), (None, 5), ("b", 0)]:
        queue.put(Item(owner, number))
    order = [("a", 1), ("b", 0), (None, 5), ("a", 2), ("b", 4), ("a", 3)]
    assert list(drained(queue)) == order
    with pytest.raises(ValueError, match="not in list"):
        queue.remove(Item("a", 1))


def test_fault_s9_starts_wait_for_a_core_by_owners_in_turn(waiters):
    semaphore, order = FairSemaphore(1), []
    first = semaphore.acquire("a", time.monotonic() + 60, lambda: False)

    def start(owner: str) -> None:
        permit = semaphore.acquire(owner, time.monotonic() + 60, lambda: False)
        order.append(owner)
        semaphore.release(permit)

    calls = []
    for owner in "aaaaab":
        calls.append(waiters(start, owner))
        wait_for(lambda: len(semaphore._queue) == len(calls), what="a start that waits")
    semaphore.release(first)
    for call in calls:
        call.result(PATIENCE_S)
    assert "b" in order[:2]


def test_who_gives_up_at_the_semaphore_is_not_let_in(waiters):
    semaphore = FairSemaphore(1)
    first = semaphore.acquire("a", time.monotonic() + 60, lambda: False)
    assert semaphore.acquire("a", time.monotonic() + 0.05, lambda: False) is None
    assert semaphore.acquire("b", time.monotonic() + 60, lambda: True) is None
    waiting = waiters(semaphore.acquire, "b", time.monotonic() + 60, lambda: False)
    wait_for(lambda: len(semaphore._queue) == 1, what="one who waits")
    for _ in range(2):
        semaphore.release(first)
    second = waiting.result(PATIENCE_S)
    assert semaphore.acquire("a", time.monotonic(), lambda: False) is None
    semaphore.release(second)
    assert semaphore.acquire("a", time.monotonic() + 60, lambda: False)


# -- the pool, with hundreds of threads


@dataclass(eq=False, slots=True)
class NoLauncher:
    """Starts nothing: a process is there at once."""

    launch_config: LaunchConfig = field(default_factory=LaunchConfig)
    timeout: float = 30.0

    def generation(self) -> int:
        return 0

    def start(
        self,
        session_id: str,
        cwd: str,
        *,
        on_spawn: Callable[[Any], None],
        **_wanted: object,
    ) -> ProcessOfNothing:
        process = ProcessOfNothing(session_id, time.monotonic(), cwd=cwd)
        on_spawn(process)
        return process

    def close(self) -> None:
        """Nothing was begun."""


@dataclass(eq=False, slots=True)
class ProcessOfNothing(NoProcess):
    """With what the pool asks of one besides."""

    cwd: str = CWD
    busy: bool = False
    skills: tuple[str, ...] = ()
    exit_code: int | None = 0
    started: float = 0.0

    def shorten_timeouts(self) -> None:
        """It ends at once anyway."""


@pytest.fixture
def waiters() -> Iterator[BackgroundCalls]:
    calls = BackgroundCalls(300)
    yield calls
    calls.close()


def pool_of_nothing(slot_timeout: float) -> Pool:
    launcher: Any = NoLauncher()
    return Pool(launcher, limit=3, idle_timeout=60, slot_timeout=slot_timeout)


def test_hundreds_that_wait_are_all_served_or_give_up_and_keep_no_slot(waiters):
    pool = pool_of_nothing(60.0)
    chance = random.Random(7)  # noqa: S311 - to be repeated

    def turn(number: int, patience: float) -> bool:
        end = time.monotonic() + patience
        try:
            process = pool.lease(
                project("abc"[number % 3], number % 90),
                CWD,
                given_up=lambda: time.monotonic() > end,
            )
        except AtCapacity:
            return False
        pool.give_back(process)
        return True

    calls = [
        waiters(turn, number, chance.choice([0.0, 0.01, 0.2, 60, 60])) for number in range(900)
    ]
    answered = [call.result(60) for call in calls]
    assert answered.count(True) > 450
    assert pool.counts().busy == pool.counts().starting == 0
    pool.close()


def test_whoever_waits_is_told_at_once_that_the_server_shuts_down(waiters):
    pool = pool_of_nothing(60.0)
    leased = [pool.lease(project("a", number), CWD) for number in range(3)]
    calls = [waiters(pool.lease, project("b", number), CWD) for number in range(50)]
    wait_for(lambda: pool._slots.waiting == 50, what="a queue")
    closing = waiters(pool.close)
    for call in calls:
        with pytest.raises(ShuttingDown):
            call.result(PATIENCE_S)
    for process in leased:
        pool.give_back(process)
    closing.result(PATIENCE_S)
