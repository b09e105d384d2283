"""What callers can do: ask a project, interrupt, delete a session, and at the end stop everything.

`queues.py` decides when a turn runs, `runner.py` runs it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from cowork.claude import command, turn_options
from cowork.claude.launch_options import LaunchOptions, permission_allows
from cowork.claude.offers import DEFAULT_NAME
from cowork.claude.pool.pool import Pool
from cowork.claude.process.process import INTERRUPT_STEP_S
from cowork.claude.turn_options import MODEL_ID, TurnOptions
from cowork.errors import (
    CoworkError,
    InvalidValue,
    ProjectBusy,
    ShuttingDown,
    StoreUnavailable,
    TurnInterrupted,
)
from cowork.log import logger
from cowork.model import Project, TurnKey, TurnRecord
from cowork.runtime.quota import Quota
from cowork.stores.protocol import Store
from cowork.turns.approvals import Approvals
from cowork.turns.outcome import State, interrupted, unreachable
from cowork.turns.policy import TurnPolicy
from cowork.turns.project_state import ProjectState
from cowork.turns.publisher import LogPublisher
from cowork.turns.question import Question
from cowork.turns.queues import OnBusy, ProjectQueues
from cowork.turns.recorder import DuplicateKey, TurnRecorder
from cowork.turns.records import adopted_turn
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote import RemoteTurns
from cowork.turns.removals import Removals
from cowork.turns.runner import Runner
from cowork.turns.session_change import SessionChange
from cowork.turns.steering_service import SteeringService
from cowork.turns.turn import Turn

log = logger(__name__)

STOP_TIMEOUT_S = INTERRUPT_STEP_S + 0.5


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
    ) -> None:
        self._store = store
        self._pool = pool
        self._recorder = recorder
        self._holder = recorder.holder
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
        self._removals = removals
        self._remote = remote
        self._publisher = publisher
        self.registry = registry
        self.steering = SteeringService(
            self._queues,
            recorder=recorder,
            registry=registry,
            policy=policy,
            remote=remote,
            publisher=publisher,
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
        question = self._checked(project, question, agent_type)
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

    def stop_waiting(self, turn: Turn) -> None:
        """Take a turn that still waits for its project out of the queue, in whatever worker.

        Raises `WorkerUnreachable` and `StoreUnavailable`.
        """
        self.registry.runs_elsewhere(turn)  # which has it be as it is now
        if turn.state is State.QUEUED:
            self.interrupt(turn)

    def _ask_here_or_elsewhere(
        self, project: Project, question: Question, on_busy: OnBusy, key: TurnKey | None
    ) -> tuple[Turn, bool]:
        """Ask in this worker, or in another where this one has begun to shut down."""
        assert self._remote is not None  # noqa: S101 - the caller has looked
        try:
            return self.ask_here(project, question, on_busy=on_busy, key=key)
        except ShuttingDown:
            found = self._remote.ask(project, question, on_busy, key)
            if found is None:
                raise
            return found

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
            self._check_free_elsewhere(project, on_busy)
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

    def approves(self, wanted: bool | None) -> bool:
        """Whether a question's turn asks a person, of which the operator has the first word."""
        mode = self.approvals.policy.mode
        if wanted and mode == "off":
            raise InvalidValue("this server asks nobody; see COWORK_APPROVALS", field="approvals")
        if wanted is False and mode == "always":
            raise InvalidValue("this server always asks", field="approvals")
        return mode == "always" or bool(wanted)

    def _check_turn_options(self, wanted: TurnOptions) -> None:
        """Raise where the CLI has no such model, effort or server."""
        offers = self._pool.offers
        unknown = [name for name in wanted.mcp_servers if name not in offers.mcp_servers]
        if unknown:
            raise InvalidValue(f"no MCP server is named {unknown[0]!r}", field="mcp_servers")
        if wanted.model is None and wanted.effort is None:
            return
        self._policy.workspace.check()
        offer = offers.get()
        model = offer.find(wanted.model or DEFAULT_NAME)
        is_id = wanted.model is not None and MODEL_ID.fullmatch(wanted.model) is not None
        if wanted.model is not None and model is None and not is_id:
            raise InvalidValue("expected an `id` of GET /models, or a full id", field="model")
        if wanted.effort is not None and model is not None and wanted.effort not in model.efforts:
            efforts = ", ".join(model.efforts) or "none"
            raise InvalidValue(f"this model's efforts are: {efforts}", field="effort")

    def _checked(self, project: Project, question: Question, agent_type: str | None) -> Question:
        """The question with what the operator lets it have, and with its skill."""
        if question.turn_options != turn_options.DEFAULT:
            self._check_turn_options(question.turn_options)
        options, skill = self._permitted(question.options), self._skill(project, agent_type)
        if (options, skill) == (question.options, question.skill):
            return question
        return replace(question, options=options, skill=skill)

    def interrupt(self, turn: Turn) -> None:
        """Interrupt a turn and wait, at most a second, for its end; one that ended is no error.

        Raises `WorkerUnreachable` for one that another process runs, and `StoreUnavailable`.
        """
        if self.registry.runs_elsewhere(turn):
            if self._remote is None:
                raise unreachable()
            self._remote.interrupt(turn)
            return
        turn.stop(interrupted())
        turn.wait(time.monotonic() + STOP_TIMEOUT_S)

    def interrupt_project(self, project: Project) -> Turn | None:
        """Interrupt what the project is answering now, as `interrupt`; None for nothing."""
        if self._remote is None:
            return self.interrupt_project_here(project)
        for worker in self._remote.find(project):
            if worker == self._holder:
                turn = self.interrupt_project_here(project)
            else:
                turn = self._remote.interrupt_project(worker, project)
            if turn is not None:
                return turn
        return None

    def interrupt_project_here(self, project: Project) -> Turn | None:
        """As `interrupt_project`, of what this worker runs."""
        if self._remote is None:
            self._check_ours(project)
        turn = self._queues.running(project)
        if turn is not None:
            self.interrupt(turn)
        return turn

    def _check_ours(self, project: Project) -> None:
        """Raise `WorkerUnreachable` where another process answers the project's question.

        Nothing that we could do would reach it, so that nothing may be said to have been done.
        """
        if self._store.claimed_elsewhere(project):
            raise unreachable()

    def _check_free_elsewhere(self, project: Project, on_busy: OnBusy) -> None:
        """Apply `on_busy` to a project that another process is answering."""
        if on_busy == "interrupt":
            self._interrupt_elsewhere(project)
        elif on_busy == "reject" and self._store.claimed_elsewhere(project):
            raise ProjectBusy("the project is answering another question")

    def _interrupt_elsewhere(self, project: Project) -> None:
        """Interrupt what a former worker of the project still answers."""
        if self._remote is None or not self._store.claimed_elsewhere(project):
            self._check_ours(project)
            return
        for worker in self._remote.find(project):
            if worker != self._holder:
                self._remote.interrupt_project(worker, project)

    def _permitted(self, options: LaunchOptions) -> LaunchOptions:
        """The options, where the operator lets a request have them."""
        mode, operators = options.permission_mode, self._policy.permission_mode
        if mode is None:
            return options
        if mode == operators:
            return replace(options, permission_mode=None)
        if not permission_allows(mode, operators):
            sentence = f"this server allows no mode that is wider than its own, {operators!r}"
            raise InvalidValue(sentence, field="permission_mode")
        return options

    def _skill(self, project: Project, agent_type: str | None) -> str | None:
        try:
            skill = command.skill_name(agent_type)
        except ValueError as fault:
            raise InvalidValue(str(fault), field="agent_type") from fault
        if skill is None:
            return None
        self._policy.workspace.check()
        if not self._pool.has_skill(skill, self._policy.workspace.cwd(project)):
            raise InvalidValue(f"no skill is named {skill!r}", field="agent_type")
        return skill

    def delete_session(self, project: Project) -> bool:
        """Delete the project's session in whatever workers have turns of it; see below."""
        if self._remote is None:
            return self.delete_session_here(project)
        workers = self._remote.find(project) or [self._holder]
        existed = [
            self.delete_session_here(project)
            if worker == self._holder
            else self._remote.delete(worker, project)
            for worker in workers
        ]
        return any(existed)

    def delete_session_here(self, project: Project) -> bool:
        """Delete the project's session, ending its turns; False when it had none.

        What was said is gone with it: of turns that have ended nothing is kept, of those that
        this ends, that they were interrupted.  What the CLI keeps is removed when its process is
        over, before this returns where that is soon (`REMOVE_TIMEOUT_S`).
        Raises `WorkerUnreachable`, with nothing deleted, where another process runs one.
        """
        if self._remote is None:
            self._check_ours(project)
        if not self._recorder.flush():
            raise StoreUnavailable("store unavailable", retry_after=1)
        before = self._queues.turns_of(project)
        session = self._store.delete_session(project)
        turns = list(dict.fromkeys([*before, *self._queues.turns_of(project)]))
        running = [turn for turn in turns if turn.done is None]
        # A turn that ends just now may have brought its texts to the store after the deletion.
        late = [turn for turn in turns if not turn.keep_end_only()]
        self._stop_and_wait(running, TurnInterrupted("the project's session was deleted"))
        if late:
            self._store.forget_turns(project)
        self.registry.forget_project(project, late)
        self._pool.forget(project, session.id if session is not None else None)
        if self._remote is not None:
            self._remote.forget(project, () if session is None else session.ids)
        if session is not None:
            self._removals.add(session.ids, lambda: self._pool.is_rid_of(project))
        return session is not None or bool(running)

    def forget_here(self, project: Project, session_ids: Sequence[str]) -> None:
        """Keep nothing of sessions that another worker has deleted, nor of what they said."""
        self.registry.forget_project(project)
        if session_ids:
            self._pool.forget(project, session_ids[-1])
            self._removals.add(session_ids, lambda: self._pool.is_rid_of(project))

    def warm(self, project: Project) -> None:
        """Have the project's process ready for its next question; returns when it is.

        Nothing happens where it has one, or answers a question now.  Waits for a process as a
        turn does.  Raises `AtCapacity`, `ClaudeUnavailable`, `ShuttingDown`, `WorkerUnreachable`.
        """
        self._queues.check_accepting()
        if self._remote is None or not self._remote.warm(project):
            self.warm_here(project)

    def warm_here(self, project: Project) -> None:
        """As `warm`, in this worker."""
        self._queues.check_accepting()
        if self._queues.running(project) is not None:
            return
        self._check_ours(project)
        session = self._store.session(project)
        workspace = self._policy.workspace
        if session is None:
            workspace.check()
            self._pool.warm(project, workspace.cwd(project), None)
        elif workspace.still_has(session.cwd):  # else its next question begins another session
            self._pool.warm(project, session.cwd, session.id, session.turns)

    def adopt_parked(self) -> None:
        """Go on with turns that wait for a person, and that nobody runs any more.

        Raises `StoreUnavailable`.
        """
        for record in self._store.parked_turns():
            if self._remote is None or self._remote.is_ours(record.project):
                self._adopt(record)

    def _adopt(self, parked: TurnRecord) -> None:
        found = self._store.adopt_turn(parked.project.owner, parked.id)
        if found is None:
            return
        # One that was given up has all of its log, one whose process was lost may not.
        turn = adopted_turn(*found, is_cut=bool(parked.holder))
        log.info("turn adopted", turn_id=turn.id)
        try:
            place = self._queues.adopt(turn)
        except ShuttingDown:
            self._recorder.record_waiting(turn, turn.waiting.ids, is_given_up=True)
            return
        self.registry.adopt(turn)
        if self._publisher is not None:
            self._publisher.add(turn)
        self._queues.start(place)

    def _end_waiting(self, given_up: Turn) -> None:
        """A turn was left to another process: those behind it are not to be asked before it."""
        for turn in self._queues.turns_of(given_up.project):
            if turn is not given_up:
                turn.stop(ShuttingDown("the server is shutting down", retry_after=5))

    def describe(self, project: Project) -> ProjectState:
        """What the project is doing, in whatever worker; raises `WorkerUnreachable`."""
        if self._remote is None:
            return self.describe_here(project)
        found = [
            self.describe_here(project)
            if worker == self._holder
            else self._remote.describe(worker, project)
            for worker in self._remote.find(project) or [self._holder]
        ]
        return next((each for each in found if each.state != "idle"), found[0])

    def describe_here(self, project: Project) -> ProjectState:
        """As `describe`, of what this worker runs."""
        turns = [turn for turn in self._queues.turns_of(project) if turn.done is None]
        running = [turn for turn in turns if turn.state is not State.QUEUED]
        waits = any(turn.waiting.ids for turn in running)
        shown = self._pool.processes(lambda each: each == project)
        return ProjectState(
            state="waiting" if waits else "running" if running else "idle",
            queued=len(turns) - len(running),
            process=(shown[0].pid, shown[0].state.value, shown[0].memory) if shown else None,
        )

    def make_room(self, idle_s: float) -> bool:
        """End a process idle for longer: another worker of this machine needs its room."""
        return self._pool.make_room(idle_s)

    def busy(self) -> int:
        """How many turns run or wait."""
        return len(self._queues.all())

    def is_needed(self) -> bool:
        """Whether turns run or wait here, or are read here that run elsewhere."""
        reads = self._remote is not None and self._remote.read_count > 0
        return reads or self.busy() > 0

    def stop_accepting(self) -> None:
        """Take no new turns from now on, and let go of those that wait for a person."""
        if self._remote is not None:
            self._remote.deregister()
        self._queues.close()
        self._runner.park_all()

    def stop_all(self, reason: CoworkError) -> None:
        """End every turn, and wait until the last has said so; bounded by one interrupt."""
        self._stop_and_wait(self._queues.all(), reason)

    @staticmethod
    def _stop_and_wait(turns: list[Turn], reason: CoworkError) -> None:
        for turn in turns:
            turn.stop(reason)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for turn in turns:
            turn.wait(deadline)
