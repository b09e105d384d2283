"""A session that goes on from an earlier place: in another project, or in its own.

Its transcript is copied up to there under a new id, so that the original is left as it is whatever
breaks on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cowork.claude.conversation import following_turn, last_assistant_row, read_conversation
from cowork.claude.file_history import FileHistories
from cowork.claude.pool.pool import Pool
from cowork.claude.transcript import Transcripts
from cowork.claude.transcript_copy import copy_transcript
from cowork.claude.workspace import Workspace
from cowork.errors import (
    ClaudeUnavailable,
    FilesNotRestored,
    InvalidValue,
    ProjectBusy,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    TurnInterrupted,
)
from cowork.gevent_compat import run_in_native_thread
from cowork.log import logger
from cowork.model import Claim, ConversationNode, Project, Session, with_earlier
from cowork.runtime.ids import new_id
from cowork.stores.protocol import Store
from cowork.stores.serialization import session_json
from cowork.turns.conversations import Conversations
from cowork.turns.finisher import TurnFinisher
from cowork.turns.last_words import last_words_in
from cowork.turns.removals import Removals
from cowork.turns.running.checkpoints import Checkpoints, FileChanges
from cowork.turns.running.claims import release_claim
from cowork.turns.running.result_wait import TurnRun
from cowork.turns.session_change import SessionChange
from cowork.turns.transcript_sync import TranscriptSync
from cowork.turns.turn import Turn

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A transcript up to the end of a turn, and the id of the turn behind it, if there is one."""

    transcript: bytes
    following: str | None
    last_words: str


