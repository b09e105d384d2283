"""What is asked of turns and projects that another worker runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.errors import (
    CoworkError,
    ShuttingDown,
    StoreUnavailable,
    TurnNotFound,
    WorkerUnreachable,
)
from cowork.log import logger, request_id, traceparent
from cowork.model import Project, TurnKey
from cowork.runtime.ids import new_id
from cowork.stores.worker_protocol import WorkerStore
from cowork.turns.outcome import TurnState
from cowork.turns.project_state import ProjectState
from cowork.turns.question import Question
from cowork.turns.queues import OnBusy
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.assignments import Assignments
from cowork.turns.remote.channel import Body, Channel
from cowork.turns.remote.reading import RemoteReading
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn

log = logger(__name__)

# How long a worker may take for a command that it has begun; seconds.
INTERRUPT_TIMEOUT_S = 3.0
DELETE_TIMEOUT_S = 6.0
STEER_TIMEOUT_S = 5.0
DESCRIBE_TIMEOUT_S = 3.0
# It waits for a process, as a turn does.
WARM_TIMEOUT_S = 300.0
# A question that was asked under the same key just now is in the store by then.
ACCEPT_TIMEOUT_S = 1.0
_POLL_INTERVAL_S = 0.05
# For so long a project's turn is waited for that ends in a worker which shuts down.
HAND_ON_TIMEOUT_S = 2.0
HAND_ON_INTERVAL_S = 0.05


class RemoteTurns:
    """Asks, interrupts, deletes, warms and reads through other workers; `holder` is our own name.

    Turns of other workers are read by `reading`, which `start` and `close` are for.
    """

    def __init__(
        self,
        others: WorkerStore,
        channel: Channel,
        assignments: Assignments,
        registry: TurnRegistry,
        *,
        holder: str,
    ) -> None:
        self._others = others
        self._channel = channel
        self._assignments = assignments
        self._registry = registry
        self._holder = holder
        self.reading = RemoteReading(channel, assignments, registry, holder=holder)

    def start(self) -> None:
        """Keep telling workers which of their turns are read here."""
        self.reading.start()

    def close(self) -> None:
        """Read nothing of other workers any more."""
        self.reading.close()

    def deregister(self) -> None:
        """Be assigned no more projects."""
        self._assignments.close()
        with suppress(StoreUnavailable):
            self._others.deregister()

    # -- asking

    def ask(
        self, project: Project, question: Question, on_busy: OnBusy, key: TurnKey | None
    ) -> tuple[Turn, bool] | None:
        """The question's turn in the project's worker, and whether `key` had made it before.

        None where the worker is this one.
        """
        deadline = time.monotonic() + HAND_ON_TIMEOUT_S
        while time.monotonic() < deadline:
            worker = self._assignments.assign(project)
            if worker is None:
                return None
            try:
                return self._ask(worker, project, question, on_busy, key)
            except ShuttingDown:
                time.sleep(HAND_ON_INTERVAL_S)  # its projects go to others when their turns end
        raise WorkerUnreachable("the project's worker is shutting down", retry_after=1)

    def _ask(
        self,
        worker: str,
        project: Project,
        question: Question,
        on_busy: OnBusy,
        key: TurnKey | None,
    ) -> tuple[Turn, bool]:
        # Also while the worker that has it cannot be reached.
        known = None if key is None else self._registry.find_by_key(key)
        if known is not None:
            return known, True
        turn_id = new_id()
        body: Body = {
            "turn": turn_id,
            "project": _body_of(project),
            "question": asdict(question),
            "on_busy": on_busy,
            "key": None if key is None else asdict(key),
            "request_id": request_id.get(),
            "traceparent": traceparent.get(),
            "from": self._holder,
        }
        reply = self._channel.ask(worker, body, turn_id)
        if reply is None:
            return self._get_accepted(project.owner, turn_id), False
        if reply["replayed"]:
            return self._get_accepted(project.owner, reply["turn"]), True
        turn = RemoteTurn(project, question.without_texts(), holder=worker, turn_id=turn_id)
        turn.update(
            TurnState(reply["state"]),
            datetime.fromisoformat(reply["started"]) if reply["started"] else None,
            None,
        )
        turn.queue_position = reply["queue_position"]
        kept = self._registry.insert_remote(turn)
        if isinstance(kept, RemoteTurn) and kept.done is None:
            self.reading.follow(kept)
        return kept, False

    def _get_accepted(self, owner: str, turn_id: str) -> Turn:
        deadline = time.monotonic() + ACCEPT_TIMEOUT_S
        while True:
            try:
                return self._registry.get(owner, turn_id)
            except TurnNotFound as fault:
                if time.monotonic() >= deadline:
                    raise StoreUnavailable(
                        "the question of the same key was not accepted", retry_after=1
                    ) from fault
                time.sleep(_POLL_INTERVAL_S)

    # -- commands

    def find(self, project: Project) -> list[str]:
        """The workers that may have turns of the project, us among them."""
        return self._assignments.find(project)

    def is_ours(self, project: Project) -> bool:
        """Whether this worker answers the project's questions."""
        return self._assignments.assign(project) is None

    def tell_answered(self, turn: Turn) -> None:
        """Somebody has answered what a turn of another worker waits for."""
        if isinstance(turn, RemoteTurn) and turn.holder:
            self.reading.tell(turn, "answered", {"turn": turn.id})

    def interrupt(self, turn: Turn) -> None:
        """Interrupt a turn of another worker; it has ended, or its worker could not end it yet."""
        if isinstance(turn, RemoteTurn) and not self._assignments.release_if_dead(turn.holder):
            body = {"owner": turn.project.owner, "turn": turn.id}
            self._channel.call(turn.holder, "interrupt", body, timeout=INTERRUPT_TIMEOUT_S)
        self._registry.remote.refresh(turn)

    def steer(self, turn: Turn, steer_id: str, text: str) -> tuple[bool, int]:
        """Say it to a turn of another worker: whether it was said before, and its place."""
        assert isinstance(turn, RemoteTurn)  # noqa: S101 - the caller has looked
        body = {"owner": turn.project.owner, "turn": turn.id, "id": steer_id, "text": text}
        reply = self._channel.call(turn.holder, "steer", body, timeout=STEER_TIMEOUT_S)
        return reply["replayed"], reply["place"]

    def steer_project(
        self, worker: str, project: Project, steer_id: str, text: str, key: TurnKey | None
    ) -> tuple[str, bool, int] | None:
        """Say it to what the project is answering in that worker; its turn, and as `steer`."""
        body = {
            "project": _body_of(project),
            "id": steer_id,
            "text": text,
            "key": None if key is None else asdict(key),
        }
        reply = self._channel.call(worker, "steer_project", body, timeout=STEER_TIMEOUT_S)
        if reply["turn"] is None:
            return None
        return reply["turn"], reply["replayed"], reply["place"]

    def interrupt_project(self, worker: str, project: Project) -> Turn | None:
        """Interrupt what the project is answering in that worker."""
        reply = self._channel.call(
            worker, "interrupt_project", _body_of(project), timeout=INTERRUPT_TIMEOUT_S
        )
        return None if reply["turn"] is None else self._registry.get(project.owner, reply["turn"])

    def describe(self, worker: str, project: Project) -> ProjectState:
        """What the project is doing in that worker."""
        reply = self._channel.call(
            worker, "describe", _body_of(project), timeout=DESCRIBE_TIMEOUT_S
        )
        process = reply["process"]
        return ProjectState(
            reply["state"],
            reply["queued"],
            None if process is None else tuple(process),
            reply.get("turn_id"),  # a worker of an earlier version does not say it
        )

    def question_text(self, turn: RemoteTurn) -> str:
        """What a turn of another worker was asked; empty where that does not tell."""
        if turn.asked is None and turn.holder:
            body = {"owner": turn.project.owner, "turn": turn.id}
            # Asked once, since whoever polls the turn is not to wait each time for a worker that is
            # lost, or of an earlier version.
            turn.asked = ""
            with suppress(CoworkError):
                reply = self._channel.call(
                    turn.holder, "question", body, timeout=DESCRIBE_TIMEOUT_S
                )
                turn.asked = str(reply["text"])
        return turn.asked or ""

    def delete(self, worker: str, project: Project) -> bool:
        """Have that worker delete the project's session and end its turns."""
        reply = self._channel.call(worker, "delete", _body_of(project), timeout=DELETE_TIMEOUT_S)
        return bool(reply["existed"])

    def forget(self, project: Project, session_ids: Sequence[str]) -> None:
        """Have every other worker forget what was said in the project, in these sessions."""
        body = {"project": _body_of(project), "sessions": list(session_ids)}
        # Nothing is read from a worker that cannot be told, and cannot reach the store.
        with suppress(StoreUnavailable):
            for worker in self._others.workers():
                if worker.holder != self._holder:
                    self._channel.tell(worker.holder, "forget", body)

    def warm(self, project: Project, options: LaunchOptions = DEFAULT) -> bool:
        """Warm the project in its worker; False where that is this one."""
        worker = self._assignments.assign(project)
        if worker is None:
            return False
        body = _body_of(project)
        if options != DEFAULT:  # which a worker of an earlier version does not know
            body["options"] = asdict(options)
        self._channel.call(worker, "warm", body, timeout=WARM_TIMEOUT_S)
        return True


def _body_of(project: Project) -> Body:
    return {"owner": project.owner, "name": project.name}
