"""The answer to one question while it is being written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from cowork.claude.process.held_events import HeldEvents
from cowork.claude.process.steers import Steers
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.permissions import PermissionRequest
from cowork.claude.stream_json.protocol import Message
from cowork.claude.stream_json.request_observer import RequestObserver
from cowork.claude.stream_json.result import Result
from cowork.events import Emitted
from cowork.runtime.condition import PredicateCondition

# Permissions that are asked for and not looked at yet; more are refused.
REQUESTS_LIMIT = 64


class Interruptible(Protocol):
    """What a reply needs of its process."""

    @property
    def last_activity(self) -> float:
        """When it was last asked or wrote something (monotonic)."""

    def interrupt(self, reply: PendingAnswer) -> None:
        """Interrupt this reply's turn, and no other."""

    def overdue(self, reply: PendingAnswer) -> None:
        """The end that was expected by now has not come: end it, or expect it later."""


class PendingAnswer:
    """The answer to one question while it is being written.

    `on_events` gets each batch of events, from the process's reader thread, before `result` says
    that there are no more.  Where `takes_requests`, the permissions that the CLI asks for are for
    whoever waits (`pop_requests`); else they are refused.  `saw_output` is whether the CLI has
    said anything since it was asked, `running` whether it has said that it is at work.  `following`
    is the answer that the CLI goes on with by itself, once there is a result, and `is_unasked` that
    this is such a one, of which the CLI has not said yet that it is at it.
    """

    def __init__(
        self,
        process: Interruptible,
        answer: AnswerParser,
        on_events: Callable[[list[Emitted]], object],
        *,
        takes_requests: bool = False,
    ) -> None:
        self.process = process
        self.answer = answer
        self.on_events = on_events
        self._takes_requests = takes_requests
        self._requests: deque[PermissionRequest | str] = deque()
        self.result: Result | None = None
        self.saw_output = self.running = False
        self.interrupted_at: float | None = None
        self.steers = Steers()
        self.following: PendingAnswer | None = None
        self.is_unasked = False
        self._woken = False
        self._due = float("inf")
        self._condition = PredicateCondition()

    def wait(self, until: float) -> Result | None:
        """The result, or None at `until` (monotonic) or when `wake` was called."""
        with self._condition:
            expected = min(until, self._due)
            self._condition.wait_for(lambda: self.result is not None or self._woken, expected)
            self._woken = False
            overdue = self.result is None and time.monotonic() >= self._due
        if overdue:
            self.process.overdue(self)
        return self.result

    def expect_end(self, at: float) -> None:
        """Have the process told, by whoever waits, if there is no result by then (monotonic)."""
        with self._condition:
            self._due = at
            self._woken = True
            self._condition.notify()

    def wake(self) -> None:
        """Make `wait` return, so that the waiter looks at the world again."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def saw_lifecycle(self, message: Message) -> None:
        """The CLI says what has become of a message that it was given."""
        if self.steers.take(message, self.answer.uuid):
            self.wake()
        if self.steers.has_begun:
            self.is_unasked = False

    def begin_following(self, answered: object) -> PendingAnswer | None:
        """No message joins this turn any more; the answer to those that have not, if there are.

        Its events are held until somebody takes them (`take_over`).
        """
        left = self.steers.close(answered)
        if not left:
            return None
        # The last one is what the CLI names the question of all of them by.
        answer = self.answer.following(left[-1])
        following = PendingAnswer(
            self.process, answer, HeldEvents(), takes_requests=self._takes_requests
        )
        following.is_unasked = True
        for uuid in left[:-1]:
            answer.pairing.add(uuid)
        return following

    def take_over(
        self, on_events: Callable[[list[Emitted]], object], observer: RequestObserver | None
    ) -> None:
        """Somebody takes what was held, and what comes."""
        self.answer.observe(observer)
        if isinstance(self.on_events, HeldEvents):
            self.on_events.hand_to(on_events)
        self.on_events = on_events

    def add_request(self, request: PermissionRequest) -> bool:
        """The CLI asks for a permission; False where nobody would answer."""
        if not self._takes_requests or len(self._requests) >= REQUESTS_LIMIT:
            return False
        self._requests.append(request)
        if not self.answer.uuid:  # it has begun to go on with what a former process had asked
            self.steers.begin()
        self.wake()
        return True

    def cancel_request(self, request_id: Any) -> None:
        """The CLI does not wait for that answer any more."""
        if self._takes_requests and isinstance(request_id, str):
            self._requests.append(request_id)
            self.wake()

    def pop_requests(self) -> list[PermissionRequest | str]:
        """What was asked for since the last call, and ids of what was taken back, in order."""
        found = []
        while self._requests:
            found.append(self._requests.popleft())
        return found

    def interrupt(self) -> None:
        """Ask the CLI to stop this turn; the result follows in milliseconds if it is healthy."""
        try:
            if self.result is None and self.interrupted_at is None:
                self.interrupted_at = time.monotonic()
                self.process.interrupt(self)
        finally:
            self.wake()

    def finish(self, result: Result) -> None:
        """Called once by the process: by the result, or by its death."""
        with self._condition:
            if self.result is None:
                self.result = result
            self._condition.notify()
