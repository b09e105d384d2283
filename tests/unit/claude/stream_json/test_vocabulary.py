"""What the CLI says is known by name; the rest is told of by a short, safe name."""

from __future__ import annotations

from typing import Any

import pytest

from cowork.claude.stream_json import answer, notices, protocol, vocabulary
from cowork.claude.stream_json.vocabulary import unknown_in
from tests.fake_claude.stage import scenes
from tests.serving import ROOT


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "stream_event", "event": {"type": kind, **more}}


def blocks(kind: str, *types: Any) -> dict[str, Any]:
    return {"type": kind, "message": {"content": [{"type": each} for each in types]}}


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"type": "tool_progress"}, []),
        ({"type": "brand_new"}, ["type:brand_new"]),
        ({"type": "system", "subtype": "init"}, []),
        ({"type": "system", "subtype": "ui_anything"}, []),
        ({"type": "system", "subtype": "brand_new"}, ["system:brand_new"]),
        ({"type": "system"}, ["system:?"]),
        (event("ping"), []),
        (event("brand_new"), ["stream_event:brand_new"]),
        ({"type": "stream_event", "event": None}, ["stream_event:?"]),
        (event("content_block_delta", delta={"type": "thinking_delta"}), []),
        (event("content_block_delta", delta={"type": "brand_new"}), ["delta:brand_new"]),
        (event("content_block_delta", delta=None), ["delta:?"]),
        (event("content_block_start", content_block={"type": "text"}), []),
        (event("content_block_start", content_block={"type": "brand_new"}), ["block:brand_new"]),
        (blocks("assistant", "text", "tool_use"), []),
        (blocks("user", "tool_result", "one", 2), ["block:one", "block:?"]),
        ({"type": "user", "message": {"content": "text"}}, []),
        ({"type": "control_request", "request": {"subtype": "can_use_tool"}}, []),
        ({"type": "control_request", "request": {"subtype": "brand_new"}}, ["request:brand_new"]),
    ],
)
def test_what_is_not_known_has_a_name(message: dict[str, Any], names: list[str]) -> None:
    assert unknown_in(message) == names


def test_a_name_is_short_and_safe() -> None:
    (name,) = unknown_in({"type": "a\nb\x1b[31m é" + "x" * 500})
    assert name == "type:a?b??31m??" + "x" * 38


def test_all_that_is_handled_is_known() -> None:
    assert set(answer._READERS) <= vocabulary.TYPES
    handled = {*notices._STATUSES, *notices._TASKS}
    assert handled <= vocabulary.SYSTEM_SUBTYPES


def test_all_that_was_recorded_of_the_real_one_is_known() -> None:
    recorded = 0
    for path in (ROOT / "tests" / "fake_claude" / "scenes").glob("*.jsonl"):
        for line in scenes.load(path.stem):
            if isinstance(line, scenes.Line):
                message = protocol.parse(line.fill(lambda _name: "null").encode())
                if message is not None:
                    recorded += 1
                    assert unknown_in(message) == [], path.name
    assert recorded > 50
