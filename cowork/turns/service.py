"""What callers can do: ask a project, interrupt, delete a session, and at the end stop everything.

`queues.py` decides when a turn runs, `runner.py` runs it.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack

from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.pool.pool import Pool
from cowork.errors import CoworkError, InvalidValue, ShuttingDown
from cowork.log import logger
from cowork.model import Project, TurnKey
from cowork.runtime.quota import Quota
from cowork.stores.protocol import Store
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.turns.adoption import Adoption
from cowork.turns.approvals.approvals import Approvals
from cowork.turns.interrupts import Interrupts
from cowork.turns.outcome import TurnState, interrupted
from cowork.turns.policy import TurnPolicy
from cowork.turns.project_states import ProjectStates
from cowork.turns.question import Question
from cowork.turns.question_checks import QuestionChecks
from cowork.turns.queues import OnBusy, ProjectQueues
from cowork.turns.recorder import DuplicateKey, TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.remote.publisher import LogPublisher
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.removals import Removals
from cowork.turns.replays import Replays
from cowork.turns.running.runner import Runner
from cowork.turns.session_change import SessionChange
from cowork.turns.session_deletion import SessionDeletion
from cowork.turns.steering import SteeringService
from cowork.turns.stopping import stop_and_wait
from cowork.turns.turn import Turn

log = logger(__name__)

# How long a question waits for the end of its project's turn in a worker that shuts down, to be
# another worker's then; seconds.
HAND_ON_TIMEOUT_S = 2.0
HAND_ON_INTERVAL_S = 0.05


class TurnService:
    """Asks questions of projects; see `ask`."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        *,
        recorder: TurnRecorder,
        registry: TurnRegistry,
        runner: Runner,
        policy: TurnPolicy,
        quota: Quota,
        removals: Removals,
        approvals: Approvals,
        remote: RemoteTurns | None = None,
        publisher: LogPublisher | None = None,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._store = store
        self._pool = pool
        self._recorder = recorder
        self._policy = policy
        self._queues = ProjectQueues(
            limit=policy.queue_limit, run=runner.run, on_cancelled=runner.finish_cancelled
        )
        self.approvals = approvals
        pool.on_shortage(approvals.release_one)
        if remote is not None:
            approvals.notify = remote.tell_answered
        self._runner = runner
        runner.on_given_up = self._end_waiting
        self._quota = quota
        self._remote = remote
        self._publisher = publisher
        self.registry = registry
        states = ProjectStates(self._queues, pool, holder=recorder.holder, remote=remote)
        self.describe, self.describe_here = states.describe, states.describe_here
        self.replays = Replays(registry, metrics)
        self.interrupts = Interrupts(
            store, self._queues, holder=recorder.holder, registry=registry, remote=remote
        )
        self.adoption = Adoption(
            store,
            self._queues,
            recorder=recorder,
            registry=registry,
            remote=remote,
            publisher=publisher,
        )
        self.steering = SteeringService(
            self._queues,
            recorder=recorder,
            registry=registry,
            policy=policy,
            remote=remote,
            publisher=publisher,
        )
        self.checks = QuestionChecks(pool, policy, mode=approvals.policy.mode)
        self.deletion = SessionDeletion(
            store,
            pool,
            self._queues,
            recorder=recorder,
            registry=registry,
            removals=removals,
            remote=remote,
            check_ours=self.interrupts.check_ours,
        )
        runner.follow_ups.accept = self.steering.accept_following

    def ask(
        self,
        project: Project,
        question: Question,
        *,
        agent_type: str | None = None,
        on_busy: OnBusy = "queue",
        key: TurnKey | None = None,
    ) -> tuple[Turn, bool]:
        """The question's turn, begun or queued, and whether `key` had made it before.

        Returns at once, except that the first use of any `agent_type` may wait a second for the
        CLI's list of skills, and a durable store takes its time, a second at most.
        Raises `InvalidValue`, `QueueFull`, `ProjectBusy`, `AtCapacity`, `ShuttingDown`,
        `IdempotencyMismatch`, `ClaudeUnavailable`, `StoreUnavailable`, `OutboxFull`, and
        `WorkerUnreachable` for what `interrupt` would have to interrupt in another process.
        """
        question = self.checks.checked(project, question, agent_type)
        return self.replays.counting(lambda: self._ask(project, question, on_busy, key))

    def _ask(
        self, project: Project, question: Question, on_busy: OnBusy, key: TurnKey | None
    ) -> tuple[Turn, bool]:
        if self._remote is None:
            return self.ask_here(project, question, on_busy=on_busy, key=key)
        return self._remote.ask(project, question, on_busy, key) or self._ask_here_or_elsewhere(
            project, question, on_busy, key
        )

    def change_session(
        self,
        project: Project,
        change: SessionChange,
        *,
        on_busy: OnBusy = "queue",
        key: TurnKey | None = None,
    ) -> tuple[Turn, bool]:
        """The turn that forks or rewinds the project's session, begun or queued; as `ask`.

        It ends as soon as nobody reads it any more, unless it is past the point of no return.
        """
        if change.files != "keep" and not self._policy.checkpoints:
            sentence = "this server keeps no checkpoints of files; see COWORK_CHECKPOINTS"
            raise InvalidValue(sentence, field="files")
        return self.ask(project, Question("", change=change), on_busy=on_busy, key=key)

    def _ask_here_or_elsewhere(
        self, project: Project, question: Question, on_busy: OnBusy, key: TurnKey | None
    ) -> tuple[Turn, bool]:
        """Ask in this worker, or in another where this one has begun to shut down."""
        assert self._remote is not None  # noqa: S101 - the caller has looked
        deadline = time.monotonic() + HAND_ON_TIMEOUT_S
        while True:
            try:
                return self.ask_here(project, question, on_busy=on_busy, key=key)
            except ShuttingDown:
                found = self._remote.ask(project, question, on_busy, key)
                if found is not None:
                    return found
                # It is ours for as long as a turn of it runs here.
                if time.monotonic() >= deadline:
                    raise
            time.sleep(HAND_ON_INTERVAL_S)

    def ask_here(
        self,
        project: Project,
        question: Question,
        *,
        on_busy: OnBusy = "queue",
        key: TurnKey | None = None,
        turn_id: str = "",
    ) -> tuple[Turn, bool]:
        """As `ask`, in this worker, of a question that was checked; `turn_id` is a new turn's."""
        try:
            return self._accept(project, question, on_busy, key, turn_id)
        except DuplicateKey:  # another process was quicker: its turn is found in the store
            return self._accept(project, question, on_busy, key, turn_id)

    def _accept(
        self,
        project: Project,
        question: Question,
        on_busy: OnBusy,
        key: TurnKey | None,
        turn_id: str,
    ) -> tuple[Turn, bool]:
        """Reserve the key, quota and a place in the queue, write the turn to the store, start it.

        A step that fails undoes those before it; whoever found the turn by its key meanwhile sees
        it end with the same error.
        """
        grace = self._policy.disconnect_grace if question.change is None else 0.0
        grace = -1.0 if question.is_background else grace
        turn, replayed = self.registry.get_or_create(
            key, lambda: Turn(project, question, grace=grace, turn_id=turn_id)
        )
        if replayed:
            return turn, True
        size = question.size

        def on_end(turn: Turn) -> None:
            self._quota.release(project.owner, size)
            self.registry.on_turn_ended(turn)

        with self.registry.rejecting(turn), ExitStack() as undo:
            self.interrupts.check_free_elsewhere(project, on_busy)
            self._quota.acquire(project.owner, size)
            undo.callback(self._quota.release, project.owner, size)
            place = self._queues.reserve(turn, on_busy)
            undo.callback(self._queues.withdraw, place)
            self._recorder.record_accepted(turn, key)
            turn.on_end(on_end)
            undo.pop_all()
        if self._publisher is not None:
            self._publisher.add(turn)
        self._queues.start(place)
        if on_busy == "interrupt" and place.behind is not None:
            place.behind.stop(interrupted())
        return turn, False

    def warm(self, project: Project, options: LaunchOptions = DEFAULT) -> None:
        """Have the project's process ready for a question with these options; returns when it is.

        Nothing happens where it has one, or answers a question now.  Waits for a process as a
        turn does.  Raises `AtCapacity`, `ClaudeUnavailable`, `ShuttingDown`, `WorkerUnreachable`.
        """
        self._queues.check_accepting()
        if self._remote is None or not self._remote.warm(project, options):
            self.warm_here(project, options)

    def warm_here(self, project: Project, options: LaunchOptions = DEFAULT) -> None:
        """As `warm`, in this worker."""
        self._queues.check_accepting()
        if self._queues.running(project) is not None:
            return
        self.interrupts.check_ours(project)
        session = self._store.session(project)
        workspace = self._policy.workspace
        if session is None:
            workspace.check()
            self._pool.warm(project, workspace.cwd(project), None, options=options)
        elif workspace.still_has(session.cwd):  # else its next question begins another session
            self._pool.warm(project, session.cwd, session.id, session.turns, options)

    def _end_waiting(self, given_up: Turn) -> None:
        """A turn was left to another process: those behind it are not to be asked before it."""
        for turn in self._queues.turns_of(given_up.project):
            if turn is not given_up:
                turn.stop(ShuttingDown("the server is shutting down", retry_after=5))

    def question_text(self, turn: Turn) -> str:
        """What a turn was asked that waits or runs, in whatever worker; empty where nobody tells.

        It is kept nowhere but in the memory of its worker.
        """
        if turn.done is None and not turn.question.text and isinstance(turn, RemoteTurn):
            return "" if self._remote is None else self._remote.question_text(turn)
        return turn.question.text

    def make_room(self, idle_s: float) -> bool:
        """End a process idle for longer: another worker of this machine needs its room."""
        return self._pool.make_room(idle_s)

    def busy(self) -> int:
        """How many turns run or wait."""
        return len(self._queues.all())

    def counts(self) -> Counter[TurnState]:
        """How many turns there are by state, of those that run or wait."""
        return Counter(turn.state for turn in self._queues.all() if turn.done is None)

    def is_needed(self) -> bool:
        """Whether turns run or wait here, or are read here that run elsewhere."""
        reads = self._remote is not None and self._remote.reading.read_count > 0
        return reads or self.busy() > 0

    def stop_accepting(self) -> None:
        """Take no new turns from now on, and let go of those that wait for a person."""
        if self._remote is not None:
            self._remote.deregister()
        self._queues.close()
        self._runner.park_all()

    def stop_all(self, reason: CoworkError) -> None:
        """End every turn, and wait until the last has said so; bounded by one interrupt."""
        stop_and_wait(self._queues.all(), reason)
