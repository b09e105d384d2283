"""Turns of what a turn was told too late: they are the project's next.

The CLI goes on by itself with what it was given, so that its process stays with the turn that
follows, and so does the claim on the project.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.result import Result
from cowork.model import Claim
from cowork.turns.running.result_wait import TurnRun
from cowork.turns.running.steer_delivery import Undelivered
from cowork.turns.steers import Steer
from cowork.turns.turn import Turn

# Takes the turn before, what it was told too late and what the one that follows is told besides.
Accept = Callable[[Turn, Sequence[Steer], Sequence[Steer]], bool]


@dataclass(slots=True)
class Kept:
    """What the CLI is at already; without a `process` that is lost, and is to be asked anew."""

    claim: Claim
    reply: PendingAnswer
    process: ClaudeProcess | None


class FollowUps:
    """From the end of one turn to the beginning of the next; `accept` makes that one.

    `accept` returns whether it did; the turn's id is that of the last that was told.
    """

    def __init__(self) -> None:
        self.accept: Accept = lambda _before, _told, _more: False
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}

    def begin(
        self, run: TurnRun, process: ClaudeProcess, reply: PendingAnswer, result: Result
    ) -> bool:
        """A turn is about to end: have what it was told too late asked next.

        What is not is cancelled with the turn's end.  False where the CLI goes on with it all the
        same, so that its process is to be ended.
        """
        left = run.steering.end()
        is_asked = bool(left) and _goes_on(run.turn, left, result)
        if not is_asked or not self._ask(run, process, reply, left):
            return reply.following is None
        return True

    def _ask(
        self, run: TurnRun, process: ClaudeProcess, reply: PendingAnswer, left: Undelivered
    ) -> bool:
        told = left.given or left.others
        turn_id = told[-1].id
        if left.given and reply.following is not None:
            with self._lock:
                self._kept[turn_id] = Kept(run.claim, reply.following, process)
        if not self.accept(run.turn, told, left.others if left.given else ()):
            self._pop(turn_id)
            return False
        for each in told + left.others:
            run.turn.steers.settle(each.id, "queued", turn_id)
        return True

    def take(self, turn: Turn) -> Kept | None:
        """What the CLI is at already, where the turn follows another."""
        return self._pop(turn.id)

    def has(self, claim: Claim) -> bool:
        """Whether a turn that follows has that claim now."""
        with self._lock:
            return any(each.claim == claim for each in self._kept.values())

    def keeps(self, process: ClaudeProcess, *, fit: bool) -> bool:
        """Whether the process stays with the turn that follows; one that is not `fit` does not."""
        with self._lock:
            kept = next((each for each in self._kept.values() if each.process is process), None)
            if kept is not None and not fit:
                kept.process = None
                return False
            return kept is not None

    def _pop(self, turn_id: str) -> Kept | None:
        with self._lock:
            return self._kept.pop(turn_id, None)


def _goes_on(turn: Turn, left: Undelivered, result: Result) -> bool:
    """Whether what is left is to be asked: not where somebody has stopped the turn."""
    is_stopped = turn.stop_reason is not None or result.interrupted
    return not is_stopped and (bool(left.given) or result.error is None)
