"""What a turn has a process do, told before its result: one that waits for a person may be lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cowork.claude.process.control_requests import ControlRequests
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json import billing
from cowork.claude.stream_json.billing import ByModel
from cowork.claude.stream_json.tool_calls import DENIALS_LIMIT, bounded_input
from cowork.errors import ClaudeFailed
from cowork.model import Approval
from cowork.turns.earlier_work import EarlierWork

# The CLI answers within milliseconds, in the middle of a turn too.
USAGE_TIMEOUT_S = 2.0


class ProcessWork:
    """Of one process at a time.

    The CLI tells what a process has spent; the turn's is what was added since `begin`.  Where it
    does not tell, what its stream has told of the main agent's requests is as much as is known.
    """

    def __init__(self) -> None:
        self._requests: ControlRequests | None = None
        self._before: ByModel | None = None
        self._denials: list[Mapping[str, Any]] = []

    def begin(self, process: ClaudeProcess) -> None:
        """The process is about to be asked, or to go on, and has spent nothing of the turn yet."""
        self._requests = process.requests
        self._before = self._told()
        self._denials = []

    def add_denial(self, approval: Approval, answer: Mapping[str, Any]) -> None:
        """The CLI is told that this tool is not to run, if so."""
        if answer.get("behavior") == "deny" and len(self._denials) < DENIALS_LIMIT:
            given, why = bounded_input(approval.input), answer.get("message")
            self._denials.append({"tool": approval.tool, "input": given, "why": why})

    def so_far(self, reply: PendingAnswer) -> EarlierWork:
        """What the turn has had it do."""
        answer = reply.answer
        streamed = answer.usage.by_model
        return EarlierWork(
            usage=billing.sum_tokens(streamed) if streamed else None,
            usage_by_model=self._added() or streamed or None,
            files_changed=answer.tools.files_changed,
            permission_denials=tuple(self._denials),
        )

    def _added(self) -> ByModel | None:
        now = None if self._before is None else self._told()
        if now is None or self._before is None:
            self._before = None  # a CLI that does not answer is not waited for again
            return None
        return billing.less(now, self._before)

    def _told(self) -> ByModel | None:
        """What the process has spent since it began, its session's earlier ones included or not."""
        assert self._requests is not None  # noqa: S101 - `begin` comes first
        try:
            told = self._requests.call("get_usage", USAGE_TIMEOUT_S, skip_behaviors=True)
        except ClaudeFailed:
            return None
        session = told.get("session")
        return billing.models(session.get("model_usage")) if isinstance(session, dict) else None
