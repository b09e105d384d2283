"""Between the process of a turn and those who steer it; for the thread that runs the turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cowork.claude import command
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.turns.recorder import TurnRecorder
from cowork.turns.steers import Steer
from cowork.turns.turn import Turn


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What a turn was told too late: `given` has the CLI, which goes on with it by itself."""

    given: tuple[Steer, ...] = ()
    others: tuple[Steer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.given or self.others)


class Steering:
    """Of one turn; `slash_commands` is whether a text may be a command of the CLI's own."""

    def __init__(self, turn: Turn, recorder: TurnRecorder, *, slash_commands: bool) -> None:
        self._turn = turn
        self._steers = turn.steers
        self._recorder = recorder
        self._slash_commands = slash_commands

    def attach(
        self, process: ClaudeProcess, reply: PendingAnswer, on_add: Callable[[], None]
    ) -> None:
        """The process that answers from now on; `on_add` is called when something was said."""
        self._process, self._reply = process, reply
        self._steers.take_back()
        self._steers.on_add(on_add)

    def detach(self, on_add: Callable[[], None]) -> None:
        """The process is given up, and the turn waits without one."""
        self._steers.on_add(on_add)
        del self._process, self._reply

    def step(self) -> None:
        """Hand on what was said, and learn what has become of it."""
        for steer_id, state in self._reply.steers.pop_news():
            self._steers.settle(steer_id, state)
        if not self._steers:
            return
        # With the question itself it would become one message.
        if self._reply.steers.can_begin():
            for steer in self._steers.waiting():
                if not steer.is_given:
                    self._give(steer)
        if not self._turn.waiting.ids:  # else its record has more, for whoever goes on with it
            for steer in self._steers.untold():
                steer.in_outbox = self._recorder.record_steered(self._turn, steer)

    def _give(self, steer: Steer) -> None:
        text = command.prompt(steer.text, None, slash_commands=self._slash_commands)
        if self._process.steer(self._reply, text, steer.id):
            self._steers.note_given(steer)

    def end(self) -> Undelivered:
        """The turn takes in no more; what it was told too late."""
        self._steers.close()
        if not self._steers:
            return Undelivered()
        for steer_id, state in self._reply.steers.pop_news():
            self._steers.settle(steer_id, state)
        waiting = self._steers.waiting()
        if self._reply.following is None:
            return Undelivered(others=tuple(waiting))
        return Undelivered(
            given=tuple(each for each in waiting if each.is_given),
            others=tuple(each for each in waiting if not each.is_given),
        )