class Forks:
    """Runs the turns that fork and rewind sessions, under the claim on their project."""

    def __init__(
        self,
        store: Store,
        transcripts: Transcripts,
        conversations: Conversations,
        *,
        histories: FileHistories,
        checkpoints: Checkpoints,
        finisher: TurnFinisher,
        removals: Removals,
        pool: Pool,
        workspace: Workspace,
        sync: TranscriptSync | None = None,
    ) -> None:
        self._store = store
        self._transcripts = transcripts
        self._conversations = conversations
        self._histories = histories
        self._checkpoints = checkpoints
        self._finisher = finisher
        self._removals = removals
        self._pool = pool
        self._workspace = workspace
        self._sync = sync

    def run(self, run: TurnRun, change: SessionChange) -> None:
        """Make the change, and end the turn with what it made.

        Raises `SessionNotFound`, `SessionExists`, `ProjectBusy`, `InvalidValue`,
        `FilesNotRestored`, `ClaudeUnavailable`, `StoreUnavailable`, and what stops the turn.
        """
        project = run.turn.project
        origin = self._store.session(project)
        if origin is None:
            raise SessionNotFound("the project has no session")
        if change.to is not None:
            self._fork(run.turn, origin, Project(project.owner, change.to), change.turn_id)
        else:
            self._rewind(run, origin, change)

    def _fork(self, turn: Turn, origin: Session, to: Project, turn_id: str | None) -> None:
        self._check_has_none(to)
        with self._claimed(to) as claim:
            self._check_has_none(to)
            cut = self._cut(origin, session_id := new_id(), turn_id, field="at_turn")
            now = datetime.now(UTC)
            session = Session(
                to,
                session_id,
                self._workspace.make(to),
                created=now,
                last_used=now,
                last_words=cut.last_words,
            )
            with self._written(origin, session, cut):
                _check_goes_on(turn)
                if not self._store.put_session(session, claim):
                    raise ProjectBusy("the target's session was deleted meanwhile")
            self._finisher.finish_change(turn, _made(session, None))
            if self._sync is not None:
                self._sync.save(session, claim)

    def _rewind(self, run: TurnRun, origin: Session, change: SessionChange) -> None:
        turn, claim = run.turn, run.claim
        title = self._store.titles(turn.project.owner).get(turn.project.name)
        cut = self._cut(origin, session_id := new_id(), change.turn_id, field="to_turn")
        files = None
        if change.files != "keep":
            files = self._previewed(run, origin, cut)
        if change.files == "preview":
            self._finisher.finish_change(turn, _made(origin, title, files))
            return
        earlier = with_earlier(*origin.earlier, origin.id)
        session = replace(
            origin,
            id=session_id,
            earlier=earlier,
            last_used=datetime.now(UTC),
            last_words=cut.last_words,
        )
        with self._written(origin, session, cut):
            files = self._restored(run, origin, cut, files)
            # In one step with the turn's end: a process that dies has changed nothing.
            made = _made(session, title, files)
            if not self._finisher.finish_change(turn, made, claim=claim, session=session):
                raise ProjectBusy("the project's session was deleted meanwhile")
        if self._sync is not None:
            self._sync.save(session, claim)
        self._pool.forget(turn.project, origin.id)
        self._remove_forgotten(origin, session)

    def branch(self, run: TurnRun, node: ConversationNode, found: Session | None) -> Session | None:
        """The project's session from now on, which goes on behind that node.

        `found` is the one it takes the place of.  None where the node's session cannot be cut
        there: its transcript is gone, or it was compacted since.  Raises `TurnInterrupted` where
        the project's session was deleted meanwhile, `ClaudeUnavailable`, `StoreUnavailable`.
        """
        now = datetime.now(UTC)
        project = run.turn.project
        origin = Session(node.project, node.session_id, node.cwd, now, now)
        try:
            cut = self._cut(origin, session_id := new_id(), node.turn_id, field="messages")
        except (InvalidValue, ClaudeUnavailable) as why:
            log.info("cannot go on there", turn_id=run.turn.id, why=why.message)
            return None
        # An unnamed conversation goes on among its own files.
        stays = project.is_unnamed or project == node.project
        is_there = stays and self._workspace.still_has(node.cwd)
        cwd = node.cwd if is_there else self._workspace.make(project)
        session = replace(
            found or Session(project, session_id, cwd, now, now),
            id=session_id,
            cwd=cwd,
            earlier=() if found is None else _with_origin_last(found, node.session_id),
            last_used=now,
            incomplete=False,
            last_words=cut.last_words,
            last_turn="",
        )
        with self._written(origin, session, cut):
            if not self._store.put_session(session, run.claim):
                raise TurnInterrupted("the project's session was deleted")
        self._remove_forgotten(found, session)
        return session

    def _remove_forgotten(self, before: Session | None, session: Session) -> None:
        """Remove what the CLI keeps of sessions whose ids are forgotten: no `DELETE` would."""
        forgotten = () if before is None else {*before.ids} - {*session.ids}
        if forgotten:
            self._removals.add([*forgotten], lambda: True)

    def _previewed(self, run: TurnRun, origin: Session, cut: _Cut) -> FileChanges:
        if cut.following is None:  # it is the last turn: what is there is what it left
            return FileChanges()
        return self._checkpoints.preview(run, origin, cut.following)

    def _restored(
        self, run: TurnRun, origin: Session, cut: _Cut, files: FileChanges | None
    ) -> FileChanges | None:
        """Restore them where that is wanted; the turn is not to be stopped behind this."""
        if files is not None and not files.can_restore:
            raise FilesNotRestored(files.reason or "the files cannot be restored")
        if files is None or cut.following is None:
            _check_goes_on(run.turn)
            return None if files is None else replace(files, skipped_links=0, unrestored=())
        return self._checkpoints.restore(run, origin, cut.following, files)

    def _check_has_none(self, to: Project) -> None:
        if self._store.session(to) is not None:
            raise SessionExists("the project has a session already")

    @contextmanager
    def _claimed(self, project: Project) -> Iterator[Claim]:
        """The target, at once or not at all: two that fork into each other would wait for ever."""
        claim = self._store.claim(project)
        if claim is None:
            raise ProjectBusy("the project is answering a question")
        try:
            yield claim
        finally:
            release_claim(self._store, claim)

    def _cut(self, origin: Session, session_id: str, turn_id: str | None, *, field: str) -> _Cut:
        """The transcript of the new session."""
        data = self._conversations.transcript(origin)
        if not data:
            raise ClaudeUnavailable("the session's transcript cannot be read here")

        def cut() -> _Cut | None:
            lines, until = data.split(b"\n"), None
            if turn_id is not None:
                until = last_assistant_row(lines, turn_id)
                if until is None:
                    return None
            copied = copy_transcript(data, origin.id, session_id, until)
            following = None if turn_id is None else following_turn(lines, turn_id)
            if copied is None:
                return None
            said = last_words_in(read_conversation(copied.split(b"\n")))
            return _Cut(copied, following, said)

        found = run_in_native_thread(cut)
        if found is None and turn_id is not None:
            sentence = "the session has no such turn with an answer since its last compaction"
            raise InvalidValue(sentence, field=field)
        if found is None:
            raise ClaudeUnavailable("the session's transcript cannot be read here")
        return found

    @contextmanager
    def _written(self, origin: Session, session: Session, cut: _Cut) -> Iterator[None]:
        """What the CLI keeps of the new session is there, and removed again where this fails."""
        try:
            try:
                self._histories.copy(origin.id, session.id)
                self._transcripts.write(session.cwd, session.id, cut.transcript)
            except OSError as fault:
                log.error("could not write a session", session_id=session.id, error=str(fault))
                raise ClaudeUnavailable("the new session cannot be written here") from fault
            yield
        except BaseException as fault:
            # Where the store may have it all the same, its session is not to lose its files.
            if not (isinstance(fault, StoreUnavailable) and fault.outcome_unknown):
                self._removals.add([session.id], lambda: True)
            raise


def _with_origin_last(session: Session, origin: str) -> tuple[str, ...]:
    """The ids that the session's project has had; that which is branched last is forgotten last."""
    return with_earlier(*sorted(session.ids, key=lambda each: each == origin))


def _check_goes_on(turn: Turn) -> None:
    """The last place at which a turn may be stopped: what follows is not undone."""
    turn.on_stop(None)
    turn.check_not_stopped()


def _made(
    session: Session, title: str | None, files: FileChanges | None = None
) -> Mapping[str, Any]:
    """What the turn's end tells of it; the first reply is made of it, and each replay."""
    return {
        "project": session.project.name,
        "session": session_json(replace(session, earlier=())),
        "title": title,
        "files": None if files is None else files.told(),
    }
