"""A turn's events as they come, over lost connections and restarts of workers and of the server.

Nothing comes twice and nothing is left out: a stream that was cut goes on behind the last event by
`Last-Event-ID`.  A question whose request was cut before the server named its turn is sent again
under the same `Idempotency-Key`, which asks it once.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from cowork.client import sse
from cowork.client.errors import (
    BadReply,
    CoworkError,
    DeadlineExceeded,
    TurnFailed,
    unreachable,
)
from cowork.client.events import Done, Event, Failed, Replace, Token, event_of, number, text
from cowork.client.transport import SILENCE_S, Transport, blocks, segment

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
# A server forgets a turn that has ended after ten minutes, unless told otherwise
# (COWORK_TURN_RETENTION): to try for longer would find nothing.
RETENTION_S = 600.0
# A connection that has lasted as long was a working one: the server is there.
WORKING_S = 5.0
Open = Callable[[float], AbstractContextManager[httpx.Response]]
# Apart from `random`'s own state, which is the program's.
_DICE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Lost:
    """A connection that is about to be made again: for the `attempt`th time, after `pause` s."""

    attempt: int
    pause: float
    error: CoworkError


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn that has succeeded; `cost_usd` is None where it is not known."""

    text: str
    turn_id: str | None
    session_id: str | None
    is_new_session: bool
    model: str | None
    cost_usd: float | None
    duration_ms: float | None
    files_changed: tuple[str, ...]
    structured_output: Any
    frame: Mapping[str, Any] = field(repr=False)


