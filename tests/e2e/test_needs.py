"""A system prompt, a schema and a permission mode for one question, on the real CLI."""

from __future__ import annotations

import json

import pytest

from tests.e2e.environment import Stage, argv_of
from tests.serving import joined

pytestmark = pytest.mark.e2e

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FIVE = '[[tool StructuredOutput {"a": 5}]]'


def prompted(stage: Stage) -> list[str]:
    """Which of the canary words the model's last request had in its system prompt."""
    told = json.dumps(stage.model.exchanges[-1].body["system"])
    return [word for word in ("okapi", "tapir") if word in told]


def test_a_system_prompt_holds_for_its_question_alone_and_the_session_goes_on(
    stage: Stage,
) -> None:
    first = stage.server.ask("[[say one]] alpha", "prompts").json()
    assert prompted(stage) == []
    for word in ("okapi", "tapir"):
        said = stage.server.ask("[[count]]", "prompts", system_prompt=f"Say {word}.").json()
        assert prompted(stage) == [word]
        assert said["session_id"] == first["session_id"]
        assert '"[[say one]] alpha"' in said["message"]
    said = stage.server.ask("[[count]]", "prompts").json()
    assert prompted(stage) == []
    assert said["message"].startswith("I see 4 questions")


def test_a_first_question_may_have_a_system_prompt(stage: Stage) -> None:
    stage.server.ask("[[say one]]", "prompted first", system_prompt="Say okapi.")
    assert prompted(stage) == ["okapi"]
    stage.server.ask("[[say one]]", "prompted first")
    assert prompted(stage) == []


def test_an_answer_fits_its_schema_and_is_its_json(stage: Stage) -> None:
    said = stage.server.ask(FIVE, "values", output_schema=SCHEMA).json()
    assert said["structured_output"] == {"a": 5}
    assert json.loads(said["message"]) == {"a": 5}
    plain = stage.server.ask("[[say plain]]", "values").json()
    assert plain["message"] == "plain"
    assert "structured_output" not in plain


@pytest.mark.parametrize("draft", ["draft-07/schema#", "draft/2020-12/schema"])
def test_a_schema_may_name_its_draft(stage: Stage, draft: str) -> None:
    schema = {"$schema": f"https://json-schema.org/{draft}", **SCHEMA}
    said = stage.server.ask(FIVE, "drafts", output_schema=schema).json()
    assert said["structured_output"] == {"a": 5}


def test_a_streamed_answer_has_its_value_in_the_last_frame(stage: Stage) -> None:
    seen = stage.server.streamed(FIVE, "streamed values", output_schema=SCHEMA)
    last = seen[-1].data
    assert last["success"] is True
    assert last["structured_output"] == {"a": 5}
    assert json.loads(last.get("message", joined(seen))) == {"a": 5}
    turn = stage.server.get(f"/turns/{last['turn_id']}").json()
    assert turn["structured_output"] == {"a": 5}


def test_a_permission_mode_is_the_processs_own(stage: Stage) -> None:
    said = stage.server.ask("[[say planned]]", "modes", permission_mode="plan").json()
    assert "--permission-mode=plan" in argv_of(stage.cli(said["session_id"]))
    said = stage.server.ask("[[count]]", "modes").json()
    assert "--permission-mode=default" in argv_of(stage.cli(said["session_id"]))
    assert said["message"].startswith("I see 2 questions")
