"""A turn's events as the stream of a response, and a turn as one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cowork.dialects.responses.rendering import ResponseRenderer
from cowork.dialects.responses.reply import ResponseHead, ended_response, response
from cowork.events import Done, Event, Failed, Replace, Thinking, ToolUse

TURN_ID = "0b54d9e9-8d8b-4b7a-93f4-2f4b3a1c6f0e"
HEX = TURN_ID.replace("-", "")
ITEM = f"msg_{HEX}"
USAGE = {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 6}
PLACE = {"item_id": ITEM, "output_index": 0, "content_index": 0}


def head(**echo: Any) -> ResponseHead:
    return ResponseHead(TURN_ID, 1700000000, {"model": "gpt", **echo})


def done(message: str = "Hello", **more: Any) -> Done:
    given = {"session_id": "s", "usage": USAGE, "cost_usd": 0.5, "duration_ms": 7, **more}
    return Done(success=given.pop("success", True), message=message, **given)


def written(renderer: ResponseRenderer, *events: Event | list[str]) -> bytes:
    found = renderer.begin()
    for number, event in enumerate(events, 1):
        if isinstance(event, list):
            found += renderer.tokens([json.dumps(each).encode() for each in event], number)
        else:
            found += renderer.event(event, number)
    return found


def frames(renderer: ResponseRenderer, *events: Event | list[str]) -> list[dict[str, Any]]:
    """Each event's JSON, whose type its `event:` line says too."""
    found = []
    for block in written(renderer, *events).decode().split("\n\n")[:-1]:
        kind, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def item(status: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "message",
        "id": ITEM,
        "status": status,
        "role": "assistant",
        "content": list(content),
    }


def test_a_stream_is_a_response_with_a_message() -> None:
    found = frames(ResponseRenderer(head()), ["Hel", "lo"], done())
    assert [each.pop("sequence_number") for each in found] == list(range(10))
    begun = {"response": response(head(), "in_progress")}
    assert found == [
        {"type": "response.created", **begun},
        {"type": "response.in_progress", **begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item("in_progress")},
        {"type": "response.content_part.added", **PLACE, "part": part("")},
        {"type": "response.output_text.delta", **PLACE, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **PLACE, "delta": "lo", "logprobs": []},
        {"type": "response.output_text.done", **PLACE, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **PLACE, "part": part("Hello")},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": item("completed", part("Hello")),
        },
        {"type": "response.completed", "response": ended_response(head(), done(), None)},
    ]


@pytest.mark.parametrize("tool", [None, "save"])
def test_what_was_read_is_left_out_and_the_rest_is_the_same_wherever_it_was_cut(
    tool: str | None,
) -> None:
    ended = done("", structured_output={"a": 1}) if tool else done()
    events = (["a", "b"], ToolUse("t", "Bash", {}), ["c"], ended)
    whole = written(ResponseRenderer(head(tool=tool)), *events)
    blocks = whole.split(b"\n\n")[:-1]
    for number in range(-1, len(blocks)):
        rest = written(ResponseRenderer(head(tool=tool), number), *events)
        assert rest == b"".join(block + b"\n\n" for block in blocks[number + 1 :])


def test_a_token_stays_the_bytes_that_it_came_as() -> None:
    escaped = rb'"\u00fc 100% \"x\""'
    assert b'"delta":' + escaped + b"," in ResponseRenderer(head()).tokens([escaped], 1)


def test_a_response_has_what_clients_look_for() -> None:
    told = ended_response(head(metadata={"a": "b"}, instructions="Be brief."), done(), None)
    assert told["id"] == f"resp_{TURN_ID}"
    assert (told["object"], told["created_at"], told["status"]) == (
        "response",
        1700000000,
        "completed",
    )
    assert told["output"] == [item("completed", part("Hello"))]
    assert told["usage"] == {
        "input_tokens": 8,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 14,
    }
    assert (told["metadata"], told["instructions"]) == ({"a": "b"}, "Be brief.")
    assert told["cowork"]["turn_id"] == TURN_ID


def test_the_forced_tool_is_an_item_of_its_own() -> None:
    value = done("", structured_output={"a": 1})
    found = frames(ResponseRenderer(head(tool="save")), ["I will"], value)
    call = {
        "type": "function_call",
        "id": f"fc_{HEX}",
        "call_id": f"call_{TURN_ID}",
        "name": "save",
        "arguments": '{"a":1}',
        "status": "completed",
    }
    kinds = [each["type"].removeprefix("response.") for each in found[2:]]
    assert kinds == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert found[2]["item"] == {**call, "arguments": "", "status": "in_progress"}
    assert found[-2]["item"] == call
    assert found[-1]["response"]["output"] == [call]


def test_a_value_is_one_text_at_the_end() -> None:
    form = {"type": "json_schema", "name": "n"}
    value = done("", structured_output={"a": 1})
    found = frames(ResponseRenderer(head(format=form)), ["I will"], Thinking("hm"), value)
    deltas = [each["delta"] for each in found if each["type"].endswith(".delta")]
    assert deltas == ['{"a":1}']
    assert found[-1]["response"]["text"] == {"format": form}


def test_what_was_replaced_stands_in_the_end() -> None:
    found = frames(ResponseRenderer(head()), ["Wro"], Replace("R"), done("Right", replaced=True))
    assert found[-1]["response"]["output"] == [item("completed", part("Right"))]


def test_a_failure_is_a_response_that_failed() -> None:
    failed = Failed("claude_timeout", "too long")
    last = frames(ResponseRenderer(head()), ["half"], failed, done("half", success=False))[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "claude_timeout", "message": "too long"}


def test_an_interrupted_response_is_cancelled() -> None:
    failed = Failed("turn_interrupted", "stopped")
    last = frames(ResponseRenderer(head()), failed, done("", success=False))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")
    assert last["response"]["error"] is None


def test_a_refusal_is_incomplete() -> None:
    refused = done("No", success=False, stop_reason="refusal")
    last = frames(ResponseRenderer(head()), ["No"], Failed("claude_failed", "x"), refused)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "content_filter"}
