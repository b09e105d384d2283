"""A session that goes on from an earlier place: in another project, or in its own.

Its transcript is copied up to there under a new id, so that the original is left as it is whatever
breaks on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from cowork.claude.conversation import last_assistant_row
from cowork.claude.pool.pool import Pool
from cowork.claude.transcript import Transcripts
from cowork.claude.transcript_copy import copy_transcript
from cowork.claude.workspace import Workspace
from cowork.errors import (
    ClaudeUnavailable,
    InvalidValue,
    ProjectBusy,
    SessionExists,
    SessionNotFound,
)
from cowork.gevent_compat import run_in_native_thread
from cowork.log import logger
from cowork.model import Claim, Project, Session, with_earlier
from cowork.runtime.ids import new_id
from cowork.stores.protocol import Store
from cowork.turns.claims import release_claim
from cowork.turns.conversations import Conversations
from cowork.turns.transcript_sync import TranscriptSync

log = logger(__name__)


class Forks:
    """Forks and rewinds sessions; a project that is being answered is `ProjectBusy`."""

    def __init__(
        self,
        store: Store,
        transcripts: Transcripts,
        conversations: Conversations,
        *,
        pool: Pool,
        workspace: Workspace,
        sync: TranscriptSync | None = None,
    ) -> None:
        self._store = store
        self._transcripts = transcripts
        self._conversations = conversations
        self._pool = pool
        self._workspace = workspace
        self._sync = sync

    def fork(self, project: Project, to: Project, at_turn: str | None) -> Session:
        """Begin `to` with what was said in the project, up to the end of `at_turn`.

        Raises `SessionNotFound`, `SessionExists`, `ProjectBusy`, `InvalidValue`,
        `ClaudeUnavailable` and `StoreUnavailable`.
        """
        origin = self._session(project)
        with self._claimed(to) as claim:
            if self._store.session(to) is not None:
                raise SessionExists("the project has a session already")
            if at_turn is None:
                with self._claimed(project):  # of one that is being answered half is there
                    data = self._copied(origin, session_id := new_id(), None)
            else:
                data = self._copied(origin, session_id := new_id(), at_turn, field="at_turn")
            now = datetime.now(UTC)
            session = Session(to, session_id, self._workspace.make(to), created=now, last_used=now)
            self._keep(session, claim, data)
        return session

    def rewind(self, project: Project, to_turn: str) -> Session:
        """Have the project go on behind the end of `to_turn`; raises as `fork`."""
        with self._claimed(project) as claim:
            origin = self._session(project)
            data = self._copied(origin, session_id := new_id(), to_turn, field="to_turn")
            earlier = with_earlier(*origin.earlier, origin.id)
            session = replace(origin, id=session_id, earlier=earlier, last_used=datetime.now(UTC))
            self._keep(session, claim, data)
        self._pool.forget(project, origin.id)
        return session

    def _session(self, project: Project) -> Session:
        session = self._store.session(project)
        if session is None:
            raise SessionNotFound("the project has no session")
        return session

    @contextmanager
    def _claimed(self, project: Project) -> Iterator[Claim]:
        claim = self._store.claim(project)
        if claim is None:
            raise ProjectBusy("the project is answering a question")
        try:
            yield claim
        finally:
            release_claim(self._store, claim)

    def _copied(
        self, origin: Session, session_id: str, turn_id: str | None, *, field: str = ""
    ) -> bytes:
        """The transcript of the new session."""
        data = self._conversations.transcript(origin)
        if not data:
            raise ClaudeUnavailable("the session's transcript cannot be read here")

        def copy() -> bytes | None:
            until = None
            if turn_id is not None:
                until = last_assistant_row(data.split(b"\n"), turn_id)
                if until is None:
                    return None
            return copy_transcript(data, origin.id, session_id, until)

        found = run_in_native_thread(copy)
        if found is None and turn_id is not None:
            sentence = "the session has no such turn with an answer since its last compaction"
            raise InvalidValue(sentence, field=field)
        if found is None:
            raise ClaudeUnavailable("the session's transcript cannot be read here")
        return found

    def _keep(self, session: Session, claim: Claim, data: bytes) -> None:
        try:
            self._transcripts.write(session.cwd, session.id, data)
        except OSError as fault:
            log.error("could not write a transcript", session_id=session.id, error=str(fault))
            raise ClaudeUnavailable("the new session cannot be written here") from fault
        if not self._store.put_session(session, claim):
            raise ProjectBusy("the project's session was deleted meanwhile")
        if self._sync is not None:
            self._sync.save(session, claim)
