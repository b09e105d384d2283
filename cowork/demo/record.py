"""What was asked and what was written, kept for tests to look at and to wait for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from werkzeug.datastructures import Headers

from cowork.demo.transcript import is_side_request, read

Kind = Literal["question", "agent", "side"]
Ending = Literal["running", "whole", "failed", "cut", "left"]


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text and when it went out, by ``time.monotonic``."""

    text: str
    at: float


@dataclass(slots=True)
class RecordedRequest:
    """One request for an answer and what became of it."""

    body: dict[str, Any]
    kind: Kind
    """A user's question, a sub-agent's, or something the CLI asks on its own behalf."""
    question: str
    """The question to answer, with its directives; empty for a side request."""
    number: int
    """Which question of its session it is, from 1 on, as far as the context shows."""
    session: str
    """The CLI's session id."""
    step: tuple[Any, ...]
    """Equal for requests that ask for the same step of the same conversation."""
    attempt: int
    """How often this step was requested, this request included."""
    at: float
    """When the request came, by ``time.monotonic``."""
    words: list[Word] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    """The tokens that the client was told of, by the names of the Messages API."""
    status: int = 0
    """The HTTP status; 0 until there is one."""
    ending: Ending = "running"
    """``left``: the client went away, or the model was closed."""
    ended_at: float | None = None


class Record:
    """The latest exchanges, oldest first, safe to use from several threads."""

    def __init__(self, keep: int, on_end: Callable[[RecordedRequest], None] | None = None) -> None:
        self._changed = threading.Condition()
        self._exchanges: deque[RecordedRequest] = deque(maxlen=keep)
        self._on_end = on_end

    def begin(self, body: dict[str, Any], headers: Headers) -> RecordedRequest:
        """Note a request. Of its headers only two ids are kept, never a key."""
        context = read(body.get("messages") or ())
        session = headers.get("X-Claude-Code-Session-Id", "")
        agent = headers.get("X-Claude-Code-Agent-Id", "")
        side = is_side_request(body)
        number, question = len(context.questions), "" if side else context.question
        # A question counts as itself and not as a number alone: a session may be cut back.
        done = (len(context.tool_results), context.continued)
        step = (session, agent, side, number, context.question, *done)
        kind: Kind = "side" if side else "agent" if agent else "question"
        with self._changed:
            attempt = 1 + sum(1 for other in self._exchanges if other.step == step)
            exchange = RecordedRequest(
                body, kind, question, number, session, step, attempt, time.monotonic()
            )
            self._exchanges.append(exchange)
            self._changed.notify_all()
        return exchange

    def wrote(self, exchange: RecordedRequest, text: str) -> None:
        """Note a word, just before it goes out: whoever has read it finds it here."""
        with self._changed:
            exchange.words.append(Word(text, time.monotonic()))
            self._changed.notify_all()

    def told(self, exchange: RecordedRequest, usage: Mapping[str, int]) -> None:
        """Note the tokens that the client is told of; what is told later counts."""
        with self._changed:
            exchange.usage |= usage
            self._changed.notify_all()

    def end(self, exchange: RecordedRequest, status: int, ending: Ending) -> None:
        """Note how an exchange ended; only the first ending counts."""
        with self._changed:
            if exchange.ended_at is not None:
                return
            exchange.status, exchange.ending = status, ending
            exchange.ended_at = time.monotonic()
            self._changed.notify_all()
        if self._on_end is not None:
            self._on_end(exchange)

    def exchanges(self) -> list[RecordedRequest]:
        with self._changed:
            return list(self._exchanges)

    def wait_until(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on the record holds; whether it came to hold in time."""
        with self._changed:
            return self._changed.wait_for(true, timeout_s)
