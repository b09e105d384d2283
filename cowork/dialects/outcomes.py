"""How an answer ended, in the words of each API: the one table."""

from __future__ import annotations

from dataclasses import dataclass

from cowork.events import Done


@dataclass(frozen=True, slots=True)
class Outcome:
    """`finish_reason` is a chat completion's, `stop_reason` a message's.

    `status` is a response's, with `incomplete_reason` where that is `incomplete`.
    """

    finish_reason: str
    status: str
    stop_reason: str
    incomplete_reason: str | None = None


COMPLETED = Outcome("stop", "completed", "end_turn")
CALLS_TOOL = Outcome("tool_calls", "completed", "tool_use")
REFUSED = Outcome("content_filter", "incomplete", "refusal", "content_filter")


def outcome_of(done: Done, *, has_forced_tool: bool) -> Outcome | None:
    """How a turn's answer ended; None where there is none, but an error.

    A refusal is an answer to these APIs, though the CLI calls some of them failures.
    """
    if done.stop_reason == "refusal":
        return REFUSED
    if not done.success:
        return None
    return CALLS_TOOL if has_forced_tool and done.structured_output is not None else COMPLETED
