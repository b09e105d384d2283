"""A turn whose process is gone, and what the next one has to know to go on with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cowork.claude.stream_json.request_observer import RequestObserver
from cowork.events import Emitted


@dataclass(frozen=True, slots=True)
class Continuation:
    """A turn whose process is gone, and which another one goes on with.

    `text` was said so far, `call` is the id and the name of the tool that waits.
    """

    on_events: Callable[[list[Emitted]], object]
    text: str = ""
    call: tuple[str, str] | None = None
    observer: RequestObserver | None = None
