"""The approvals of one turn: between its process, which asks, and the store, which has the answer.

For the thread that runs the turn alone, but for `wake` and `request_park`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.permissions import PermissionRequest, denied
from cowork.errors import StoreUnavailable
from cowork.events import ApprovalResolved
from cowork.log import logger
from cowork.model import Approval, Decision, Resolution
from cowork.runtime.condition import PredicateCondition
from cowork.stores.protocol import Store
from cowork.telemetry.catalogue import APPROVAL_WAIT, APPROVALS
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.turns.approvals.answers import NOBODY, NOT_ALLOWED
from cowork.turns.approvals.process_work import ProcessWork
from cowork.turns.approvals.recall import Recall
from cowork.turns.approvals.requests import (
    await_written,
    can_be_shown,
    is_told,
    new_approval,
    requested,
)
from cowork.turns.approvals.stored import (
    UNAVAILABLE,
    StoredApprovals,
    expires_at,
    log_resolution,
)
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.turn import Turn

log = logger(__name__)

# How often the store is asked for an answer that nobody has told us of.
POLL_INTERVAL_S = 1.0
_TOO_LARGE = "This is too large to be shown to a person, so it was not allowed."


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
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._turn = turn
        self._store = store
        self._stored = StoredApprovals(store)
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
        self._recall = Recall()
        # What is to be done with a process that asks again, before it is answered; may raise.
        self.on_recall: Callable[[], None] = lambda: None
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
        self._recall.begin()

    def step(self) -> float:
        """Do what is due; when to look again (monotonic).

        Raises `Parked` where the process is to be given up, and `WorkerLost` where one that goes on
        with the turn does not ask again.
        """
        assert self._reply is not None  # noqa: S101 - there is a process
        changed = False
        for each in self._reply.pop_requests():
            changed |= self._cancel(each) if isinstance(each, str) else self._take(each)
        self._recall.check()
        if self._pending:
            changed = self._look() or changed
        if changed:
            self._save_if_possible()
        if self._park and self._parkable() is not None:
            self._see_work()
            raise Parked
        return self._next_look()

    def _next_look(self) -> float:
        poll = self._next_poll if self._pending else float("inf")
        return min([poll, self._recall.until, *map(expires_at, self._pending.values())])

    def _take(self, request: PermissionRequest) -> bool:
        """The CLI asks; whether the turn waits for another approval now."""
        known = self._recall.take(request.tool_use_id)
        if known is not None:
            # One that was answered meanwhile is kept without its input.
            self._pending[request.request_id] = replace(known, input=request.input)
            if self._process is not None:
                self.begin_process(self._process)
            self.on_recall()
            with self._condition:
                self._news = True
            return True
        if not can_be_shown(request):
            log.warning("approval denied", turn_id=self._turn.id, why="too_large")
            self._answer(request.request_id, denied(_TOO_LARGE))
            return False
        approval = new_approval(self._turn, request, self._timeout_s)
        if not self._can_be_recalled(request):
            self._unwritten.add(approval.id)
        self._see_work()
        # In this order: nobody is told of what could not be taken up again.
        self._pending[request.request_id] = approval
        self._untold.add(approval.id)
        self._save_if_possible()
        refused = self._stored.put(approval)
        self._untold.discard(approval.id)
        if refused is not None:
            del self._pending[request.request_id]
            self._answer(request.request_id, denied(refused))
            return True
        self._turn.append([requested(approval)])
        return True

    def _can_be_recalled(self, request: PermissionRequest) -> bool:
        """Whether another process could ask again: before anybody is told that this waits."""
        if not self._store.shared or request.agent_id is not None or self._process is None:
            return False
        return await_written(self._is_written, self._process, request.tool_use_id)

    def _see_work(self) -> None:
        """Find out what the process has done so far."""
        if self._store.shared and self._reply is not None:
            self._work = self._process_work.so_far(self._reply)

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
        if not news and now < min([self._next_poll, *map(expires_at, self._pending.values())]):
            return False
        self._next_poll = now + POLL_INTERVAL_S
        resolved = [
            (request_id, found)
            for request_id, approval in self._pending.items()
            if (found := self._stored.resolved(approval)) is not None
        ]
        for request_id, approval in resolved:
            asked = self._pending.pop(request_id)
            self._apply(request_id, replace(approval, input=asked.input))
        return bool(resolved)

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
            answer = denied(UNAVAILABLE)
        self._turn.append([ApprovalResolved(approval.id, decision, approval.resolution.by)])
        log_resolution(approval, approval.resolution)
        self._count(approval, approval.resolution)
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
        recalled = self._recall.approval
        return [*([] if recalled is None else [recalled]), *self._pending.values()]

    def _close(self, approval: Approval, decision: Decision) -> None:
        """It waits no more, without an answer."""
        self._stored.close(approval, decision)
        self._turn.append([ApprovalResolved(approval.id, decision)])
        self._count(approval, Resolution(decision, datetime.now(UTC)))

    def _count(self, approval: Approval, resolution: Resolution) -> None:
        self._metrics.count(APPROVALS, approval.kind, resolution.decision)
        waited = (resolution.at - approval.created).total_seconds()
        self._metrics.observe(APPROVAL_WAIT, max(waited, 0.0))

    def close(self) -> None:
        """The turn is about to end: nothing of it waits any more."""
        for approval in self._waiting():
            self._close(approval, "cancelled")
        self._pending.clear()
        self._recall = Recall()
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
        self._recall, self._park = Recall(kept), False
        self._save_if_possible()

    def recall(self, approval: Approval) -> None:
        """Another process has parked the turn, which waits for this."""
        self._recall = Recall(approval)
        self._turn.wait_for((approval.id,))
        if approval.resolution is None and not is_told(self._turn, approval):
            self._turn.append([requested(approval)])

    def await_decision(self, is_over: Callable[[], bool]) -> Approval | None:
        """What the parked turn waits for, once somebody has answered; None when `is_over()`."""
        approval = self._recall.approval
        assert approval is not None  # noqa: S101 - it is parked
        while not is_over():
            self.save_changes()
            found = self._stored.resolved(approval)
            if found is not None:
                return found
            with self._condition:
                until = min(time.monotonic() + POLL_INTERVAL_S, expires_at(approval))
                self._condition.wait_for(lambda: self._news or is_over(), until)
                self._news = False
        return None
