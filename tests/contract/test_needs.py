"""What a question needs of its process: another system prompt, a schema, a permission mode."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import Served, wait_for

SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}
FORMS = ["/ask_question", "/ask_question_streaming"]


def begun_with(fakes: Fakes) -> list[dict[str, Any]]:
    """The `initialize` request of each process, oldest first."""
    requests = [entry["request"] for entry in fakes.entries("control")]
    return [each for each in requests if each["subtype"] == "initialize"]


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def test_a_question_without_needs_begins_its_process_with_none(
    logged: Served, fakes: Fakes
) -> None:
    logged.ask("one")
    logged.ask("two", system_prompt=None, output_schema=None, permission_mode=None)
    assert begun_with(fakes) == [{"subtype": "initialize"}]


@pytest.mark.parametrize("form", FORMS)
def test_each_need_reaches_the_cli_beside_its_command_line(
    logged: Served, fakes: Fakes, form: str
) -> None:
    body = {"project_name": "p", "question": "x", "system_prompt": "be ü", "output_schema": SCHEMA}
    assert logged.post(form, body).status_code == 200
    (request,) = begun_with(fakes)
    assert request["appendSystemPrompt"] == "be ü"
    assert request["systemPromptSnapshot"] is False
    assert json.dumps(request["jsonSchema"]) == json.dumps(SCHEMA), "its order counts, too"
    assert "be ü" not in str(fakes.entries("start")[0]["argv"])


def test_other_needs_replace_the_process_and_keep_the_session(logged: Served, fakes: Fakes) -> None:
    first = logged.ask("one").json()
    said = logged.ask("[[count]] two", system_prompt="be brief").json()
    assert said["message"] == "I see 2 questions: one | two"
    assert said["session_id"] == first["session_id"]
    assert said["is_new_session"] is False
    logged.ask("three", system_prompt="be brief")
    assert len(fakes.entries("start")) == 2, "equal needs, the same process"
    assert logged.ask("[[count]] four").json()["message"].startswith("I see 4 questions")
    assert [each.get("appendSystemPrompt") for each in begun_with(fakes)] == [
        None,
        "be brief",
        None,
    ]
    assert logged.get("/health").json()["processes"]["idle"] <= 1


def test_there_is_never_a_second_writer(logged: Served, fakes: Fakes) -> None:
    for number in range(6):
        logged.ask(f"[[words 2]] q{number}", system_prompt=f"prompt {number % 3}")
    starts, exits = fakes.entries("start"), fakes.entries("exit")
    assert len(starts) == 6
    for before, after in zip(exits, starts[1:], strict=False):
        assert before["at"] < after["at"], "the former process had not ended"
    assert fakes.entries("overlap") == []


def test_a_permission_mode_is_taken_where_it_is_not_wider(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_PERMISSION_MODE="acceptEdits")
    for mode in (None, "acceptEdits", "plan", "default", None):
        argv = json.loads(served.ask("[[argv]]", permission_mode=mode).json()["message"])
        assert f"--permission-mode={mode or 'acceptEdits'}" in argv
    assert len(fakes.entries("start")) == 4, "the operator's own is no other need"


WIDER = [
    ("plan", ["default", "acceptEdits"]),
    ("default", ["acceptEdits"]),
    ("dontAsk", ["default", "acceptEdits"]),
    ("auto", ["acceptEdits"]),
    ("bypassPermissions", []),
    ("acceptEdits", []),
]


@pytest.mark.parametrize(("operators", "wider"), WIDER)
def test_a_wider_permission_mode_is_refused(
    serve: Callable[..., Served], fakes: Fakes, operators: str, wider: list[str]
) -> None:
    served = serve(**fakes.settings(), COWORK_PERMISSION_MODE=operators)
    never = ["auto", "dontAsk", "bypassPermissions", "", "PLAN", "--settings={}", 5, ["plan"]]
    for mode in [*wider, *never]:
        reply = served.ask("x", permission_mode=mode)
        assert reply.status_code == 422, (operators, mode, reply.text)
        assert reply.json()["detail"][0]["loc"][:2] == ["body", "permission_mode"]
        assert reply.json()["detail"][0].keys() == {"type", "loc", "msg"}
    assert fakes.entries("start") == []
    assert served.get("/sessions").json()["count"] == 0


WRONG = [
    ("system_prompt", "x" * 100_001),
    ("system_prompt", 5),
    ("system_prompt", ["x"]),
    ("output_schema", "{}"),
    ("output_schema", []),
    ("output_schema", 5),
    ("output_schema", {"a": "x" * 100_000}),
    ("output_schema", deep(300)),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_be_a_need_is_refused(served: Served, form: str, key: str, value: Any) -> None:
    body = {"project_name": "p", "question": "x", key: value}
    reply = served.post(form, body, headers={"Idempotency-Key": "k"})
    assert reply.status_code == 422, reply.text
    (fault,) = reply.json()["detail"]
    assert fault["loc"] == ["body", key]


def test_needs_may_be_as_large_as_their_limits(logged: Served, fakes: Fakes) -> None:
    schema = {"description": "y" * 99_900}
    said = logged.ask("[[words 2]]", system_prompt="x" * 100_000, output_schema=schema)
    assert said.status_code == 200, said.text
    assert len(begun_with(fakes)[0]["appendSystemPrompt"]) == 100_000


def test_a_spare_serves_no_needs(serve: Callable[..., Served], fakes: Fakes) -> None:
    served = serve(**fakes.settings(), COWORK_SPARE_PROCESSES="1", COWORK_MAX_PROCESSES="4")
    wait_for(lambda: served.get("/health").json()["processes"]["spare"] == 1, what="a spare")
    served.ask("x", system_prompt="be brief")
    assert served.get("/health").json()["processes"]["spare"] == 1
    assert [each.get("appendSystemPrompt") for each in begun_with(fakes)] == [None, "be brief"]


def test_a_warmed_process_makes_way_for_other_needs(logged: Served, fakes: Fakes) -> None:
    logged.post("/sessions/p/warm")
    said = logged.ask("[[count]] one", system_prompt="be brief").json()
    assert said["message"] == "I see 1 questions: one"
    assert logged.get("/processes").json()["count"] <= 1
    assert len(fakes.entries("start")) == 2


def test_needs_belong_to_what_an_idempotency_key_was_used_with(logged: Served) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {"project_name": "p", "question": "x", "output_schema": SCHEMA}
    assert logged.post("/ask_question", body, headers=key).status_code == 200
    assert logged.post("/ask_question", body, headers=key).headers["Idempotent-Replayed"] == "true"
    problem(
        logged.post("/ask_question", {**body, "system_prompt": "y"}, headers=key),
        422,
        "idempotency_mismatch",
    )


def test_an_answer_that_is_no_value_has_no_structured_output(served: Served) -> None:
    reply = served.ask("[[words 2]]", output_schema=SCHEMA).json()
    assert reply["message"] == "w1 w2"
    assert "structured_output" not in reply
