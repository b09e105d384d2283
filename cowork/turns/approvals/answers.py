"""What the CLI is told when somebody has decided: checked, and never wider than the operator's.

Pure.  Whatever does not fit is refused, and allows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cowork.claude.launch_options import REQUESTED_MODES, permission_allows
from cowork.claude.stream_json.permissions import allowed, denied, session_updates, set_mode
from cowork.errors import InvalidValue
from cowork.model import Approval

NOBODY = "Nobody answered in time, so this was not allowed."
NOT_ALLOWED = "This was not allowed."
_DECISIONS = {
    "tool": ("allow", "deny"),
    "question": ("answer", "deny"),
    "plan": ("allow", "deny"),
}


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """Somebody's answer, as it was sent; see `docs/api.md`."""

    decision: str
    input: Mapping[str, Any] | None = None
    message: str | None = None
    interrupt: bool = False
    remember: str = "once"
    answers: Mapping[str, Any] | None = None
    permission_mode: str | None = None


def answer_for_cli(
    approval: Approval, answer: ApprovalAnswer, operators_mode: str
) -> dict[str, Any]:
    """The CLI's answer; raises `InvalidValue` for one that does not fit the approval."""
    kind = approval.kind
    if answer.decision not in _DECISIONS[kind]:
        fits = " or ".join(_DECISIONS[kind])
        raise InvalidValue(f"a {kind} is answered by {fits}", field="decision")
    _check_fields(kind, answer)
    if answer.decision == "deny":
        return denied(answer.message or NOT_ALLOWED, interrupt=answer.interrupt)
    if kind == "question":
        return allowed({**approval.input, "answers": _answers(approval, answer)})
    if kind == "plan":
        return allowed(approval.input, _plan_updates(answer, operators_mode))
    given = approval.input if answer.input is None else answer.input
    if answer.remember != "session":
        return allowed(given)
    may_set = {mode: permission_allows(mode, operators_mode) for mode in REQUESTED_MODES}
    return allowed(given, session_updates(approval.suggestions, may_set_mode=may_set))


def _check_fields(kind: str, answer: ApprovalAnswer) -> None:
    """Raise for a field that would mean nothing, and whose sender expects something of it."""
    is_allow = answer.decision == "allow"
    for field, is_given, fits in (
        ("input", answer.input is not None, kind == "tool" and is_allow),
        ("remember", answer.remember == "session", kind == "tool" and is_allow),
        ("answers", answer.answers is not None, answer.decision == "answer"),
        ("permission_mode", answer.permission_mode is not None, kind == "plan" and is_allow),
        ("message", answer.message is not None, answer.decision == "deny"),
        ("interrupt", answer.interrupt, answer.decision == "deny"),
    ):
        if is_given and not fits:
            raise InvalidValue(f"it does not go with {answer.decision!r} of a {kind}", field=field)


def _answers(approval: Approval, answer: ApprovalAnswer) -> dict[str, Any]:
    """The answers by the questions' texts, each a text or texts."""
    found = approval.input.get("questions")
    asked = (
        [str(each.get("question")) for each in found or () if isinstance(each, Mapping)]
        if isinstance(found, Sequence)
        else []
    )
    given = answer.answers or {}
    if not given or not set(given) <= set(asked):
        raise InvalidValue("expected an answer to each question, by its text", field="answers")
    for each in given.values():
        texts = each if isinstance(each, list) else [each]
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise InvalidValue("expected a text, or a list of texts", field="answers")
    return dict(given)


def _plan_updates(answer: ApprovalAnswer, operators_mode: str) -> list[Mapping[str, Any]]:
    """In which mode an approved plan is carried out."""
    if operators_mode == "plan":
        raise InvalidValue("this server plans, and carries nothing out", field="decision")
    mode = answer.permission_mode
    if mode is None:
        # Left to itself the CLI goes on in `default`, which may be wider.
        narrower = not permission_allows("default", operators_mode)
        return [set_mode(operators_mode)] if narrower else []
    if mode not in REQUESTED_MODES or not permission_allows(mode, operators_mode):
        sentence = f"this server allows no mode that is wider than its own, {operators_mode!r}"
        raise InvalidValue(sentence, field="permission_mode")
    return [set_mode(mode)]
