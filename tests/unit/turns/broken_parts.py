"""Parts of a server that can be told to break, and a conversation made of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from cowork.claude.file_history import FileHistories
from cowork.claude.process.configuration import Configuration
from cowork.claude.process.control_requests import ControlRequests
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.session_files import SessionFiles
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.result import Result
from cowork.claude.transcript import Transcripts
from cowork.claude.workspace import Workspace
from cowork.errors import ClaudeFailed, CoworkError
from cowork.events import Event, Token
from cowork.history.chat_api import NoChatApi
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.model import Project, TurnKey
from cowork.runtime.quota import Quota
from cowork.stores.encryption import Encryption
from cowork.stores.protocol import Store
from cowork.stores.sqlite.store import SqliteStore
from cowork.turns.approvals.approvals import ApprovalPolicy, Approvals
from cowork.turns.conversations import Conversations
from cowork.turns.finisher import TurnFinisher
from cowork.turns.policy import TurnPolicy
from cowork.turns.question import Question
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.removals import Removals
from cowork.turns.running.attempt import Attempts
from cowork.turns.running.checkpoints import Checkpoints
from cowork.turns.running.forks import Forks
from cowork.turns.running.runner import Runner
from cowork.turns.service import TurnService
from cowork.turns.turn import Turn
from tests.patience import PATIENCE_S

P = Project("me", "p")


class Killed(BaseException):
    """What is thrown into a thread from outside, as gevent's GreenletExit is."""


FAULTS: dict[str, Callable[[], BaseException]] = {
    "ours": lambda: ClaudeFailed("told to break"),
    "plain": lambda: RuntimeError("told to break"),
    "killed": Killed,
}


@dataclass(frozen=True, slots=True)
class Break:
    """At its `number`th call, `method` raises, before or after it has done its work."""

    method: str
    number: int
    fault: str
    after: bool = False

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        return f"{self.method}-{self.number}-{when}-{self.fault}"


class Fragile:
    """A part whose every method works, but for the call that is told to break.

    Several parts may share the `calls` that they count.
    """

    def __init__(
        self, part: Any, told: Break | None = None, calls: Iterator[int] | None = None
    ) -> None:
        self._part = part
        self._told = told
        self._calls = calls or count(1)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._fragile(found) if self._told and name == self._told.method else found

    def _fragile(self, method: Callable[..., Any]) -> Callable[..., Any]:
        told = self._told
        assert told is not None

        def call(*given: Any, **named: Any) -> Any:
            due = next(self._calls) == told.number
            found = method(*given, **named) if told.after or not due else None
            if due:
                fault = FAULTS[told.fault]()
                raise fault
            return found

        return call


class Process:
    """Answers at once, or, `silent`, when it is interrupted or never (`deaf`)."""

    cwd = "/"
    pid = 1
    turns = 0
    has_left_its_mode = False
    configuration = Configuration(ControlRequests(cast("Any", None)))

    def __init__(self, *, silent: bool, deaf: bool) -> None:
        self.session_id = str(uuid4())
        self.started = self.last_activity = time.monotonic()
        self._silent = silent
        self._deaf = deaf

    def ask(
        self, _prompt: str, on_events: Callable[[list[Any]], None], **_how: Any
    ) -> PendingAnswer:
        reply = self._reply = PendingAnswer(self, AnswerParser(str(uuid4())), on_events)
        on_events([Token("hi")])
        reply.answer.tools.used = True
        reply.answer.skills = ("some",)
        if not self._silent:
            reply.finish(Result("hi"))
        return reply

    def answer(self) -> None:
        self._reply.finish(Result("hi"))

    def interrupt(self, reply: PendingAnswer) -> None:
        if not self._deaf:
            reply.finish(Result("hi", interrupted=True))

    def sweep(self) -> None:
        """Nothing is left behind."""


class Processes:
    """A pool that knows which of its processes are leased."""

    kind: type[Process] = Process

    def __init__(self, told: Break | None, **launch_config: bool) -> None:
        self.leased: set[Fragile] = set()
        self._told = told
        self._launch_config = {"silent": False, "deaf": False, **launch_config}
        self._calls = count(1)

    def lease(self, *_given: Any, before_start: Callable[[], None], **_wanted: Any) -> Fragile:
        before_start()
        process = Fragile(self.kind(**self._launch_config), self._told, self._calls)
        self.leased.add(process)
        return process

    def finish_all(self) -> None:
        """Every process that is silent answers now."""
        for process in [*self.leased]:
            process.answer()

    def give_back(self, process: Fragile, _turns: int | None = None) -> None:
        self.leased.remove(process)

    def discard(self, process: Fragile) -> None:
        self.leased.discard(process)

    def saw_skills(self, _cwd: str, _skills: Any) -> None:
        """It remembers nothing."""

    def has_skill(self, _skill: str, _cwd: str) -> bool:
        return True

    def forget(self, _project: Project, _session_id: str | None) -> None:
        """It keeps nothing."""

    def on_shortage(self, _call: Callable[[], None]) -> None:
        """There is always one more."""


