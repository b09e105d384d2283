"""Control requests to one CLI, and what it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cowork.claude.process.stdin import StdinWriter
from cowork.claude.stream_json import protocol
from cowork.errors import ClaudeFailed
from cowork.runtime.condition import PredicateCondition
from cowork.runtime.ids import new_hex

# Of those that are not answered yet.
PENDING_LIMIT = 256
WRITE_TIMEOUT_S = 5.0
Answer = Mapping[str, Any]


class ControlRefused(ClaudeFailed):
    """The CLI has answered that it will not; `said` is why, in its words."""

    said: str = ""


class ControlRequests:
    """Sends control requests from any thread; answers come in the reader's thread (`take`)."""

    def __init__(self, stdin: StdinWriter) -> None:
        self._stdin = stdin
        self._lock = threading.Lock()
        self._waiting: dict[str, Callable[[Answer | None], None]] = {}
        self._ended = False

    def send(
        self, subtype: str, on_answer: Callable[[Answer | None], None], **fields: Any
    ) -> str | None:
        """Send a request; its id, or None where it was not.

        `on_answer` gets the whole answer, None when the CLI ends before it gives one; it must
        neither wait nor raise.
        """
        request_id = f"{subtype}-{new_hex()}"
        with self._lock:
            if self._ended or len(self._waiting) >= PENDING_LIMIT:
                return None
            self._waiting[request_id] = on_answer
        request = protocol.control_request(request_id, subtype, **fields)
        if self._stdin.send(protocol.encode(request), WRITE_TIMEOUT_S):
            return request_id
        self.forget(request_id)
        return None

    def call(self, subtype: str, timeout: float, **fields: Any) -> Answer:
        """The answer's fields, after at most `timeout` seconds.

        Raises `ControlRefused`, and `ClaudeFailed` where no answer comes.
        """
        condition, found = PredicateCondition(), list[Answer | None]()

        def take(answer: Answer | None) -> None:
            with condition:
                found.append(answer)
                condition.notify()

        request_id = self.send(subtype, take, **fields)
        if request_id is not None:
            with condition:
                condition.wait_for(lambda: bool(found), time.monotonic() + timeout)
            self.forget(request_id)
        answer = found[0] if found else None
        if answer is None:
            raise ClaudeFailed(f"the Claude CLI did not answer {subtype!r}")
        if answer.get("subtype") != "success":
            refused = ControlRefused(f"the Claude CLI refused {subtype!r}")
            refused.said = str(answer.get("error") or "")
            raise refused
        body = answer.get("response")
        return body if isinstance(body, dict) else {}

    def forget(self, request_id: str) -> None:
        """Nobody waits for that answer any more."""
        with self._lock:
            self._waiting.pop(request_id, None)

    def take(self, answer: Answer) -> None:
        """An answer has come; one that nobody waits for is let go."""
        with self._lock:
            waiting = self._waiting.pop(str(answer.get("request_id")), None)
        if waiting is not None:
            waiting(answer)

    def end(self) -> None:
        """The CLI answers nothing any more."""
        with self._lock:
            self._ended = True
            waiting, self._waiting = list(self._waiting.values()), {}
        for each in waiting:
            each(None)
