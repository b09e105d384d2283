"""Who waits for a person in this worker, and what people answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.permissions import denied
from cowork.errors import (
    ApprovalExpired,
    ApprovalNotFound,
    ApprovalResolved,
    CoworkError,
    Forbidden,
    InvalidValue,
    StoreUnavailable,
    TurnExpired,
    TurnNotFound,
)
from cowork.log import logger
from cowork.model import Approval, Decision, Resolution
from cowork.stores.protocol import Store
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.turns.approvals.answers import NOBODY, ApprovalAnswer, answer_for_cli
from cowork.turns.approvals.turn_approvals import TurnApprovals
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.registry import TurnRegistry
from cowork.turns.turn import Turn

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """What the operator decided about approvals.

    `mode` is `off`, `optional` or `always`; `timeout` (seconds) is how long one waits unless its
    question says otherwise; `keys` are the names of those who may answer, for everybody; none:
    each owner.
    """

    mode: str = "off"
    timeout: float = 300.0
    keys: frozenset[str] = frozenset()
    permission_mode: str = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who answers: a key's name ("" where there are no keys), from an address."""

    name: str
    address: str | None = None


class Approvals:
    """`notify` tells the worker of a turn that is not ours that somebody has answered."""

    def __init__(
        self,
        store: Store,
        registry: TurnRegistry,
        policy: ApprovalPolicy,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._registry = registry
        self.policy = policy
        self.notify: Callable[[Turn], None] = lambda _turn: None
        self._lock = threading.Lock()
        self._active: dict[str, TurnApprovals] = {}

    # -- turns

    def begin(
        self,
        turn: Turn,
        save: Callable[[Sequence[str], EarlierWork], None],
        is_written: Callable[[ClaudeProcess, str], bool],
    ) -> TurnApprovals:
        """The approvals of a turn that may ask; `end` has to follow."""
        timeout = turn.question.approval_timeout or self.policy.timeout
        found = TurnApprovals(
            turn,
            self._store,
            timeout_s=timeout,
            save=save,
            is_written=is_written,
            metrics=self._metrics,
        )
        with self._lock:
            self._active[turn.id] = found
        return found

    def end(self, turn: Turn) -> None:
        """The turn asks nothing any more."""
        with self._lock:
            self._active.pop(turn.id, None)

    def wake(self, turn_id: str) -> None:
        """Somebody has answered what a turn of ours waits for."""
        with self._lock:
            found = self._active.get(turn_id)
        if found is not None:
            found.wake()

    def release_one(self) -> None:
        """Somebody needs a process: the turn that has waited longest gives its own up.

        Where it could not outlive that, what it waits for is denied.
        """
        with self._lock:
            active = dict(self._active)
        if not active:  # nearly always, and this is asked again and again
            return
        try:
            waiting = self._store.approvals(None, pending=True, limit=len(active) + 1)
        except StoreUnavailable:
            return
        oldest = next((each for each in waiting if each.turn_id in active), None)
        if oldest is None:
            return
        approvals = active[oldest.turn_id]
        if not approvals.has_parkable:
            self._expire(oldest)
        approvals.request_park()

    def park_all(self) -> None:
        """The server shuts down: turns that can outlive it give their processes up."""
        with self._lock:
            active = list(self._active.values())
        for each in active:
            each.request_park()

    # -- people

    def list(self, caller: Caller, *, pending: bool, limit: int) -> list[Approval]:
        """What the caller may answer or has to do with; see `ApprovalPolicy.keys`."""
        owner = None if caller.name in self.policy.keys else caller.name
        found = self._store.approvals(owner, pending=pending, limit=limit)
        return [each for each in found if not pending or not self._is_over(each)]

    def resolve(self, approval_id: str, caller: Caller, answer: ApprovalAnswer) -> Approval:
        """Decide: the first answer counts.

        Raises `ApprovalNotFound`, `Forbidden`, `ApprovalResolved`, `ApprovalExpired`,
        `InvalidValue` and `StoreUnavailable`.
        """
        approval = self._visible(approval_id, caller)
        self._check_waits(approval)
        said = answer_for_cli(approval, answer, self.policy.permission_mode)
        resolution = Resolution(
            decision=_decision(answer),
            at=datetime.now(UTC),
            by=caller.name or None,
            address=caller.address,
            message=answer.message,
        )
        is_first = self._store.resolve_approval(approval.id, resolution, said)
        found = self._visible(approval_id, caller)
        if not is_first:
            self._check_waits(found)
        self._tell(approval)
        return found

    def _visible(self, approval_id: str, caller: Caller) -> Approval:
        approval = self._store.approval(approval_id)
        keys = self.policy.keys
        is_own = approval is not None and approval.project.owner == caller.name
        if approval is None or not (is_own or caller.name in keys):
            raise ApprovalNotFound("no such approval")
        if keys and caller.name not in keys:
            raise Forbidden("this key may not answer; see COWORK_APPROVAL_KEYS")
        return approval

    def _check_waits(self, approval: Approval) -> None:
        """Raise where it waits no more, or nobody is there any more who waits for it."""
        done = approval.resolution
        if done is None and self._is_over(approval):
            self._expire(approval)
            done = Resolution("expired", datetime.now(UTC))
        if done is None:
            return
        if done.decision == "expired":
            raise ApprovalExpired("nobody answered in time")
        raise ApprovalResolved(
            f"the approval is resolved: {done.decision}",
            decision=done.decision,
            decided_by=done.by,
            decided_at=done.at.isoformat(),
        )

    def _is_over(self, approval: Approval) -> bool:
        """Whether its time is up, or its turn has ended, as with a process that was lost."""
        if approval.expires <= datetime.now(UTC):
            return True
        if not self._store.shared:
            return False
        try:
            return self._registry.get(approval.project.owner, approval.turn_id).done is not None
        except (TurnNotFound, TurnExpired):
            return True

    def _expire(self, approval: Approval) -> None:
        resolution = Resolution("expired", datetime.now(UTC))
        with suppress(StoreUnavailable):
            self._store.resolve_approval(approval.id, resolution, denied(NOBODY))

    def _tell(self, approval: Approval) -> None:
        """Wake whoever waits; who is not reached looks at the store by itself."""
        self.wake(approval.turn_id)
        if self._store.others is None:
            return
        with suppress(CoworkError):
            self.notify(self._registry.get(approval.project.owner, approval.turn_id))


def _decision(answer: ApprovalAnswer) -> Decision:
    for each in ("allow", "deny", "answer"):
        if answer.decision == each:
            return each
    raise InvalidValue("expected allow, deny or answer", field="decision")
