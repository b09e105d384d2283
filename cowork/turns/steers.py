"""What was said to a turn while it runs (steering), and what has become of each of it.

The turn's log has all of it, as `steered` events: it is read there from any worker, and by whoever
goes on with the turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cowork.errors import IdempotencyMismatch, QueueFull, TurnEnded
from cowork.events import Event, Status
from cowork.runtime.condition import PredicateCondition

SteerState = Literal["pending", "joined", "queued", "cancelled"]
# That wait to be taken in, that a turn takes altogether, and the bytes of those.
WAITING_LIMIT = 8
COUNT_LIMIT = 100
BYTES_LIMIT = 2**20
TEXT_LIMIT_BYTES = 64 * 1024
STEERED = "steered"


@dataclass(slots=True)
class Steer:
    """Something that was said to a turn.

    `turn_id` is the turn that it is part of, or will be.  `is_given` is whether the CLI has it,
    `in_outbox` whether the chat history has.
    """

    id: str
    text: str
    turn_id: str
    state: SteerState = "pending"
    is_given: bool = False
    in_outbox: bool = False


class TurnSteers:
    """Those of one turn; every method may be called from any thread.

    `append` adds to the turn's log, whatever its size, and tells whether it did.
    """

    def __init__(self, append: Callable[[Event], bool]) -> None:
        self._append = append
        self._condition = PredicateCondition()
        self._all: dict[str, Steer] = {}
        self._is_closed = False
        self._on_add: Callable[[], None] = _nobody

    def __bool__(self) -> bool:
        return bool(self._all)

    def on_add(self, call: Callable[[], None]) -> None:
        """What is called from now on when something was said."""
        with self._condition:
            # A turn that has ended is kept for long, and would keep its process with it.
            self._on_add = _nobody if self._is_closed else call

    def add(self, steer_id: str, turn_id: str, text: str) -> bool:
        """Take it; False where it was taken before.

        Raises `TurnEnded`, `QueueFull`, and `IdempotencyMismatch` for another text of the same id.
        """
        with self._condition:
            known = self._all.get(steer_id)
            if known is not None:
                check_same(known.text, text)
                return False
            if self._is_closed:
                raise TurnEnded("the turn has ended, or is about to")
            self._check_room(text)
            if not self._append(_event(Steer(steer_id, text, turn_id), text)):
                raise TurnEnded("the turn has ended")
            self._all[steer_id] = Steer(steer_id, text, turn_id)
            on_add = self._on_add
        on_add()
        return True

    def _check_room(self, text: str) -> None:
        waiting = sum(each.state == "pending" for each in self._all.values())
        if waiting >= WAITING_LIMIT:
            raise QueueFull(f"the turn has {waiting} messages waiting already", retry_after=1)
        held = sum(len(each.text.encode()) for each in self._all.values())
        if len(self._all) >= COUNT_LIMIT or held + len(text.encode()) > BYTES_LIMIT:
            raise QueueFull("the turn takes no more messages", retry_after=5)

    def wait_given(self, steer_id: str, timeout: float) -> None:
        """Return when the CLI has it, or will not get it, after `timeout` seconds at most."""
        steer = self._all[steer_id]
        with self._condition:
            self._condition.wait_for(
                lambda: steer.is_given or steer.state != "pending" or self._is_closed,
                time.monotonic() + timeout,
            )

    def waiting(self) -> list[Steer]:
        """Those that are neither in the turn nor out of it, in their order."""
        with self._condition:
            return [each for each in self._all.values() if each.state == "pending"]

    def joined(self) -> list[Steer]:
        """Those that are part of the turn's question."""
        with self._condition:
            return [each for each in self._all.values() if each.state == "joined"]

    def untold(self) -> list[Steer]:
        """Those that the CLI has, and the chat history has not."""
        with self._condition:
            return [each for each in self._all.values() if each.is_given and not each.in_outbox]

    def note_given(self, steer: Steer) -> None:
        """The CLI has it."""
        with self._condition:
            steer.is_given = True
            self._condition.notify()

    def take_back(self) -> None:
        """Another process is at the turn: what a former one was given it has not got."""
        with self._condition:
            for each in self._all.values():
                each.is_given = False

    def settle(self, steer_id: str, state: SteerState, turn_id: str | None = None) -> None:
        """What has become of one that waits; readers of `status` learn it."""
        with self._condition:
            steer = self._all.get(steer_id)
            if steer is None or steer.state != "pending":
                return
            steer.state, steer.turn_id = state, turn_id or steer.turn_id
            self._append(_event(steer))
            self._condition.notify()

    def close(self) -> None:
        """Nothing can be said any more."""
        with self._condition:
            self._is_closed, self._on_add = True, _nobody
            self._condition.notify()

    def cancel_waiting(self) -> None:
        """The turn is about to end, and nobody takes up what waits."""
        self.close()
        for each in self.waiting():
            self.settle(each.id, "cancelled")

    def restore(self, steers: Iterable[Steer]) -> None:
        """What the turn was told while another process was at it; its log has it."""
        self._all = {each.id: each for each in steers}


def _nobody() -> None:
    """Nobody is to be told."""


def check_same(known: str, text: str) -> None:
    """Raise where a message of the same id was another."""
    if known != text:
        raise IdempotencyMismatch("this Idempotency-Key came with another text")


def _event(steer: Steer, text: str | None = None) -> Status:
    facts: dict[str, Any] = {
        "steer_id": steer.id,
        "state": steer.state,
        "turn_id": steer.turn_id,
    }
    return Status(STEERED, facts if text is None else {**facts, "text": text})


def steers_in(events: Iterable[tuple[int, Event]]) -> dict[str, tuple[int, Steer]]:
    """What a log tells of them: the number of the event that began each, and how it stands."""
    found: dict[str, tuple[int, Steer]] = {}
    for number, facts in _told(events):
        steer_id, state, turn_id = facts["steer_id"], facts["state"], facts["turn_id"]
        if steer_id not in found:
            found[steer_id] = number, Steer(steer_id, facts.get("text", ""), turn_id)
        steer = found[steer_id][1]
        steer.state, steer.turn_id = state, turn_id
        # What waits is given to the CLI, and to the chat history, once more.
        steer.in_outbox = state != "pending"
    return found


def _told(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[int, Any]]:
    for number, event in events:
        if isinstance(event, Status) and event.state == STEERED:
            yield number, event.facts
