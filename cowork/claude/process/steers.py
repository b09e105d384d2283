"""Messages that were given to the CLI while it answers: which have joined the turn, which have not.

The CLI takes them into the turn when the tools that run have ended.  What it has not taken by the
end of the turn it goes on with by itself, all of it as one question.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from cowork.claude.stream_json.protocol import Message

SteerState = Literal["joined", "cancelled"]
# What the CLI says of a message, and what that means for the turn.
_STATES: dict[str, SteerState] = {
    "started": "joined",
    "cancelled": "cancelled",
    "discarded": "cancelled",
    "refused": "cancelled",
}


def is_dropped(message: Message, uuid: str) -> bool:
    """Whether the CLI says that it will not begin with the message of that name."""
    return (
        message.get("command_uuid") == uuid
        and _STATES.get(str(message.get("state"))) == "cancelled"
    )


class Steers:
    """Those of one answer; each method may be called from any thread.

    `has_begun` is whether the CLI has said that it is at the question itself: what it is given
    before that would become part of the question.
    """

    def __init__(self) -> None:
        self.has_begun = self._begin_is_news = False
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._news: deque[tuple[str, SteerState]] = deque()
        self._is_closed = False

    def can_begin(self) -> bool:
        """Whether the CLI may be given messages; where not yet, that is news when it may."""
        with self._lock:
            self._begin_is_news = True
            return self.has_begun

    def begin(self) -> bool:
        """The CLI is at the question; whether that is news for somebody."""
        with self._lock:
            begins, self.has_begun = not self.has_begun, True
            return begins and self._begin_is_news

    def expect(self, uuid: str) -> bool:
        """A message is about to be sent; False where the turn takes none any more."""
        with self._lock:
            if self._is_closed:
                return False
            self._waiting.append(uuid)
            return True

    def take(self, message: Message, question: str) -> bool:
        """The CLI has said something of a message (`command_lifecycle`); whether it is news."""
        uuid, state = message.get("command_uuid"), _STATES.get(str(message.get("state")))
        if uuid == question:
            return state == "joined" and self.begin()
        if state is None or not isinstance(uuid, str):
            return False
        return self._settle(uuid, state)

    def _settle(self, uuid: str, state: SteerState) -> bool:
        with self._lock:
            if uuid not in self._waiting:
                return False
            self._waiting.remove(uuid)
            self._news.append((uuid, state))
            return True

    def pop_news(self) -> list[tuple[str, SteerState]]:
        """What has become of messages since the last call."""
        found = []
        while self._news:
            found.append(self._news.popleft())
        return found

    def close(self, answered: object = None) -> list[str]:
        """The turn takes no more; those that the CLI goes on with, in their order.

        `answered` is what its result says that it has answered.
        """
        for each in answered if isinstance(answered, list) else ():
            if isinstance(each, str):
                self._settle(each, "joined")
        with self._lock:
            self._is_closed = True
            return [*self._waiting]
