"""A stream that is left without its end would be taken for a success: it gets one."""

from __future__ import annotations

import json
from typing import Any, cast

from cowork.dialects.answer_head import AnswerHead
from cowork.dialects.chat.rendering import ChatRenderer
from cowork.events import Done
from cowork.model import Project
from cowork.turns.question import Question
from cowork.turns.turn import Turn
from cowork.web.dialects.asking import _to_the_end


def ending(turn: Turn) -> list[bytes]:
    """What follows on frames that have been written."""
    renderer = ChatRenderer(AnswerHead(turn.id, 1700, "m", "new"))
    _, *rest = _to_the_end(cast("Any", [b"data: {}\n\n"]), turn, renderer)
    return rest


def test_a_turn_that_another_process_goes_on_with_ends_the_stream_with_an_error() -> None:
    (last,) = ending(Turn(Project("", "p"), Question("hi")))
    said, end, _ = last.decode().split("\n\n")
    assert json.loads(said.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert end == "data: [DONE]"


def test_a_turn_that_has_ended_has_said_so() -> None:
    turn = Turn(Project("", "p"), Question("hi"))
    turn.finish(Done(success=True, message="hi"))
    assert ending(turn) == []
