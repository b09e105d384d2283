"""Says something to a turn that runs, in whatever worker; `running/` hands it to the CLI."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from cowork.errors import CoworkError, ShuttingDown, TurnEnded
from cowork.log import logger
from cowork.model import Project, TurnKey
from cowork.runtime.ids import new_id
from cowork.turns.outcome import unreachable
from cowork.turns.policy import TurnPolicy
from cowork.turns.question import digest_of
from cowork.turns.queues import ProjectQueues
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.remote.publisher import LogPublisher
from cowork.turns.steers import Steer, check_same
from cowork.turns.turn import Turn

log = logger(__name__)

# How long the CLI may take to be at the question, before the reply says that it waits.
GIVE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Steered:
    """Something was said to `turn`: `place` is that of the event that says so in its log.

    `replayed` is whether it was said before, with the same key.
    """

    turn: Turn
    steer_id: str
    place: int
    replayed: bool = False


class SteeringService:
    """For turns of this worker, and through `remote` for those of others; `holder` is our name."""

    def __init__(
        self,
        queues: ProjectQueues,
        *,
        recorder: TurnRecorder,
        registry: TurnRegistry,
        policy: TurnPolicy,
        remote: RemoteTurns | None,
        publisher: LogPublisher | None,
    ) -> None:
        self._queues = queues
        self._recorder = recorder
        self._registry = registry
        self._policy = policy
        self._remote = remote
        self._publisher = publisher

    def steer(self, turn: Turn, text: str, key: TurnKey | None = None) -> Steered:
        """Say it to the turn, which takes it in when the tools that run have ended.

        Returns when the CLI has it, or after `GIVE_TIMEOUT_S`.
        Raises `TurnEnded`, `QueueFull`, `IdempotencyMismatch`, `StoreUnavailable`,
        `WorkerUnreachable`, and `ShuttingDown` where the turn goes on elsewhere.
        """
        steer_id = new_id() if key is None else _id_of(key, turn.id)
        if self._registry.remote.runs_elsewhere(turn):
            if self._remote is None:
                raise unreachable()
            replayed, place = self._remote.steer(turn, steer_id, text)
            return Steered(turn, steer_id, place, replayed)
        return self.steer_here(turn, steer_id, text)

    def steer_here(
        self, turn: Turn, steer_id: str, text: str, key: TurnKey | None = None
    ) -> Steered:
        """As `steer`, of a turn that this worker runs, or that has ended; `key` finds it then."""
        known = self._known(turn, steer_id, text)
        if known is not None:
            return known
        if turn.done is not None:
            raise TurnEnded("the turn has ended")
        if turn.question.change is not None:
            raise TurnEnded("the turn asks nothing")
        if turn.is_given_up:
            sentence = "the server is shutting down; the turn goes on after it"
            raise ShuttingDown(sentence, retry_after=5)
        replayed = not turn.steers.add(steer_id, turn.id, text)
        if key is not None:
            # Who asks again, when the turn has ended, is not to ask anything.
            self._registry.bind_key(key, turn)
        turn.steers.wait_given(steer_id, GIVE_TIMEOUT_S)
        found = turn.steered().get(steer_id)
        return Steered(turn, steer_id, found[0] if found else 0, replayed)

    @staticmethod
    def _known(turn: Turn, steer_id: str, text: str) -> Steered | None:
        found = turn.steered().get(steer_id)
        if found is None:
            return None
        check_same(found[1].text, text)
        return Steered(turn, steer_id, found[0], replayed=True)

    def steer_project(self, project: Project, text: str, key: TurnKey | None) -> Steered | None:
        """Say it to whatever the project is answering; None where that is nothing.

        As `steer`, but that a turn which is about to end counts as nothing.
        """
        known = None if key is None else self._registry.find_by_key(key)
        if known is not None:
            return self._replay(known, key)
        steer_id = new_id() if key is None else _id_of(key, "")
        return self._steer_project(project, steer_id, text, key)

    def _replay(self, turn: Turn, key: TurnKey | None) -> Steered | None:
        """What came with this key, if it was said to a turn; else it began the turn itself."""
        steer_id = "" if key is None else _id_of(key, "")
        found = turn.steered().get(steer_id)
        return None if found is None else Steered(turn, steer_id, found[0], replayed=True)

    def _steer_project(
        self, project: Project, steer_id: str, text: str, key: TurnKey | None
    ) -> Steered | None:
        if self._remote is None:
            return self.steer_project_here(project, steer_id, text, key)
        for worker in self._remote.find(project):
            if worker == self._recorder.holder:
                found = self.steer_project_here(project, steer_id, text, key)
            else:
                found = self._steer_project_of(worker, project, steer_id, text, key)
            if found is not None:
                return found
        return None

    def _steer_project_of(
        self, worker: str, project: Project, steer_id: str, text: str, key: TurnKey | None
    ) -> Steered | None:
        assert self._remote is not None  # noqa: S101 - the caller has looked
        reply = self._remote.steer_project(worker, project, steer_id, text, key)
        if reply is None:
            return None
        turn_id, replayed, place = reply
        return Steered(self._registry.get(project.owner, turn_id), steer_id, place, replayed)

    def steer_project_here(
        self, project: Project, steer_id: str, text: str, key: TurnKey | None
    ) -> Steered | None:
        """As `steer_project`, of what this worker runs."""
        turn = self._queues.running(project)
        if turn is None:
            return None
        try:
            return self.steer_here(turn, steer_id, text, key)
        except (TurnEnded, ShuttingDown):
            return None

    # -- what came too late

    def accept_following(self, before: Turn, told: Sequence[Steer], more: Sequence[Steer]) -> bool:
        """Make a turn of what `before` was told too late, which is told `more` besides.

        False where there can be none: it is lost then, as the turn before says.
        """
        text = "\n".join(each.text for each in told)
        question = replace(
            before.question, text=text, digest=digest_of(text), skill=None, blocks=()
        )
        grace = self._policy.disconnect_grace
        turn = Turn(before.project, question, grace=grace, turn_id=told[-1].id)
        turn.restore(turn.id, turn.created, before.request_id)
        if told[-1].is_given:
            turn.mark_question_in_outbox()
        try:
            self._queues.follow(before, turn)
        except CoworkError as fault:
            log.warning("could not ask what came too late", turn_id=before.id, why=fault.code)
            return False
        try:
            self._recorder.record_accepted(turn)
        except CoworkError as fault:
            self._queues.unfollow(turn)
            log.warning("could not ask what came too late", turn_id=before.id, why=fault.code)
            return False
        self._registry.adopt(turn)
        if self._publisher is not None:
            self._publisher.add(turn)
        for each in more:
            turn.steers.add(each.id, turn.id, each.text)
        return True


def _id_of(key: TurnKey, turn_id: str) -> str:
    """The same for the same key, so that what was said is found again; a UUID4 by its form."""
    named = f"{key.owner}\0{key.key}\0{turn_id}".encode()
    return str(UUID(bytes=hashlib.blake2b(named, digest_size=16).digest(), version=4))
