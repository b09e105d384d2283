"""A turn's event log as `text/event-stream`.

Whatever is in the log is written in one go, and what comes while the stream waits is written
directly, by the thread that reads it (`direct_write.py`).  Where nothing comes, what `framing.py`
fills silence with keeps the connection open.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from flask import request

from cowork.errors import ShuttingDown
from cowork.events import Failed
from cowork.turns.event_log import Batch
from cowork.turns.turn import Turn
from cowork.web.direct_write import DirectWriter, direct_writer
from cowork.web.disconnects import PROBE_INTERVAL_S, Disconnects, Watch
from cowork.web.framing import Framing
from cowork.web.problems import ClientClosedRequest
from cowork.web.request_log import STREAM_FACTS

WATCH_AFTER_S = 0.2
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # Nor compressed on the way, which would hold back frames until there is enough to compress.
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class StreamObserver(Protocol):
    """Is told of a stream's beginning and end, and how long a token took to be written."""

    def began(self) -> None: ...
    def ended(self, how: str) -> None: ...
    def wrote(self, delay_s: float) -> None: ...


class Stream:
    """One reader of a turn, from behind event `after`: `start`, iterate, `close`."""

    def __init__(
        self,
        turn: Turn,
        framing: Framing,
        *,
        keepalive: float,
        disconnects: Disconnects,
        after: int = 0,
        preamble: bytes = b"",
        observer: StreamObserver | None = None,
    ) -> None:
        self._turn = turn
        self._keepalive = keepalive
        self._disconnects = disconnects
        self._request = request._get_current_object()  # type: ignore[attr-defined] # noqa: SLF001
        self._after = after
        self._framing = framing
        self._preamble = preamble
        self._first_frames = b""
        self._opening: bytes | None = None
        self._failed_at_once = False
        self._written = time.monotonic()
        self._watch: Watch | None = None
        self._direct: DirectWriter | None = None
        self._observer = observer
        self._sample: tuple[int, float] | None = None
        self._has_begun = self._is_over = self._closed = False
        self._bytes = 0
        turn.add_reader()

    def start(self, timeout: float) -> None:
        """Wait for the first frame, at most `timeout` seconds, not at all behind other turns.

        Raises the turn's error where it failed before anything was written.
        """
        deadline = time.monotonic() + timeout
        while (
            not self._first_frames and not self._turn.queue_position and time.monotonic() < deadline
        ):
            events = self._read(deadline)
            watch = self._watch
            if self._client_has_half_closed() and watch is not None and watch.probe_closed():
                raise ClientClosedRequest
            self._open()
            self._first_frames = self._frames(events)
            failed = self._turn.error
            if failed is not None and self._failed_at_once:
                raise failed

    def __iter__(self) -> Iterator[bytes]:
        self._has_begun = True
        if self._observer is not None:
            self._observer.began()
        what_is_there = self._beginning() or self._frames(self._turn.read(self._after, 0.0))
        yield self._counted(what_is_there or self._framing.keep_alive)
        self._written = time.monotonic()
        self._direct = direct_writer(self._request.environ)
        while not self._turn.ended(self._after):
            frames = self._frames(self._read(self._written + self._keepalive))
            if self._direct is not None:
                self._direct.flush()
            if frames:
                yield self._counted(frames)
                self._time_write()
            elif self._client_has_half_closed():
                # Two writes tell: after the first, a peer that is gone refuses the second.
                yield self._framing.keep_alive
                time.sleep(PROBE_INTERVAL_S)
                yield self._framing.keep_alive
            elif time.monotonic() < self._written + self._keepalive:
                continue  # what came was written, or this client did not ask for it
            else:
                yield self._framing.keep_alive
            self._written = time.monotonic()
        self._is_over = True

    def _open(self) -> None:
        """Render what comes before the events, which are not rendered before that."""
        if self._opening is None:
            self._opening = self._framing.begin()

    def _beginning(self) -> bytes:
        """What there is to say at once."""
        self._open()
        frames, self._first_frames = self._first_frames, b""
        return self._preamble + (self._opening or b"") + frames

    def _read(self, until: float) -> Batch:
        """The next events; none at `until`, or when the client has half-closed."""
        if self._watch is None:
            # A short reply is not worth a watch: a failing write tells.
            watch_at = min(until, self._written + WATCH_AFTER_S)
            events = self._wait(watch_at)
            now = time.monotonic()
            if now < watch_at or now >= until or self._turn.ended(self._after + len(events)):
                return events
            self._watch = self._disconnects.watch(self._request, self._turn.wake)
            if events:
                return events
        return self._wait(until)

    def _wait(self, until: float) -> Batch:
        return self._turn.read(self._after, until, self._must_wake, self._write_direct)

    def _write_direct(self, events: Batch) -> bool:
        """Write these from the thread that appended them; False: the reply's greenlet must."""
        if self._direct is None or not self._direct.is_allowed():
            return False
        frames = self._frames(events)
        if frames:
            self._direct.write(frames)
            self._written = time.monotonic()
            if self._turn.sample is not self._sample:
                self._time_write()
        return True

    def _time_write(self) -> None:
        """Tell how long a token took that the turn has chosen, where it is written by now."""
        sample = self._turn.sample
        if sample is None or sample is self._sample or sample[0] > self._after:
            return
        self._sample = sample
        if self._observer is not None:
            self._observer.wrote(time.monotonic() - sample[1])

    def _counted(self, frames: bytes) -> bytes:
        self._bytes += len(frames)
        return frames

    def _must_wake(self) -> bool:
        """Whether the reply's greenlet has something to do besides waiting."""
        half_closed = self._watch is not None and self._watch.half_closed
        return half_closed or (self._direct is not None and bool(self._direct.pending))

    def _client_has_half_closed(self) -> bool:
        """Whether the client has just closed its half; true once, then it only reads."""
        if self._watch is None or not self._watch.half_closed:
            return False
        self._watch.half_closed = False
        return True

    def close(self) -> None:
        """The reader goes; safe to call twice, and whether or not it was ever iterated."""
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            self._disconnects.unwatch(self._watch)
        self._turn.remove_reader()
        if self._has_begun:
            self._tell_end()

    def _tell_end(self) -> None:
        """Say how it ended, in the metrics and where the request's log line looks."""
        facts = self._request.environ.setdefault(STREAM_FACTS, {})
        how = facts.setdefault("how", self._how())
        facts["bytes"] = self._bytes + (self._direct.written if self._direct is not None else 0)
        if self._observer is not None:
            self._observer.ended(how)

    def _how(self) -> str:
        is_shutdown = self._turn.is_given_up or isinstance(self._turn.error, ShuttingDown)
        if self._is_over:
            return "shutdown" if is_shutdown else "done"
        has_stalled = getattr(self._request.environ.get("gunicorn.socket"), "has_stalled", False)
        return "reader_stalled" if has_stalled else "client_left"

    def _frames(self, events: Batch) -> bytes:
        """The frames of these events; event n keeps its number whoever reads it."""
        number = self._after + 1
        parts: list[bytes] = []
        for run in events.runs():
            if isinstance(run, list):
                parts.append(self._framing.tokens(run, number))
                number += len(run)
                continue
            if isinstance(run, Failed) and not any(parts):
                self._failed_at_once = True
            parts.append(self._framing.event(run, self._turn.number_of(number)))
            number += 1
        self._after += len(events)
        return b"".join(parts)
