"""Transcripts travel with their sessions: into the store, and out of it where one moves."""

from __future__ import annotations

import threading
from collections import OrderedDict

from cowork.claude.transcript import Transcripts, tail_of
from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.model import Claim, Session, TranscriptState
from cowork.stores.worker_protocol import WorkerStore
from cowork.telemetry.catalogue import TRANSCRIPT_BYTES
from cowork.telemetry.metrics import NO_METRICS, Metrics

log = logger(__name__)

# Sessions of which this worker knows what the store has.
KNOWN_LIMIT = 4096
_ATTEMPTS = 2


class TranscriptSync:
    """Keeps the store's copies; a transcript of more than `limit` bytes has none.

    Nothing here fails a turn: a session whose transcript is not where it is needed goes on in a new
    one, and is told what was said.
    """

    def __init__(
        self,
        others: WorkerStore,
        transcripts: Transcripts,
        limit: int,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._others = others
        self._transcripts = transcripts
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[str, TranscriptState] = OrderedDict()

    def save(self, session: Session, claim: Claim) -> None:
        """Put what a turn has added to the session's transcript into the store."""
        try:
            for _ in range(_ATTEMPTS):
                if self._save(session, claim):
                    return
        except (OSError, StoreUnavailable) as fault:
            # The next turn brings it along.
            log.warning("could not save a transcript", session_id=session.id, why=str(fault))

    def _save(self, session: Session, claim: Claim) -> bool:
        known = self._state(session.id)
        size = self._transcripts.size(session.cwd, session.id)
        if known.size == TranscriptState.GIVEN_UP or not size or not self._limit:
            return True
        if size > self._limit:
            log.warning("transcript too long to travel", session_id=session.id, bytes=size)
            new, data = TranscriptState(TranscriptState.GIVEN_UP), b""
        else:
            new, data = self._added(session, known)
            if not data:
                return True
        if not self._others.put_transcript(session, claim, known, new, data):
            self._forget(session.id)
            return False
        self._metrics.count(TRANSCRIPT_BYTES, "in", by=len(data))
        self._remember(session.id, new)
        return True

    def _added(self, session: Session, known: TranscriptState) -> tuple[TranscriptState, bytes]:
        """What the transcript has besides what is known; all of it where that is another's."""
        begin = known.size
        tail, data = self._transcripts.read(session.cwd, session.id, begin, self._limit)
        if begin and tail != known.tail:
            begin = 0
            _, data = self._transcripts.read(session.cwd, session.id, 0, self._limit)
        size = begin + len(data)
        tail, _ = self._transcripts.read(session.cwd, session.id, size, 0)
        return TranscriptState(size, tail), data

    def restore(self, session: Session) -> None:
        """Have the session's transcript here, before a process resumes it."""
        try:
            self._restore(session)
        except (OSError, StoreUnavailable) as fault:
            log.warning("could not restore a transcript", session_id=session.id, why=str(fault))

    def _restore(self, session: Session) -> None:
        self._forget(session.id)
        kept = self._state(session.id)
        if kept.size <= 0 or self._has(session, kept):
            return
        data = self._others.transcript(session.id)
        if data is None or len(data) != kept.size or tail_of(data) != kept.tail:
            log.error(
                "stored transcript cannot be used, is COWORK_STORE_KEY_FILE the same everywhere?",
                session_id=session.id,
            )
            return
        self._transcripts.write(session.cwd, session.id, data)
        self._metrics.count(TRANSCRIPT_BYTES, "out", by=len(data))
        log.info("transcript restored from the store", session_id=session.id, bytes=len(data))

    def newer(self, session: Session) -> bytes | None:
        """What the store has of a transcript that is not here, or not all of it; else None."""
        try:
            self._forget(session.id)
            kept = self._state(session.id)
            if kept.size <= 0 or self._has(session, kept):
                return None
            return self._others.transcript(session.id)
        except (OSError, StoreUnavailable) as fault:
            log.warning("could not read a transcript", session_id=session.id, why=str(fault))
            return None

    def _has(self, session: Session, kept: TranscriptState) -> bool:
        """Whether the transcript that is here has all that the store has."""
        size = self._transcripts.size(session.cwd, session.id)
        if size is None or size < kept.size:
            return False
        try:
            tail, _ = self._transcripts.read(session.cwd, session.id, kept.size, 0)
        except OSError:
            return False  # a link, say, which is replaced
        return tail == kept.tail

    def _state(self, session_id: str) -> TranscriptState:
        with self._lock:
            known = self._known.get(session_id)
        if known is None:
            known = self._others.transcript_state(session_id)
            self._remember(session_id, known)
        return known

    def _remember(self, session_id: str, state: TranscriptState) -> None:
        with self._lock:
            self._known[session_id] = state
            self._known.move_to_end(session_id)
            if len(self._known) > KNOWN_LIMIT:
                self._known.popitem(last=False)

    def _forget(self, session_id: str) -> None:
        with self._lock:
            self._known.pop(session_id, None)
