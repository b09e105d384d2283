"""A turn that another worker runs, as far as it is known here."""

from __future__ import annotations

import time
from collections.abc import Callable

from cowork.errors import CoworkError
from cowork.events import Done
from cowork.model import Project, PublishedEvents
from cowork.turns.event_log import EventLog
from cowork.turns.question import Question
from cowork.turns.turn import Turn

# How long an event is waited for that a client says it has read elsewhere: longer than it takes
# until a machine that is gone counts as that; and how often its worker is looked after meanwhile.
EVENT_TIMEOUT_S = 20.0
CHECK_INTERVAL_S = 1.0


class RemoteTurn(Turn):
    """Its log is a copy, which grows by what its worker (`holder`) publishes while it is read here.

    `place` is how far that was read, `missing_since` when the store was found not to know it
    (monotonic), `asked` its question, once its worker was asked for that.  Its own worker decides
    what becomes of it when nobody reads it any more; `on_readers` is called, with the turn, when
    that may have changed, and `on_silence` when it says nothing that is known to have been said.
    """

    def __init__(
        self, project: Project, question: Question, *, holder: str, turn_id: str = ""
    ) -> None:
        super().__init__(project, question, turn_id=turn_id)
        self.holder = holder
        self.place = "0"
        self.missing_since: float | None = None
        self.asked: str | None = None
        self.on_readers: Callable[[RemoteTurn], None] | None = None
        self.on_silence: Callable[[RemoteTurn], None] | None = None

    @property
    def is_read(self) -> bool:
        """Whether somebody reads it, and has not read its end."""
        with self._condition:
            return self._readers.count > 0 and self.done is None

    def add_reader(self) -> None:
        super().add_reader()
        self._tell_readers()

    def remove_reader(self) -> None:
        super().remove_reader()
        self._tell_readers()

    def _tell_readers(self) -> None:
        call = self.on_readers
        if call is not None:
            self._notify_listener(lambda: call(self))

    def extend(self, events: PublishedEvents) -> bool:
        """Add what its worker has published; False where something before that is missing."""
        with self._condition:
            known = len(self._log) - (events.first - 1)
            if self.done is not None or known >= len(events.codes):
                self.place = events.id
                return True
            if known < 0:
                return False
            lines = events.lines
            if known:
                lines = b"\n".join(lines.split(b"\n")[known:])
            self._log.append_raw(events.codes[known:], lines)
            self.place = events.id
            self._condition.notify()
            return True

    def finish(self, done: Done, error: CoworkError | None = None) -> bool:
        self.asked = None
        return super().finish(done, error)

    def finish_from_record(
        self,
        log: EventLog | None,
        done: Done,
        error: CoworkError | None,
        *,
        is_cut: bool = False,
    ) -> None:
        """As a `Turn`; where no log is kept, who reads gets the end behind what there is."""
        if log is None:
            with self._condition:
                self.is_end_only = not done.message  # its session was deleted
                is_read, self.log_is_complete = self._readers.count > 0, False
            if is_read:
                self.finish(done, error)
                return
        super().finish_from_record(log, done, error, is_cut=is_cut)

    def wait_event(self, number: int) -> None:
        """Wait, `EVENT_TIMEOUT_S` at most, until event `number` is here, or the turn has ended.

        It counts as read meanwhile.
        """
        deadline = time.monotonic() + EVENT_TIMEOUT_S
        self.add_reader()
        try:
            while not self._has(number) and time.monotonic() < deadline:
                until = min(deadline, time.monotonic() + CHECK_INTERVAL_S)
                with self._condition:
                    self._condition.wait_for(lambda: self._has_locked(number), until)
                if not self._has(number) and self.on_silence is not None:
                    self.on_silence(self)
        finally:
            self.remove_reader()

    def _has(self, number: int) -> bool:
        with self._condition:
            return self._has_locked(number)

    def _has_locked(self, number: int) -> bool:
        return self.done is not None or len(self._log) >= number
