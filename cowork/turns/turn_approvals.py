"""The approvals of one turn: between its process, which asks, and the store, which has the answer.

For the thread that runs the turn alone, but for `wake` and `request_park`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson

from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.permissions import PermissionRequest, denied
from cowork.errors import StoreUnavailable, WorkerLost
from cowork.events import ApprovalRequested, ApprovalResolved
from cowork.log import logger
from cowork.model import Approval, Decision, Resolution
from cowork.runtime.condition import PredicateCondition
from cowork.runtime.ids import new_id
from cowork.stores.protocol import Store
from cowork.turns.approval_answers import NOBODY, NOT_ALLOWED
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.process_work import ProcessWork
from cowork.turns.turn import Turn

log = logger(__name__)

# How often the store is asked for an answer that nobody has told us of.
POLL_INTERVAL_S = 1.0
# Of what is asked; 200 may wait.
INPUT_LIMIT_BYTES = 2**20
# How long the CLI may take to write down what it asks about, and how often that is looked at.
WRITTEN_TIMEOUT_S = 2.0
WRITTEN_POLL_S = 0.005
# How long a process that goes on with a turn has to ask again.
RECALL_TIMEOUT_S = 60.0
_TOO_MANY = "Too many questions wait for a person, so this was not allowed."
_TOO_LARGE = "This is too large to be shown to a person, so it was not allowed."
_UNAVAILABLE = "Nobody could be asked, so this was not allowed."


class Parked(Exception):
    """The turn waits for a person, and its process is given up meanwhile."""


class TurnApprovals:
    """What a turn waits for.

    `timeout_s` is until when somebody has to answer; `save` has the store keep the turn as it is,
    what another process could take up, and what this one has done of it; `is_written` says of a
    call whether the CLI has written it down.
    """

    def __init__(
        self,
        turn: Turn,
        store: Store,
        *,
        timeout_s: float,
        save: Callable[[Sequence[str], EarlierWork], None],
        is_written: Callable[[ClaudeProcess, str], bool],
    ) -> None:
        self._turn = turn
        self._store = store
        self._timeout_s = timeout_s
        self._save_turn = save
        self._is_written = is_written
        self._condition = PredicateCondition()
        self._news = self._park = self._is_unsaved = False
        self._reply: PendingAnswer | None = None
        self._process: ClaudeProcess | None = None
        self._process_work = ProcessWork()
        # What the process had done when it last came to wait: it may be lost from then on.
        self._work = EarlierWork()
        # By the CLI's name of the request, in their order.
        self._pending: dict[str, Approval] = {}
        # Those that no other process could take up, as far as that is known.
        self._unwritten: set[str] = set()
        # Those that are not in the store yet, where people find them.
        self._untold: set[str] = set()
        # What a former process has asked, until this one asks it again.
        self._recalled: Approval | None = None
        # What is to be done with a process that asks again, before it is answered; may raise.
        self.on_recall: Callable[[], None] = lambda: None
        self._recall_until = float("inf")
        self._next_poll = 0.0

    # -- from any thread

    def wake(self) -> None:
        """Somebody has answered: look at the store."""
        with self._condition:
            self._news = True
            self._condition.notify()
            reply = self._reply
        if reply is not None:
            reply.wake()

    def request_save(self) -> None:
        """The turn has changed: have the store keep it as it is, where it waits."""
        self._is_unsaved = True
        self.wake()

    def request_park(self) -> None:
        """Give the process up as soon as the turn only waits; nothing happens where it cannot."""
        with self._condition:
            self._park = True
        self.wake()

    # -- while a process runs

    def begin_process(self, process: ClaudeProcess) -> None:
        """A process is about to be asked."""
        if self._store.shared:
            self._process_work.begin(process)

    def attach(self, process: ClaudeProcess, reply: PendingAnswer) -> None:
        """The process that asks from now on."""
        self._process, self._reply = process, reply
        if self._recalled is not None:
            self._recall_until = time.monotonic() + RECALL_TIMEOUT_S

    def step(self) -> float:
        """Do what is due; when to look again (monotonic).

        Raises `Parked` where the process is to be given up, and `WorkerLost` where one that goes on
        with the turn does not ask again.
        """
        assert self._reply is not None  # noqa: S101 - there is a process
        changed = False
        for each in self._reply.pop_requests():
            changed |= self._cancel(each) if isinstance(each, str) else self._take(each)
        if self._recalled is not None and time.monotonic() >= self._recall_until:
            raise WorkerLost("the Claude CLI did not ask again for what had been waited for")
        if self._pending:
            changed = self._look() or changed
        if changed:
            self._save_if_possible()
        if self._park and self._parkable() is not None:
            self._see_work()
            raise Parked
        return self._next_look()

    def _next_look(self) -> float:
        expires = [_until(each) for each in self._pending.values()]
        poll = self._next_poll if self._pending else float("inf")
        recall = self._recall_until if self._recalled is not None else float("inf")
        return min([poll, recall, *expires])

    def _take(self, request: PermissionRequest) -> bool:
        """The CLI asks; whether the turn waits for another approval now."""
        known = self._recalled
        if known is not None and known.tool_use_id == request.tool_use_id:
            self._recalled, self._recall_until = None, float("inf")
            # One that was answered meanwhile is kept without its input.
            self._pending[request.request_id] = replace(known, input=request.input)
            if self._process is not None:
                self.begin_process(self._process)
            self.on_recall()
            with self._condition:
                self._news = True
            return True
        if not _can_be_shown(request):
            log.warning("approval denied", turn_id=self._turn.id, why="too_large")
            self._answer(request.request_id, denied(_TOO_LARGE))
            return False
        approval = self._new(request)
        if not self._await_written(request):
            self._unwritten.add(approval.id)
        self._see_work()
        # In this order: nobody is told of what could not be taken up again.
        self._pending[request.request_id] = approval
        self._untold.add(approval.id)
        self._save_if_possible()
        refused = self._refused(approval)
        self._untold.discard(approval.id)
        if refused is not None:
            del self._pending[request.request_id]
            self._answer(request.request_id, denied(refused))
            return True
        self._turn.append([_event(approval)])
        return True

    def _see_work(self) -> None:
        """Find out what the process has done so far."""
        if self._store.shared and self._reply is not None:
            self._work = self._process_work.so_far(self._reply)

    def _refused(self, approval: Approval) -> str | None:
        """Why nobody can be asked, if so; else it is in the store from now on."""
        try:
            is_kept = self._store.put_approval(approval)
        except StoreUnavailable:
            return _UNAVAILABLE
        if is_kept:
            return None
        log.warning("approval denied", turn_id=self._turn.id, why="too_many")
        return _TOO_MANY

    def _await_written(self, request: PermissionRequest) -> bool:
        """Whether another process could ask again: before anybody is told that this waits.

        The CLI writes down a call in the moment in which it asks.
        """
        process = self._process
        if not self._store.shared or request.agent_id is not None or process is None:
            return False
        deadline = time.monotonic() + WRITTEN_TIMEOUT_S
        while not self._is_written(process, request.tool_use_id):
            if time.monotonic() >= deadline:
                log.warning("CLI did not write a call down", tool_use_id=request.tool_use_id)
                return False
            time.sleep(WRITTEN_POLL_S)
        return True

    def _new(self, request: PermissionRequest) -> Approval:
        now = datetime.now(UTC)
        return Approval(
            id=new_id(),
            project=self._turn.project,
            turn_id=self._turn.id,
            kind=request.kind,
            tool=request.tool,
            tool_use_id=request.tool_use_id,
            input=request.input,
            input_digest=digest_of(request.input),
            created=now,
            expires=now + timedelta(seconds=self._timeout_s),
            reason=request.reason,
            suggestions=request.suggestions,
            subagent_id=request.agent_id,
        )

    def _cancel(self, request_id: str) -> bool:
        """The CLI does not wait for the answer any more: an interrupt, mostly."""
        approval = self._pending.pop(request_id, None)
        if approval is None:
            return False
        self._close(approval, "cancelled")
        return True

    def _look(self) -> bool:
        """See what was answered, and what nobody answers any more; whether any was."""
        with self._condition:
            news, self._news = self._news, False
        now = time.monotonic()
        if not news and now < self._next_poll and now < min(map(_until, self._pending.values())):
            return False
        self._next_poll = now + POLL_INTERVAL_S
        resolved = [
            (request_id, found)
            for request_id, approval in self._pending.items()
            if (found := self._resolved(approval)) is not None
        ]
        for request_id, approval in resolved:
            asked = self._pending.pop(request_id)
            self._apply(request_id, replace(approval, input=asked.input))
        return bool(resolved)

    def _resolved(self, approval: Approval) -> Approval | None:
        """The approval, if it waits no more."""
        with suppress(StoreUnavailable):
            if time.monotonic() >= _until(approval):
                self._resolve(approval, "expired")
            found = self._store.approval(approval.id)
            if found is None:  # the store has lost it: nobody can answer
                return replace(approval, resolution=_resolution("expired"))
            return found if found.resolution is not None else None
        if time.monotonic() >= _until(approval):
            return replace(approval, resolution=_resolution("expired"))
        return None

    def _resolve(self, approval: Approval, decision: Decision) -> None:
        self._store.resolve_approval(approval.id, _resolution(decision), denied(NOBODY))

    def _apply(self, request_id: str, approval: Approval) -> None:
        """Tell the CLI what was decided, once: what it was told is not told again after a crash."""
        assert approval.resolution is not None  # noqa: S101 - the caller has looked
        decision = approval.resolution.decision
        answer = dict(approval.answer or denied(NOBODY if decision == "expired" else NOT_ALLOWED))
        try:
            self._save()
            self._store.apply_approval(approval.id, datetime.now(UTC))
        except StoreUnavailable:
            # What would not be known to have run does not run.
            answer = denied(_UNAVAILABLE)
        self._turn.append([ApprovalResolved(approval.id, decision, approval.resolution.by)])
        log.info(
            "approval resolved",
            approval_id=approval.id,
            turn_id=self._turn.id,
            decision=decision,
            by=approval.resolution.by,
            source=approval.resolution.address,
            tool=approval.tool,
            input_digest=approval.input_digest,
        )
        self._process_work.add_denial(approval, answer)
        self._answer(request_id, answer)

    def _answer(self, request_id: str, answer: dict[str, Any]) -> None:
        assert self._process is not None  # noqa: S101 - it has asked
        self._process.answer_request(request_id, answer)

    def save_changes(self) -> None:
        """Do what `request_save` has asked for."""
        if self._is_unsaved and self._waiting():
            self._save_if_possible()

    def _save_if_possible(self) -> None:
        self._is_unsaved = False
        # Else it does not outlive this process, which is told when it has not.
        with suppress(StoreUnavailable):
            self._save()

    def _save(self) -> None:
        """Show and keep what the turn waits for; raises `StoreUnavailable`."""
        ids = tuple(each.id for each in self._waiting())
        self._turn.wait_for(tuple(each for each in ids if each not in self._untold))
        self._save_turn(ids if self._parkable() is not None else (), self._work)

    def _waiting(self) -> list[Approval]:
        recalled = [] if self._recalled is None else [self._recalled]
        return [*recalled, *self._pending.values()]

    def _close(self, approval: Approval, decision: Decision) -> None:
        """It waits no more, without an answer."""
        with suppress(StoreUnavailable):
            self._store.resolve_approval(approval.id, _resolution(decision), denied(NOT_ALLOWED))
        self._turn.append([ApprovalResolved(approval.id, decision)])

    def close(self) -> None:
        """The turn is about to end: nothing of it waits any more."""
        for approval in self._waiting():
            self._close(approval, "cancelled")
        self._pending.clear()
        self._recalled = None
        self._turn.wait_for(())

    # -- while none does

    def _parkable(self) -> Approval | None:
        """What another process can ask again: the first that the main agent waits for."""
        if not self._store.shared:
            return None
        kept = (each for each in self._waiting() if each.subagent_id is None)
        return next((each for each in kept if each.id not in self._unwritten), None)

    @property
    def has_parkable(self) -> bool:
        """Whether the turn can outlive its process as it is."""
        return self._parkable() is not None

    def park(self) -> None:
        """The process is given up; of several approvals the first is kept.

        The CLI takes one tool up again; the model is to call the others anew.
        """
        kept = self._parkable()
        for approval in self._waiting():
            if approval is not kept:
                self._close(approval, "cancelled")
        self._pending.clear()
        self._reply = self._process = None
        self._turn.add_earlier_work(self._work)
        self._work, self._process_work = EarlierWork(), ProcessWork()
        self._recalled, self._recall_until, self._park = kept, float("inf"), False
        self._save_if_possible()

    def recall(self, approval: Approval) -> None:
        """Another process has parked the turn, which waits for this."""
        self._recalled = approval
        self._turn.wait_for((approval.id,))
        if approval.resolution is None and not self._is_told(approval):
            self._turn.append([_event(approval)])

    def _is_told(self, approval: Approval) -> bool:
        """Whether the turn's log says that it waits for this."""
        after = 0
        while batch := self._turn.read(after, 0.0):
            after += len(batch)
            for event in batch.runs():
                if isinstance(event, ApprovalRequested) and event.id == approval.id:
                    return True
        return False

    def await_decision(self, is_over: Callable[[], bool]) -> Approval | None:
        """What the parked turn waits for, once somebody has answered; None when `is_over()`."""
        approval = self._recalled
        assert approval is not None  # noqa: S101 - it is parked
        while not is_over():
            self.save_changes()
            found = self._resolved(approval)
            if found is not None:
                return found
            with self._condition:
                until = min(time.monotonic() + POLL_INTERVAL_S, _until(approval))
                self._condition.wait_for(lambda: self._news or is_over(), until)
                self._news = False
        return None


def _can_be_shown(request: PermissionRequest) -> bool:
    """Whether what is asked fits into a reply and a store."""
    try:
        said = orjson.dumps([request.input, list(request.suggestions)])
    except orjson.JSONEncodeError:  # too deep
        return False
    return len(said) <= INPUT_LIMIT_BYTES


def digest_of(given: Any) -> str:
    """What identifies the input of a tool, 32 characters."""
    return blake2b(orjson.dumps(given), digest_size=16).hexdigest()


def _event(approval: Approval) -> ApprovalRequested:
    return ApprovalRequested(
        id=approval.id,
        kind=approval.kind,
        tool=approval.tool,
        input=approval.input,
        expires_at=approval.expires.isoformat(),
        reason=approval.reason,
        suggestions=approval.suggestions,
        subagent_id=approval.subagent_id,
    )


def _resolution(decision: Decision) -> Resolution:
    return Resolution(decision, datetime.now(UTC))


def _until(approval: Approval) -> float:
    """When it expires, monotonic."""
    left = (approval.expires - datetime.now(UTC)).total_seconds()
    return time.monotonic() + left