class Cli:
    def saw_login(self, *, works: bool) -> None:
        """It remembers nothing."""


class Reader:
    """Reads a turn to its end, in a thread of its own."""

    def __init__(self, turn: Turn) -> None:
        self.events: list[Event] = []
        self._turn = turn
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._turn.ended(len(self.events)) and time.monotonic() < deadline:
            self.events += self._turn.read(len(self.events), deadline)

    def end(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@dataclass(slots=True)
class Server:
    """A conversation and its parts, any of which may break once."""

    folder: Path
    told: Break | None = None
    part: str = ""
    launch_config: dict[str, bool] = field(default_factory=dict)
    timeout: float = PATIENCE_S
    store: Store = field(init=False)
    pool: Processes = field(init=False)
    service: TurnService = field(init=False)
    quota: Quota = field(init=False)

    def __post_init__(self) -> None:
        self.store = self.open_store()
        self.pool = self.make_pool()
        store = self._made("store", self.store)
        relay = Relay(store, NoChatApi(), lambda: None, holder="a")
        outbox = self._made("outbox", Outbox(store, relay))
        recorder = self._made("recorder", TurnRecorder(store, outbox, holder="a", retention=600))
        pool, cli = self._made("pool", self.pool), self._made("cli", Cli())
        policy = TurnPolicy(Workspace(self.folder), timeout=self.timeout)
        registry = TurnRegistry(600.0, store, "a")
        finisher, transcripts = TurnFinisher(recorder), Transcripts(self.folder)
        approvals = Approvals(store, registry, ApprovalPolicy())
        attempts = Attempts(store, pool, cli, finisher, policy, transcripts=transcripts)
        removals = Removals(store, SessionFiles(self.folder / "config", []))
        forks = Forks(
            store,
            transcripts,
            Conversations(store, transcripts),
            histories=FileHistories(self.folder),
            checkpoints=Checkpoints(attempts, pool),
            finisher=finisher,
            removals=removals,
            pool=pool,
            workspace=policy.workspace,
        )
        runner = self._made(
            "runner",
            Runner(
                store,
                attempts,
                recorder,
                finisher,
                policy,
                approvals=approvals,
                forks=forks,
                transcripts=transcripts,
            ),
        )
        self.quota = Quota("turns", max_bytes=2**20, max_count=100)
        self.service = TurnService(
            store,
            pool,
            recorder=recorder,
            registry=registry,
            runner=runner,
            policy=policy,
            quota=self.quota,
            removals=removals,
            approvals=approvals,
        )

    def open_store(self) -> Store:
        return SqliteStore(self.folder / "state.db", Encryption(self.folder / "key"), holder="a")

    def make_pool(self) -> Processes:
        return Processes(self._of("process"), **self.launch_config)

    def _of(self, part: str) -> Break | None:
        return self.told if part == self.part else None

    def _made(self, part: str, real: Any) -> Any:
        return Fragile(real, self._of(part))

    def ask(self, key: str, project: Project = P, **how: Any) -> Turn | None:
        """A turn that was accepted, or None where it was not."""
        digest = TurnKey(project.owner, key, "digest")
        try:
            return self.service.ask(project, Question(key), key=digest, **how)[0]
        except (CoworkError, RuntimeError, Killed):
            return None

    def close(self) -> None:
        self.service.stop_accepting()
        self.store.close()


def ended(turn: Turn) -> Turn:
    """The turn, which has to end in time."""
    assert turn.wait(time.monotonic() + PATIENCE_S) is not None, "the turn did not end"
    return turn


def breaks(*methods: str) -> Iterator[tuple[str, Break]]:
    """The ways in which these methods (`part.method`) break, each with the name of the part."""
    for method in methods:
        part, _, name = method.partition(".")
        for fault in ("ours", "plain"):
            yield part, Break(name, 1, fault)
            yield part, Break(name, 1, fault, after=True)
            yield part, Break(name, 2, fault)
        yield part, Break(name, 1, "killed")
