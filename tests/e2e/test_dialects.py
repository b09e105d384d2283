"""Clients of other APIs on the real CLI: values, forced tools, images, prompts, what it does."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.contract.dialects.completions import chunks, complete, text_of
from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FIVE = '[[tool StructuredOutput {"a": 5}]]'
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}
SAVE = {"type": "function", "function": {"name": "save", "parameters": SCHEMA}}


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_its_format(stage: Stage, stream: bool) -> None:
    reply = complete(stage.server, FIVE, response_format=FORMAT, stream=stream)
    if stream:
        found = chunks(reply)
        text, choice = text_of(found), found[-1]["choices"][0]
    else:
        choice = reply.json()["choices"][0]
        text = choice["message"]["content"]
    assert json.loads(text) == {"a": 5}
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "save"}}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_forced_tools_call_is_the_answer(stage: Stage, choice: Any, stream: bool) -> None:
    reply = complete(stage.server, FIVE, tools=[SAVE], tool_choice=choice, stream=stream)
    assert reply.status_code == 200, reply.text
    if stream:
        found = chunks(reply)
        assert text_of(found) == ""
        (call,) = found[1]["choices"][0]["delta"]["tool_calls"]
        reason = found[-1]["choices"][0]["finish_reason"]
    else:
        (said,) = reply.json()["choices"]
        (call,), reason = said["message"]["tool_calls"], said["finish_reason"]
        assert said["message"]["content"] is None
    assert call["function"]["name"] == "save"
    assert json.loads(call["function"]["arguments"]) == {"a": 5}
    assert reason == "tool_calls"
    assert "X-Cowork-Ignored" not in reply.headers


def test_a_system_message_is_the_models_system_prompt(stage: Stage) -> None:
    asked = [
        {"role": "system", "content": "Say okapi."},
        {"role": "user", "content": "[[say one]]"},
    ]
    assert complete(stage.server, asked).status_code == 200
    assert "okapi" in json.dumps(stage.model.exchanges[-1].body["system"])


def test_an_image_and_a_file_reach_the_model(stage: Stage) -> None:
    data = BytesIO()
    Image.new("RGB", (2, 2)).save(data, "PNG")
    image = base64.b64encode(data.getvalue()).decode()
    text = base64.b64encode(b"a word of the file").decode()
    content = [
        {"type": "text", "text": "[[say seen]]"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
        {
            "type": "file",
            "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{text}"},
        },
    ]
    reply = complete(stage.server, [{"role": "user", "content": content}])
    assert reply.status_code == 200, reply.text
    told = json.dumps(stage.model.exchanges[-1].body["messages"])
    assert image in told
    assert "a word of the file" in told


def test_a_model_and_an_effort_are_the_turns(stage: Stage) -> None:
    ids = [each["id"] for each in stage.server.get("/v1/models").json()["data"]]
    assert ids[0] == "cowork"
    offered = stage.server.get("/models").json()["models"]
    model = next(each for each in offered if each["id"] != "default" and "low" in each["efforts"])
    reply = complete(stage.server, "[[say one]]", model=model["id"], reasoning_effort="low")
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == model["id"]
    assert stage.model.exchanges[-1].body["model"] in model["model"]


def test_what_it_does_is_told_where_it_was_asked_for(stage: Stage) -> None:
    question = '[[think 2]] [[tool Bash {"command": "echo hello"}]] [[say done]]'
    headers = {"X-Cowork-Events": "tool,thinking"}
    found = chunks(complete(stage.server, question, headers=headers, stream=True))
    kinds = [each["cowork"]["type"] for each in found if each["choices"] == []]
    assert kinds == ["tool_use", "tool_result"]
    assert text_of(found).endswith("done")
