"""What the CLI asks before it runs a tool, and what it is answered.  Pure.

Whatever is not understood is answered as a denial.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cowork.claude.stream_json.protocol import Message

Kind = Literal["tool", "question", "plan"]
REASON_LIMIT_CHARS = 1024
SUGGESTIONS_LIMIT = 20
_KINDS: Mapping[str, Kind] = {"AskUserQuestion": "question", "ExitPlanMode": "plan"}
# Escape sequences of a terminal, and whatever else is not to be shown as it is.
_NOT_TEXT = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x1f\x7f-\x9f]"
)
# What a suggestion may do; any other kind is not passed on.
_RULES = frozenset({"addRules", "replaceRules", "removeRules", "addDirectories"})


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """A tool that waits for a yes; `agent_id` names the sub-agent that calls it, if one does.

    `suggestions` are the CLI's own: rules that would spare the next question.
    """

    request_id: str
    tool: str
    tool_use_id: str
    input: Mapping[str, Any]
    reason: str | None = None
    suggestions: tuple[Mapping[str, Any], ...] = ()
    agent_id: str | None = None

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.tool, "tool")


def permission_request(message: Message) -> PermissionRequest | None:
    """What a control request of the CLI asks; None where it is no such question."""
    request, request_id = message.get("request"), message.get("request_id")
    if not isinstance(request, dict) or request.get("subtype") != "can_use_tool":
        return None
    tool, given, use = request.get("tool_name"), request.get("input"), request.get("tool_use_id")
    if not (isinstance(request_id, str) and isinstance(tool, str) and isinstance(given, dict)):
        return None
    agent = request.get("agent_id")
    return PermissionRequest(
        request_id,
        tool,
        use if isinstance(use, str) else "",
        given,
        reason=plain(request.get("decision_reason")),
        suggestions=tuple(_suggestions(request.get("permission_suggestions"))),
        agent_id=agent if isinstance(agent, str) else None,
    )


def plain(said: Any) -> str | None:
    """A sentence of the CLI's as text: it may carry escape sequences of a terminal."""
    if not isinstance(said, str) or not said:
        return None
    return " ".join(_NOT_TEXT.sub(" ", said).split())[:REASON_LIMIT_CHARS]


def _suggestions(found: Any) -> list[Message]:
    entries = found if isinstance(found, list) else []
    return [each for each in entries if isinstance(each, dict)][:SUGGESTIONS_LIMIT]


def allowed(given: Mapping[str, Any], updates: Sequence[Mapping[str, Any]] = ()) -> Message:
    """The answer that lets the tool run with that input; `updates` hold for the session."""
    answer: Message = {"behavior": "allow", "updatedInput": dict(given)}
    return {**answer, "updatedPermissions": [dict(each) for each in updates]} if updates else answer


def denied(why: str, *, interrupt: bool = False) -> Message:
    """The answer that does not; the model is told why, unless its turn ends with it."""
    return {"behavior": "deny", "message": why, **({"interrupt": True} if interrupt else {})}


def session_updates(
    suggestions: Sequence[Mapping[str, Any]], *, may_set_mode: Mapping[str, bool]
) -> list[Mapping[str, Any]]:
    """The suggestions as they may be applied: for the session alone, whatever the CLI suggests.

    It would write those of other destinations into files.  `may_set_mode` says of each mode
    whether it is no wider than the operator's; one that it does not name is none.
    """
    kept: list[Mapping[str, Any]] = []
    for each in suggestions:
        if each.get("type") == "setMode":
            if may_set_mode.get(str(each.get("mode")), False):
                kept.append(set_mode(str(each["mode"])))
        elif each.get("type") in _RULES and each.get("behavior") in {None, "allow"}:
            kept.append({**each, "destination": "session"})
    return kept


def set_mode(mode: str) -> Mapping[str, Any]:
    """The update that has a session go on in another permission mode."""
    return {"type": "setMode", "mode": mode, "destination": "session"}
