"""Which session answers a request.

What a client says was said before has a digest, which names a node: the place in a session behind
which the question goes on.  What is found here is decided once more when the turn runs, under the
claim on its project (`turns/running/begin_continued.py`): another one may have been quicker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from cowork.dialects.history import told, with_history
from cowork.dialects.request import DialectRequest, HistoryMessage, NameSource
from cowork.errors import PreviousResponseNotFound
from cowork.model import ConversationNode, Exchange, Project, Session
from cowork.runtime.ids import new_id
from cowork.turns.continuation import Continuation, beginning
from cowork.turns.running.begin_continued import is_head

SessionState = Literal["new", "continued", "forked", "rebuilt"]


@dataclass(frozen=True, slots=True)
class Placement:
    """The project whose session answers, what becomes of that, and how its question goes on."""

    project: Project
    state: SessionState
    continuation: Continuation


class Nodes(Protocol):
    """What is asked of a store."""

    def session(self, project: Project) -> Session | None:
        """The project's session."""

    def node(self, owner: str, key: str) -> ConversationNode | None:
        """The owner's node of that key."""

    def node_of_turn(self, owner: str, turn_id: str) -> ConversationNode | None:
        """The owner's node at the end of that turn."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A request, with the digest that its question stands behind."""

    owner: str
    asked: DialectRequest
    key: str
    earlier: tuple[Exchange, ...] = field(default=())

    @property
    def project(self) -> Project | None:
        """The project of its name."""
        name = self.asked.name
        return None if name is None else Project(self.owner, name.text)

    def placed(
        self,
        project: Project | None,
        state: SessionState,
        *,
        behind: ConversationNode | None = None,
        goes_on: bool = False,
    ) -> Placement:
        """There, None is in a project that nobody has named."""
        asked = self.asked
        question = HistoryMessage("user", asked.question, asked.attachments)
        return Placement(
            project or Project.unnamed(self.owner, new_id()),
            state,
            Continuation(
                with_history(self.key, (question,)),
                goes_on=goes_on,
                behind=behind,
                earlier=self.earlier,
                tool=asked.forced_tool.name if asked.forced_tool is not None else "",
            ),
        )


class Placements:
    """Finds the sessions of requests: of their owner alone."""

    def __init__(self, store: Nodes) -> None:
        self._store = store

    def place(self, owner: str, asked: DialectRequest) -> Placement:
        """Where the owner's request is asked.

        Raises `PreviousResponseNotFound` for a node that the client has named and nobody knows,
        unless it says what was said before; and `StoreUnavailable`.
        """
        named = None if asked.node is None else self._store.node_of_turn(owner, asked.node)
        if named is not None:
            # What it says of the history stands in the session.
            found = _Question(owner, asked, named.key, told(asked.history))
            return self._behind(found, named)
        if asked.node is not None and not asked.history:
            sentence = "the response to go on from is unknown here, or was not used for too long"
            raise PreviousResponseNotFound(sentence, field="previous_response_id")
        name = None if asked.name is None else asked.name.text
        key = beginning(asked.scope, name)
        if not asked.history:
            return self._first(_Question(owner, asked, key))
        key = with_history(key, asked.history)
        found = _Question(owner, asked, key, told(asked.history))
        node = self._store.node(owner, key)
        return found.placed(found.project, "rebuilt") if node is None else self._behind(found, node)

    def _first(self, found: _Question) -> Placement:
        """Of a request without a history."""
        name, project = found.asked.name, found.project
        if name is None or project is None:
            return found.placed(None, "new")
        has_session = self._store.session(project) is not None
        match name.source:
            case NameSource.PROJECT:
                return found.placed(project, "continued" if has_session else "new", goes_on=True)
            case NameSource.CHAT:
                return found.placed(project, "new")
        # The first message was edited, or it is a task of the front end (a title): beside the chat.
        return found.placed(None if has_session else project, "new")

    def _behind(self, found: _Question, node: ConversationNode) -> Placement:
        """Of a request that goes on behind a node."""
        project = found.project
        is_its = project is None or node.project.is_unnamed or node.project == project
        session = self._store.session(node.project) if is_its else None
        if session is not None and is_head(session, node):
            return found.placed(node.project, "continued", behind=node)
        return found.placed(project, "forked", behind=node)
