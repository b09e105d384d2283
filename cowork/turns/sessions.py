"""What turns make of their project's session."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.answer import Result
from cowork.events import Done
from cowork.model import Project, Session, with_earlier


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


def with_turn_counted(session: Session, done: Done, result: Result | None) -> Session:
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
    )
