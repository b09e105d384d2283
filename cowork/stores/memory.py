"""The store of one process: fast, bounded, gone at restart."""

from __future__ import annotations

import threading
from collections import deque
from itertools import count
from operator import itemgetter

from cowork.log import logger
from cowork.stores.base import ChatMessage, Claim, Project, Session, Token

log = logger(__name__)


# A chat message may be as large as a question; ten thousand of those would be too many.
OUTBOX_BYTES = 256 * 2**20


class MemoryStore:
    """Everything in dictionaries under one lock, which is never held while anything waits."""

    def __init__(self, *, outbox_limit: int = 10_000, outbox_bytes: int = OUTBOX_BYTES) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[Project, Session] = {}
        # Beside the newest claim, the one that was given out: DELETE makes them differ.
        self._claims: dict[Project, tuple[Claim, Claim]] = {}
        self._numbers = count(1)
        self._token: Token | None = None
        self._outbox: dict[Project, deque[tuple[int, ChatMessage]]] = {}
        self._arrivals = count()
        self._outbox_limit = outbox_limit
        self._outbox_size = 0
        self._outbox_bytes_limit = outbox_bytes
        self._outbox_bytes = 0

    def session(self, project: Project) -> Session | None:
        with self._lock:
            return self._sessions.get(project)

    def sessions(self, owner: str) -> list[Session]:
        with self._lock:
            return [kept for kept in self._sessions.values() if kept.project.owner == owner]

    def session_count(self) -> int:
        with self._lock:
            return len(self._sessions)

    def put_session(self, session: Session, claim: Claim) -> bool:
        with self._lock:
            newest, _ = self._claims.get(session.project, (None, None))
            if newest != claim:
                return False
            self._sessions[session.project] = session
            return True

    def delete_session(self, project: Project) -> Session | None:
        with self._lock:
            if project in self._claims:
                # The turn that holds the project keeps it busy, but under a newer number that
                # it does not know: whatever it writes at its end is refused.
                newest = Claim(project, next(self._numbers))
                self._claims[project] = newest, self._claims[project][1]
            return self._sessions.pop(project, None)

    def claim(self, project: Project) -> Claim | None:
        with self._lock:
            if project in self._claims:
                return None
            claim = Claim(project, next(self._numbers))
            self._claims[project] = claim, claim
            return claim

    def release(self, claim: Claim) -> None:
        with self._lock:
            _, given = self._claims.get(claim.project, (None, None))
            if given == claim:
                del self._claims[claim.project]

    def token(self) -> Token | None:
        with self._lock:
            return self._token

    def put_token(self, token: Token | None) -> None:
        with self._lock:
            self._token = token

    def put_message(self, message: ChatMessage) -> None:
        with self._lock:
            waiting = self._outbox.setdefault(message.project, deque())
            waiting.append((next(self._arrivals), message))
            self._outbox_size += 1
            self._outbox_bytes += len(message.message)
            dropped = []
            while self._outbox_size > 1 and self._outbox_is_over():
                dropped.append(self._drop_oldest().id)
        for message_id in dropped:
            log.warning("outbox full, oldest message dropped", message_id=message_id)

    def _outbox_is_over(self) -> bool:
        if self._outbox_size > self._outbox_limit:
            return True
        return self._outbox_bytes > self._outbox_bytes_limit

    def _drop_oldest(self) -> ChatMessage:
        """Make room: the message that has waited longest goes."""
        _, oldest = min((waiting[0] for waiting in self._outbox.values()), key=itemgetter(0))
        self._take_out(oldest.project, 0)
        return oldest

    def _take_out(self, project: Project, place: int) -> None:
        waiting = self._outbox[project]
        self._outbox_bytes -= len(waiting[place][1].message)
        del waiting[place]
        self._outbox_size -= 1
        if not waiting:
            del self._outbox[project]

    def next_messages(self) -> list[ChatMessage]:
        with self._lock:
            heads = sorted((waiting[0] for waiting in self._outbox.values()), key=itemgetter(0))
            return [message for _, message in heads]

    def drop_message(self, message: ChatMessage) -> None:
        with self._lock:
            waiting = self._outbox.get(message.project, ())
            found = (place for place, (_, kept) in enumerate(waiting) if kept == message)
            place = next(found, None)
            if place is not None:
                self._take_out(message.project, place)

    def message_count(self) -> int:
        with self._lock:
            return self._outbox_size

    def close(self) -> None:
        """Nothing is held open."""
