"""What was said in a project: out of the CLI's transcript where there is one, else our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cowork.claude.conversation import ConversationMessage, read_conversation
from cowork.claude.transcript import Transcripts
from cowork.errors import InvalidValue, SessionNotFound
from cowork.gevent_compat import run_in_native_thread
from cowork.model import Exchange, Project, Session
from cowork.stores.protocol import Store
from cowork.turns.transcript_sync import TranscriptSync

# Of a transcript that is read as a conversation.
READ_LIMIT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, oldest first; `next` is the cursor behind, or before, these.

    `source` is `transcript` or `history`.
    """

    messages: Sequence[ConversationMessage]
    source: str
    next: str | None


class Conversations:
    """Reads them for any project; `sync` has the transcripts of other machines."""

    def __init__(
        self, store: Store, transcripts: Transcripts, sync: TranscriptSync | None = None
    ) -> None:
        self._store = store
        self._transcripts = transcripts
        self._sync = sync

    def page(
        self,
        project: Project,
        *,
        limit: int,
        before: str | None = None,
        after: str | None = None,
        last: bool = False,
    ) -> Page:
        """The first `limit` messages, those behind `after`, or the last (before `before`).

        Raises `SessionNotFound`, `InvalidValue` for a cursor of none of them, `StoreUnavailable`.
        """
        session = self._store.session(project)
        if session is None:
            raise SessionNotFound("the project has no session")
        messages, source = self._all(session)
        places = {message.id: place for place, message in enumerate(messages)}
        cursor = before if before is not None else after
        if cursor is not None and cursor not in places:
            field = "before" if before is not None else "after"
            raise InvalidValue("no message of the session has this id", field=field)
        if before is not None or last:
            end = len(messages) if before is None else places[before]
            begin = max(end - limit, 0)
            shown = messages[begin:end]
            return Page(shown, source, shown[0].id if begin else None)
        begin = 0 if after is None else places[after] + 1
        shown = messages[begin : begin + limit]
        more = begin + limit < len(messages)
        return Page(shown, source, shown[-1].id if more else None)

    def _all(self, session: Session) -> tuple[list[ConversationMessage], str]:
        data = self.transcript(session)
        if data:
            found = run_in_native_thread(lambda: read_conversation(data.split(b"\n")))
            if found:
                return found, "transcript"
        return _of_history(session, self._store.history(session.project)), "history"

    def transcript(self, session: Session) -> bytes:
        """The newest that can be had; none where there is none, or it is too long."""
        if self._sync is not None:
            kept = self._sync.newer(session)
            if kept is not None:
                return kept
        size = self._transcripts.size(session.cwd, session.id)
        if size is None or size > READ_LIMIT_BYTES:
            return b""
        try:
            return self._transcripts.read(session.cwd, session.id, 0, READ_LIMIT_BYTES)[1]
        except OSError:
            return b""


def _of_history(session: Session, history: Sequence[Exchange]) -> list[ConversationMessage]:
    """What the server itself remembers: the last questions and answers, without their times."""
    at = session.last_used
    found: list[ConversationMessage] = []
    for number, each in enumerate(history):
        for role, text in (("user", each.question), ("assistant", each.answer)):
            found.append(
                ConversationMessage(
                    id=f"history-{number}-{role}",
                    question_id=None,
                    role="user" if role == "user" else "assistant",
                    created_at=at,
                    parts=({"type": "text", "text": text},),
                )
            )
    return found
