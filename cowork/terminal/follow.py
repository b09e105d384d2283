"""A turn is followed to its end: shown, its approvals asked, interrupted by Ctrl-C."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from cowork.client import ApprovalRequested, CoworkError, Event, Failed, Stream, TurnFailed
from cowork.terminal.decide import Decider
from cowork.terminal.run import Run


class Screen(Protocol):
    """Where a turn is shown."""

    def show(self, event: Event) -> None:
        """One more event."""

    def pause(self) -> None:
        """Leave the terminal to somebody who is asked; the next event takes it back."""

    def end(self, *, is_whole: bool) -> None:
        """No more events; `is_whole` where the answer is."""


class Left(Exception):
    """The person has left: Ctrl-C twice, or Ctrl-D where something is asked."""


def follow(run: Run, stream: Stream, screen: Screen, decider: Decider | None) -> TurnFailed | None:
    """Show the turn to its end; what it failed with, if it did.

    The first Ctrl-C interrupts it and goes on to its end, the second raises `Left`.
    Raises `CoworkError` where it cannot be followed any more.
    """
    is_whole = False
    try:
        _read(run, stream, screen, decider)
        is_whole = stream.done is not None and stream.done.success
    finally:
        screen.end(is_whole=is_whole)
    if is_whole:
        return None
    failed = stream.failed or Failed(0, {}, "the turn ended without an answer", "turn_failed")
    return TurnFailed(failed.sentence, code=failed.code, turn_id=stream.turn_id, text=stream.text)


def _read(run: Run, stream: Stream, screen: Screen, decider: Decider | None) -> None:
    interrupts, is_sent = 0, False
    while stream.done is None:
        try:
            if interrupts and not is_sent and stream.turn_id is not None:
                with suppress(CoworkError):  # it goes on, or has ended: its events will say
                    run.client.interrupt(stream.turn_id)
                is_sent = True
            event = next(stream, None)
            if event is None:
                return
            run.was_reached = True
            screen.show(event)
            if isinstance(event, ApprovalRequested) and decider is not None and not interrupts:
                screen.pause()
                decider.decide(event)
        except EOFError:
            raise Left from None
        except KeyboardInterrupt:
            interrupts += 1
            screen.pause()
            if interrupts > 1:
                raise Left from None
            run.output.note("interrupting ... (Ctrl-C again leaves)", style="yellow")
