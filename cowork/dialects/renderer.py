"""What turns a turn's events into a dialect's frames."""

from __future__ import annotations

from typing import Protocol

from cowork.events import Event


class Renderer(Protocol):
    """One reader's rendering of one turn, from its first event on.

    `keep_alive` is what fills silence.  A failure that comes before any content is not rendered:
    it is the reply's status.
    """

    keep_alive: bytes

    def begin(self) -> bytes:
        """The frames before the turn's first event."""
        ...

    def tokens(self, literals: list[bytes], number: int) -> bytes:
        """The frames of tokens in a row, each as its JSON string; `number` is the first one's."""
        ...

    def event(self, event: Event, number: int) -> bytes:
        """The frames of another event; empty for one that this client gets none of."""
        ...
