"""What the CLI asks of a person, as an approval, and as the event that tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.permissions import PermissionRequest
from cowork.events import ApprovalRequested
from cowork.log import logger
from cowork.model import Approval
from cowork.runtime.ids import new_id
from cowork.turns.turn import Turn

log = logger(__name__)

# Of what is asked; 200 may wait.
INPUT_LIMIT_BYTES = 2**20
# How long the CLI may take to write down what it asks about, and how often that is looked at.
WRITTEN_TIMEOUT_S = 2.0
WRITTEN_POLL_S = 0.005


def new_approval(turn: Turn, request: PermissionRequest, timeout_s: float) -> Approval:
    """What the turn waits for from now on, for so long."""
    now = datetime.now(UTC)
    return Approval(
        id=new_id(),
        project=turn.project,
        turn_id=turn.id,
        kind=request.kind,
        tool=request.tool,
        tool_use_id=request.tool_use_id,
        input=request.input,
        input_digest=digest_of(request.input),
        created=now,
        expires=now + timedelta(seconds=timeout_s),
        reason=request.reason,
        suggestions=request.suggestions,
        subagent_id=request.agent_id,
    )


def can_be_shown(request: PermissionRequest) -> bool:
    """Whether what is asked fits into a reply and a store."""
    try:
        said = orjson.dumps([request.input, list(request.suggestions)])
    except orjson.JSONEncodeError:  # too deep
        return False
    return len(said) <= INPUT_LIMIT_BYTES


def await_written(
    is_written: Callable[[ClaudeProcess, str], bool], process: ClaudeProcess, tool_use_id: str
) -> bool:
    """Whether the CLI has written the call down, so that another process could ask again.

    It does so in the moment in which it asks.
    """
    deadline = time.monotonic() + WRITTEN_TIMEOUT_S
    while not is_written(process, tool_use_id):
        if time.monotonic() >= deadline:
            log.warning("CLI did not write a call down", tool_use_id=tool_use_id)
            return False
        time.sleep(WRITTEN_POLL_S)
    return True


def is_told(turn: Turn, approval: Approval) -> bool:
    """Whether the turn's log says that it waits for this."""
    after = 0
    while batch := turn.read(after, 0.0):
        after += len(batch)
        for event in batch.runs():
            if isinstance(event, ApprovalRequested) and event.id == approval.id:
                return True
    return False


def digest_of(given: Any) -> str:
    """What identifies the input of a tool, 32 characters."""
    return blake2b(orjson.dumps(given), digest_size=16).hexdigest()


def requested(approval: Approval) -> ApprovalRequested:
    """The event that tells readers of it."""
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
