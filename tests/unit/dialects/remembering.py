"""A server whose CLI is a few lines: it keeps sessions where the real one does, and says what it is
told to.  What the model is sent of a conversation is what such a session holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from cowork.claude.process.configuration import Configuration
from cowork.claude.process.control_requests import ControlRequests
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.failures import SessionMissing
from cowork.claude.stream_json.result import Result
from cowork.claude.transcript import Transcripts
from cowork.dialects.placement import Placement, Placements
from cowork.dialects.request import DialectRequest
from cowork.errors import ClaudeFailed
from cowork.events import Token
from cowork.model import Project
from cowork.runtime.ids import new_id
from cowork.stores.memory.store import MemoryStore
from cowork.stores.protocol import Store
from cowork.turns.question import Question
from cowork.turns.turn import Turn
from tests.transcripts import rows_of, said_in
from tests.unit.turns.broken_parts import Process, Processes, Server, ended

READ_LIMIT = 2**24


class RememberingCli:
    """Its sessions, and what it says next; with `fails` it dies when it has read the question."""

    def __init__(self, transcripts: Transcripts) -> None:
        self.says = "yes"
        self.fails = False
        self.transcripts = transcripts

    def has(self, cwd: str, session_id: str) -> bool:
        return self.transcripts.size(cwd, session_id) is not None

    def add(self, cwd: str, session_id: str, role: str, content: Any, uuid: str) -> None:
        rows = rows_of(self._data(cwd, session_id))
        message = {"role": role, "content": content, "id": f"msg-{uuid}"}
        row = {"type": role, "uuid": uuid, "message": message, "sessionId": session_id}
        row["parentUuid"] = rows[-1]["uuid"] if rows else None
        if role == "user":
            row["promptSource"] = "sdk"
        written = [json.dumps(each, separators=(",", ":")) for each in (*rows, row)]
        self.transcripts.write(cwd, session_id, "\n".join([*written, ""]).encode())

    def said(self, cwd: str, session_id: str) -> list[str]:
        """All that the model has been sent of a session and has answered, in its order."""
        return said_in(self._data(cwd, session_id))

    def _data(self, cwd: str, session_id: str) -> bytes:
        if not self.has(cwd, session_id):
            return b""
        return self.transcripts.read(cwd, session_id, 0, READ_LIMIT)[1]


class RememberingProcess(Process):
    """A process of one session."""

    configuration = Configuration(ControlRequests(cast("Any", None)))

    def __init__(self, cli: RememberingCli, cwd: str, session_id: str) -> None:
        super().__init__(silent=False, deaf=False)
        self.cli = cli
        self.cwd = cwd
        self.session_id = session_id

    def ask(
        self, prompt: str, on_events: Callable[[list[Any]], None], *, uuid: str = "", **_how: Any
    ) -> PendingAnswer:
        reply = PendingAnswer(self, AnswerParser(new_id()), on_events)
        cli, place = self.cli, (self.cwd, self.session_id)
        cli.add(*place, "user", prompt, uuid)
        on_events([Token(cli.says)])
        if cli.fails:
            reply.finish(Result(cli.says, ClaudeFailed("the CLI was told to die")))
            return reply
        cli.add(*place, "assistant", [{"type": "text", "text": cli.says}], new_id())
        reply.finish(Result(cli.says))
        return reply


class RememberingPool(Processes):
    """Starts a process for each turn."""

    def __init__(self, cli: RememberingCli) -> None:
        super().__init__(None)
        self._cli = cli

    def lease(
        self,
        _project: Project,
        cwd: str,
        *,
        session_id: str | None = None,
        before_start: Callable[[], None],
        **_wanted: Any,
    ) -> RememberingProcess:
        before_start()
        if session_id is not None and not self._cli.has(cwd, session_id):
            raise SessionMissing("no conversation found")
        return RememberingProcess(self._cli, cwd, session_id or new_id())

    def give_back(self, process: Any, _turns: int | None = None) -> None:
        """It keeps none."""

    def discard(self, process: Any) -> None:
        """It keeps none."""

    def is_rid_of(self, _project: Project) -> bool:
        return True


@dataclass(slots=True)
class RememberingServer(Server):
    """Places requests of other APIs' clients, and answers them."""

    cli: RememberingCli = field(init=False)
    placements: Placements = field(init=False)

    def open_store(self) -> Store:
        store = MemoryStore()
        self.placements = Placements(store)
        return store

    def make_pool(self) -> Processes:
        self.cli = RememberingCli(Transcripts(self.folder))
        return RememberingPool(self.cli)

    def place(self, owner: str, asked: DialectRequest) -> Placement:
        return self.placements.place(owner, asked)

    def begin(self, asked: DialectRequest, placement: Placement) -> Turn:
        """The turn of a request that was placed."""
        question = Question(asked.question, continuation=placement.continuation)
        return self.service.ask(placement.project, question)[0]

    def answer(self, asked: DialectRequest, owner: str = "me", says: str = "yes") -> Turn:
        """The turn of a request, which has ended."""
        self.cli.says = says
        return ended(self.begin(asked, self.place(owner, asked)))

    def said(self, turn: Turn) -> list[str]:
        """All that was said in the turn's session, as the model has it."""
        assert turn.session_id is not None
        return self.cli.said(str(self.folder), turn.session_id)
