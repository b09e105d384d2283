"""Tells the log and the metrics how turns begin and end: figures and names, never what was said."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import DirectoryGone, SessionInUse, SessionMissing
from cowork.errors import CoworkError
from cowork.log import logger
from cowork.model import Spending, Usage
from cowork.telemetry import catalogue as c
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.turns.question import APIS, Question
from cowork.turns.turn import Turn

log = logger(__name__)

_LOST = (
    (DirectoryGone, "deleted"),
    (SessionMissing, "no_transcript"),
    (SessionInUse, "in_use"),
)


class TurnReporter:
    """Of any number of turns; `cli_version` tells which CLI there is."""

    def __init__(
        self,
        metrics: Metrics = NO_METRICS,
        cli_version: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.metrics = metrics
        self._cli_version = cli_version

    def started(self, turn: Turn) -> None:
        """Nothing of its project is before it any more."""
        self.metrics.observe(c.TURN_QUEUE, _queue_s(turn))

    def claimed(self, seconds: float) -> None:
        """Its project is answered by no other worker; that was waited for so long."""
        self.metrics.observe(c.TURN_CLAIM_WAIT, seconds)

    def got_process(
        self, turn: Turn, process: ClaudeProcess, wanted_at: float, *, known: bool
    ) -> None:
        """It has a process, which it has waited for since `wanted_at` (monotonic).

        `known`: of a session that there was before.
        """
        self.metrics.observe(c.TURN_SLOT_WAIT, time.monotonic() - wanted_at)
        turn.facts.start = _start_of(process, wanted_at, known=known)
        turn.facts.cli_pid = process.pid
        log.info(
            "turn began",
            turn_id=turn.id,
            request_id=turn.request_id,
            project=turn.project.told_name,
            key=turn.project.owner or None,
            session_id=process.session_id,
            start=turn.facts.start,
            queue_ms=round(_queue_s(turn) * 1000),
            **_trace_of(turn),
        )

    def lost_session(self, fault: CoworkError) -> None:
        """Its project's session could not be gone on with."""
        why = next((name for kind, name in _LOST if isinstance(fault, kind)), "refused")
        self.metrics.count(c.SESSIONS_LOST, why)

    def ended(self, turn: Turn, spent: tuple[Spending, ...]) -> None:
        """It has ended, and has spent that."""
        self._count(turn, spent)
        facts, done, error = turn.facts, turn.done, turn.error
        used: Counter[str] = Counter()
        for each in spent:
            used.update(tokens_in(each.usage))
        log.info(
            "turn ended",
            turn_id=turn.id,
            request_id=turn.request_id,
            project=turn.project.told_name,
            key=turn.project.owner or None,
            session_id=turn.session_id,
            state=turn.state.value,
            code=error.code if error is not None else None,
            start=facts.start or None,
            queue_ms=round(_queue_s(turn) * 1000),
            first_token_ms=_in_ms(_first_token_s(turn)),
            ms=done.duration_ms if done is not None else None,
            tokens_in=used["input"],
            tokens_out=used["output"],
            tokens_cached=used["cache_read"] + used["cache_write"],
            cost_usd=done.cost_usd if done is not None else None,
            cli_pid=facts.cli_pid,
            cli_version=self._cli_version(),
            resumes=facts.resumes,
            **_trace_of(turn),
        )

    def _count(self, turn: Turn, spent: tuple[Spending, ...]) -> None:
        metrics, key, kind = self.metrics, turn.project.owner, kind_of(turn.question)
        code = turn.error.code if turn.error is not None else ""
        api = turn.question.api if turn.question.api in APIS else "other"
        metrics.count(c.TURNS, api, kind, turn.state.value, code, key)
        if turn.started_monotonic is not None:
            metrics.observe(c.TURN_DURATION, time.monotonic() - turn.started_monotonic, kind)
        first = _first_token_s(turn)
        if first is not None and turn.facts.start:
            metrics.observe(c.TURN_FIRST_TOKEN, first, turn.facts.start)
        for each in spent:
            if each.cost_usd:
                metrics.count(c.COST, key, each.model, by=each.cost_usd)
            for name, count in tokens_in(each.usage).items():
                if count:
                    metrics.count(c.TOKENS, key, each.model, name, by=count)


def kind_of(question: Question) -> str:
    """What a turn is, as the metrics name it."""
    if question.change is not None:
        return "change"
    return "stream" if question.streaming else "answer"


def tokens_in(usage: Usage) -> dict[str, int]:
    """Tokens by the type that the metrics name."""
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens,
    }


def _trace_of(turn: Turn) -> dict[str, str]:
    traced = turn.facts.traceparent
    return {} if traced is None else {"traceparent": traced}


def _start_of(process: ClaudeProcess, wanted_at: float, *, known: bool) -> str:
    """How the turn got its process: it was there, or was started ahead, or for it."""
    if process.started >= wanted_at:
        return "resumed" if known else "new"
    return "resident" if known or process.turns else "spare"


def _queue_s(turn: Turn) -> float:
    began = turn.started_monotonic
    return 0.0 if began is None else max(began - turn.facts.created, 0.0)


def _first_token_s(turn: Turn) -> float | None:
    first, began = turn.first_text_at, turn.started_monotonic
    return None if first is None or began is None else max(first - began, 0.0)


def _in_ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
