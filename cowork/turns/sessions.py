"""What turns make of their project's session."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import RequestRefused
from cowork.claude.stream_json.result import Result
from cowork.claude.transcript import Transcripts
from cowork.errors import SessionUnusable
from cowork.events import Done
from cowork.log import logger
from cowork.model import Project, Session, with_earlier
from cowork.turns.last_words import last_words
from cowork.turns.turn import Turn

log = logger(__name__)


def new_session(project: Project, process: ClaudeProcess, earlier: tuple[str, ...]) -> Session:
    """The session that begins with this process's first question."""
    now = datetime.now(UTC)
    return Session(
        project,
        process.session_id,
        process.cwd,
        created=now,
        last_used=now,
        earlier=tuple(each for each in earlier if each != process.session_id),
    )


def with_tried(session: Session, tried: Session) -> Session:
    """The session that stays, with the id of one that was tried in its place."""
    return replace(session, earlier=with_earlier(*session.earlier, tried.id))


def with_turn_counted(session: Session, turn_id: str, done: Done, result: Result | None) -> Session:
    """The session with one more turn, under the id that the CLI will resume."""
    spent = result.spent if result is not None else None
    if done.session_id and done.session_id != session.id:
        earlier = with_earlier(*session.earlier, session.id)
        session = replace(session, id=done.session_id, earlier=earlier)
    return replace(
        session,
        last_used=datetime.now(UTC),
        turns=session.turns + 1,
        cost_usd=session.cost_usd + (done.cost_usd or 0.0),
        usage=session.usage.plus(spent),
        context_tokens=(result.context_tokens if result else 0) or session.context_tokens,
        context_limit=(result.context_limit if result else 0) or session.context_limit,
        last_words=last_words(done.message) or session.last_words,
        last_turn=turn_id,
    )


def with_given_up(given_up: tuple[str, ...], turn: Turn) -> tuple[str, ...]:
    """With the session that the turn has just tried."""
    return given_up if turn.session_id is None else with_earlier(*given_up, turn.session_id)


def with_transcript_checked(
    session: Session, transcripts: Transcripts, size: int | None, *, was_told: bool
) -> Session:
    """The session, with whether its transcript has all that was said; it had `size` bytes."""
    lacks = transcripts.lacks_turn(session.cwd, session.id, size)
    if lacks:
        log.error(
            "CLI did not write the turn to its transcript, is the disk full?",
            session_id=session.id,
        )
    incomplete = lacks or (session.incomplete and not was_told)
    return session if incomplete == session.incomplete else replace(session, incomplete=incomplete)


def session_unusable(turn: Turn, session: Session, error: RequestRefused) -> SessionUnusable:
    """The error of a turn that a new session could not help; the project keeps the old one."""
    turn.set_session(session.id, is_new=False, recovered=False)
    return SessionUnusable(
        f"{error.message}; a new session was tried too. If every question fails like this one, "
        "DELETE /sessions/{project} lets the project begin anew",
        **error.facts,
    )