class Stream(Iterator[Event]):
    """Iterate over it for the events; it can be gone on with after any exception, Ctrl-C too.

    `turn_id` is known from the first event on, `number` is that of the last one, `text` the answer
    so far, `done` the last event.  Close it, or use it as a context manager, where it is not read
    to its end.
    """

    def __init__(
        self,
        transport: Transport,
        ask: Open | None,
        *,
        turn_id: str | None = None,
        after: int = -1,
        events: tuple[str, ...] | None = None,
        patience: float,
        deadline: float,
        on_lost: Callable[[Lost], None] | None = None,
    ) -> None:
        self.turn_id = turn_id
        self.number = after
        self.done: Done | None = None
        self.failed: Failed | None = None
        self._transport = transport
        self._ask = ask
        self._wanted = events
        self._patience = min(patience, RETENTION_S)
        self._seconds = deadline
        self._deadline = time.monotonic() + deadline
        self._on_lost = on_lost
        self._text: list[str] = []
        self._open = ExitStack()
        self._incoming: Iterator[tuple[str, bytes]] | None = None
        self._opened_at = 0.0
        self._attempt = 0
        self._lost_at: float | None = None
        self._ended = False

    @property
    def text(self) -> str:
        """The answer so far, what was replaced left out."""
        self._text = ["".join(self._text)]
        return self._text[0]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """The next event.  Raises `CoworkError`, a failed turn is an event `Failed`."""
        while not self._ended:
            try:
                self._check_deadline()
                if (event := self._next_event()) is not None:
                    return event
            except CoworkError as fault:
                self._disconnect()
                self._wait(fault)
            except BaseException:
                self._disconnect()
                raise
        raise StopIteration

    def answer(self) -> Answer:
        """Read to the end.  Raises `TurnFailed`, or another `CoworkError`."""
        for _ in self:
            pass
        if self.done is None:
            raise BadReply("the stream ended before the answer did", code="bad_reply")
        if self.failed is not None or not self.done.success:
            sentence = self.failed.sentence if self.failed else "the turn failed"
            code = self.failed.code if self.failed else "turn_failed"
            raise TurnFailed(sentence, code=code, turn_id=self.turn_id, text=self.text)
        return _answer(self.text, self.turn_id, self.done.frame)

    def close(self) -> None:
        """Read no more; the turn runs on for the server's grace unless somebody interrupts it."""
        self._ended = True
        self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_event(self) -> Event | None:
        """The next event of the connection, which is made where there is none; None at its end."""
        if self._incoming is None:
            self._connect()
        if self._incoming is None:  # everything had been read
            self._ended = True
            return None
        try:
            found = next(self._incoming, None)
        except sse.EventTooLarge as fault:
            raise BadReply(str(fault), code="bad_reply") from fault
        if found is None:
            raise unreachable("the stream ended before the answer did")
        place, frame = _read(*found)
        if place <= self.number:
            return None
        self.number = place
        self._attempt, self._lost_at = 0, None
        return self._take(event_of(place, frame))

    def _take(self, event: Event) -> Event:
        if isinstance(event, Token):
            self._text.append(event.text)
        elif isinstance(event, Replace):
            self._text = [event.text]
        elif isinstance(event, Failed):
            self.failed = event
        elif isinstance(event, Done):
            if event.message is not None:
                self._text = [event.message]
            self.done = event
            self.close()
        return event

    def _connect(self) -> None:
        silence = min(SILENCE_S, max(1.0, self._deadline - time.monotonic()))
        if self.turn_id is None and self._ask is not None:
            opened = self._ask(silence)
        else:
            opened = self._resume(silence)
        reply = self._open.enter_context(opened)
        self.turn_id = self.turn_id or reply.headers.get("X-Turn-ID")
        if reply.status_code == httpx.codes.NO_CONTENT:
            return
        if not reply.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise BadReply("what answers is no XO Cowork API", code="bad_reply")
        self._opened_at = time.monotonic()
        self._incoming = sse.events(blocks(reply, self._check_deadline))

    def _resume(self, silence: float) -> AbstractContextManager[httpx.Response]:
        headers = {"Accept": "text/event-stream"}
        if self.number >= 0:
            headers["Last-Event-ID"] = f"{self.turn_id}.{self.number}"
        wanted = {"events": None if self._wanted is None else ",".join(self._wanted)}
        path = f"/turns/{segment(self.turn_id or '')}/events"
        return self._transport.open("GET", path, params=wanted, headers=headers, timeout=silence)

    def _disconnect(self) -> None:
        self._incoming = None
        self._open.close()

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            raise DeadlineExceeded(self._seconds)

    def _wait(self, fault: CoworkError) -> None:
        """Wait for the next try; raise what was lost where there is none."""
        now = time.monotonic()
        if self._lost_at is None or (self._opened_at and now - self._opened_at > WORKING_S):
            self._lost_at = now
        self._opened_at = 0.0
        pause = _pause(self._attempt + 1, fault.retry_after)
        if not fault.is_passing or now + pause > self._lost_at + self._patience:
            raise fault
        if now + pause > self._deadline:
            raise DeadlineExceeded(self._seconds) from fault
        self._attempt += 1
        if self._on_lost is not None:
            self._on_lost(Lost(self._attempt, pause, fault))
        time.sleep(pause)


def _read(event_id: str, data: bytes) -> tuple[int, Mapping[str, Any]]:
    """The number and the frame; what is neither was broken on its way, and is asked for again."""
    place = event_id.rpartition(".")[2]
    try:
        frame = json.loads(data)
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict) or not (place.isascii() and place.isdecimal()):
        raise unreachable("what came is no event")
    return int(place), frame


def _pause(attempt: int, retry_after: float | None) -> float:
    grown = min(FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 10), LONGEST_PAUSE_S)
    asked = min(retry_after or 0.0, LONGEST_PAUSE_S)
    return max(grown, asked) * _DICE.uniform(0.8, 1.2)


def _answer(said: str, turn_id: str | None, frame: Mapping[str, Any]) -> Answer:
    changed = frame.get("files_changed")
    return Answer(
        text=said,
        turn_id=turn_id,
        session_id=text(frame.get("session_id")),
        is_new_session=frame.get("is_new_session") is True,
        model=text(frame.get("model")),
        cost_usd=number(frame.get("total_cost_usd")),
        duration_ms=number(frame.get("duration_ms")),
        files_changed=tuple(map(str, changed if isinstance(changed, list) else ())),
        structured_output=frame.get("structured_output"),
        frame=frame,
    )
