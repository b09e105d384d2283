"""Counts what one turn asks of the model, tells of it, and ends the turn at its own limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cowork.claude.process.control_requests import Answer, ControlRequests
from cowork.errors import BudgetReached, MaxTurnsReached
from cowork.events import RequestUsage
from cowork.runtime.condition import PredicateCondition
from cowork.turns.question import Question
from cowork.turns.turn import Turn

BASELINE_TIMEOUT_S = 5.0
# How long the end of a turn waits for what its last request has cost.
SETTLE_TIMEOUT_S = 1.0


def is_metered(question: Question) -> bool:
    """Whether somebody wants to know; a question that does not is spared all of this."""
    limited = question.max_turns is not None or question.max_budget_usd is not None
    return limited or "usage" in question.events


class TurnMeter:
    """A `RequestObserver` of one turn: called from its process's reader thread.

    The CLI tells what a process has cost so far; the turn's is what was added since `begin`, and
    what it has cost in processes before.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._question = turn.question
        self._requests: ControlRequests | None = None
        self._before: float | None = None
        self._count = _requests_told(turn) if turn.is_adopted else 0
        self._condition = PredicateCondition()
        self._asked = 0

    def begin(self, requests: ControlRequests) -> None:
        """A process is about to be asked; raises `ClaudeFailed` where it does not say its cost."""
        self._requests = requests
        told = requests.call("get_usage", BASELINE_TIMEOUT_S, skip_behaviors=True)
        self._before = _cost_in(told)

    def request_ended(self, usage: Mapping[str, Any]) -> None:
        """Ask what it has cost; the answer tells of the request."""
        self._count += 1

        def take(answer: Answer | None) -> None:
            body = (answer or {}).get("response")
            try:
                self._tell(usage, _cost_in(body if isinstance(body, dict) else {}))
            finally:
                self._settle(-1)

        self._settle(1)
        sent = self._requests and self._requests.send("get_usage", take, skip_behaviors=True)
        if not sent:
            take(None)

    def _settle(self, change: int) -> None:
        with self._condition:
            self._asked += change
            self._condition.notify()

    def _tell(self, usage: Mapping[str, Any], total: float | None) -> None:
        cost = None
        if total is not None and self._before is not None:
            cost = max(total - self._before, 0.0) + self._turn.earlier_work.cost_usd
        self._turn.append([RequestUsage(_input(usage), _count(usage, "output_tokens"), cost)])
        budget = self._question.max_budget_usd
        if budget is not None and cost is not None and cost >= budget:
            sentence = f"the turn has cost {cost:.6f} USD, its budget is {budget:g}"
            self._turn.stop(BudgetReached(sentence, cost_usd=cost, max_budget_usd=budget))

    def tools_ended(self) -> None:
        """The model is about to be asked again: not, where it was asked often enough."""
        most = self._question.max_turns
        if most is not None and self._count >= most:
            self._turn.stop(MaxTurnsReached(f"the model was asked {most} times", max_turns=most))

    def settle(self) -> None:
        """Wait for what the last request has cost."""
        with self._condition:
            deadline = time.monotonic() + SETTLE_TIMEOUT_S
            self._condition.wait_for(lambda: not self._asked, deadline)


def _requests_told(turn: Turn) -> int:
    """How many requests the log of a turn tells of that another worker has begun."""
    count = after = 0
    while batch := turn.read(after, 0.0):
        after += len(batch)
        count += sum(isinstance(event, RequestUsage) for event in batch.runs())
    return count


def _cost_in(told: Mapping[str, Any]) -> float | None:
    session = told.get("session")
    found = session.get("total_cost_usd") if isinstance(session, dict) else None
    return float(found) if isinstance(found, int | float) else None


def _input(usage: Mapping[str, Any]) -> int:
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(_count(usage, name) for name in names)


def _count(usage: Mapping[str, Any], name: str) -> int:
    found = usage.get(name)
    return found if isinstance(found, int) and found >= 0 else 0
