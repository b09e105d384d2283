"""What the CLI is told fits what it has asked, and is never wider than the operator's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.claude.stream_json.permissions import (
    permission_request,
    plain,
    session_updates,
)
from cowork.errors import InvalidValue
from cowork.model import Approval, Project
from cowork.turns.approvals.answers import NOT_ALLOWED, ApprovalAnswer, answer_for_cli

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUESTIONS = {"questions": [{"question": "Which?"}, {"question": "Why?"}]}
RULE = {"type": "addRules", "rules": [{"toolName": "Bash"}], "behavior": "allow"}


def approval(kind: str = "tool", given: Any = None, suggestions: Any = ()) -> Approval:
    asked = {"command": "ls"} if given is None else given
    return Approval(
        *("id", Project("", "p"), "turn", kind, "Bash", "use", asked, "digest", NOW, NOW),
        suggestions=tuple(suggestions),
    )


def test_a_tool_is_allowed_as_it_was_asked_or_changed() -> None:
    assert answer_for_cli(approval(), ApprovalAnswer("allow"), "default") == {
        "behavior": "allow",
        "updatedInput": {"command": "ls"},
    }
    changed = answer_for_cli(
        approval(), ApprovalAnswer("allow", input={"command": "pwd"}), "default"
    )
    assert changed["updatedInput"] == {"command": "pwd"}


def test_a_denial_says_why_and_may_end_the_turn() -> None:
    assert answer_for_cli(approval(), ApprovalAnswer("deny"), "default") == {
        "behavior": "deny",
        "message": NOT_ALLOWED,
    }
    told = answer_for_cli(
        approval(), ApprovalAnswer("deny", message="no", interrupt=True), "default"
    )
    assert told == {"behavior": "deny", "message": "no", "interrupt": True}


def test_what_is_remembered_holds_for_the_session_and_is_no_wider() -> None:
    suggestions = [
        {**RULE, "destination": "localSettings"},
        {**RULE, "behavior": "deny"},
        {"type": "setMode", "mode": "acceptEdits", "destination": "userSettings"},
        {"type": "setMode", "mode": "bypassPermissions", "destination": "session"},
        {"type": "somethingNew", "destination": "session"},
    ]
    asked = approval(suggestions=suggestions)
    told = answer_for_cli(asked, ApprovalAnswer("allow", remember="session"), "default")
    assert told["updatedPermissions"] == [{**RULE, "destination": "session"}]
    wide = answer_for_cli(asked, ApprovalAnswer("allow", remember="session"), "acceptEdits")
    assert wide["updatedPermissions"] == [
        {**RULE, "destination": "session"},
        {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
    ]
    assert "updatedPermissions" not in answer_for_cli(asked, ApprovalAnswer("allow"), "acceptEdits")


def test_a_question_is_answered_by_its_texts() -> None:
    asked = approval("question", QUESTIONS)
    told = answer_for_cli(
        asked, ApprovalAnswer("answer", answers={"Which?": ["a", "b"]}), "default"
    )
    assert told["updatedInput"] == {**QUESTIONS, "answers": {"Which?": ["a", "b"]}}
    for answers in (None, {}, {"Who?": "x"}, {"Which?": ""}, {"Which?": 3}, {"Which?": []}):
        with pytest.raises(InvalidValue):
            answer_for_cli(asked, ApprovalAnswer("answer", answers=answers), "default")


@pytest.mark.parametrize(
    ("operators", "mode", "updates"),
    [
        ("default", None, None),
        ("acceptEdits", None, None),
        ("acceptEdits", "acceptEdits", "acceptEdits"),
        ("bypassPermissions", "acceptEdits", "acceptEdits"),
        ("dontAsk", None, "dontAsk"),
        ("default", "acceptEdits", InvalidValue),
        ("dontAsk", "default", InvalidValue),
        ("plan", None, InvalidValue),
        ("default", "bypassPermissions", InvalidValue),
    ],
)
def test_a_plan_is_carried_out_in_a_mode_that_the_operator_allows(
    operators: str, mode: str | None, updates: Any
) -> None:
    asked, answer = (
        approval("plan", {"plan": "cook"}),
        ApprovalAnswer("allow", permission_mode=mode),
    )
    if updates is InvalidValue:
        with pytest.raises(InvalidValue):
            answer_for_cli(asked, answer, operators)
        return
    told = answer_for_cli(asked, answer, operators).get("updatedPermissions")
    expected = [{"type": "setMode", "mode": updates, "destination": "session"}]
    assert told == (None if updates is None else expected)


values = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), st.dictionaries(st.text(), st.none())
)


@given(
    st.sampled_from(["tool", "question", "plan"]),
    st.builds(
        ApprovalAnswer,
        st.sampled_from(["allow", "deny", "answer", "ALLOW", "", "expired", "cancelled"]),
        input=st.none() | st.dictionaries(st.text(), values),
        message=st.none() | st.text(),
        interrupt=st.booleans(),
        remember=st.sampled_from(["once", "session", "for ever"]),
        answers=st.none() | st.dictionaries(st.text(), values),
        permission_mode=st.none() | st.sampled_from(["plan", "default", "bypassPermissions", "x"]),
    ),
    st.sampled_from(["default", "plan", "dontAsk", "acceptEdits", "auto", "bypassPermissions"]),
)
def test_fault_whatever_is_answered_nothing_is_allowed_by_accident(
    kind: str, answer: ApprovalAnswer, operators: str
) -> None:
    asked = approval(kind, QUESTIONS if kind == "question" else None, [RULE])
    try:
        told = answer_for_cli(asked, answer, operators)
    except InvalidValue:
        return
    if told["behavior"] == "allow":
        assert answer.decision == ("answer" if kind == "question" else "allow")
        modes = [each.get("mode") for each in told.get("updatedPermissions", ())]
        assert "bypassPermissions" not in modes
        assert all(each["destination"] == "session" for each in told.get("updatedPermissions", ()))
    else:
        assert answer.decision == "deny"


def test_what_the_cli_asks_is_read_and_its_reason_is_text() -> None:
    request = {
        "subtype": "can_use_tool",
        "tool_name": "Bash",
        "input": {"command": "ls"},
        "tool_use_id": "use",
        "decision_reason": "\x1b[31mred\x1b[0m \x1b]0;title\x07not\x08safe",
        "permission_suggestions": [RULE, "x"],
        "agent_id": "a1",
    }
    found = permission_request({"request_id": "r1", "request": request})
    assert found is not None
    assert (found.kind, found.reason, found.suggestions) == ("tool", "red not safe", (RULE,))
    assert plain("x" * 5000) == "x" * 1024


@pytest.mark.parametrize(
    "request_", [None, "x", {}, {"subtype": "hook_callback"}, {"subtype": "can_use_tool"}]
)
def test_what_is_no_question_for_a_person_is_none(request_: Any) -> None:
    assert permission_request({"request_id": "r1", "request": request_}) is None
    assert permission_request({"request": request_}) is None


@given(st.lists(st.dictionaries(st.text(max_size=12), values, max_size=4), max_size=5))
def test_no_suggestion_leads_out_of_the_session(suggestions: list[dict[str, Any]]) -> None:
    for each in session_updates(suggestions, may_set_mode={"plan": True}):
        assert each["destination"] == "session"
