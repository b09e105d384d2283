"""What the real CLI printed, read into events and a result; `fake_claude/scenes` is the record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.failures import RequestRefused
from cowork.errors import (
    ClaudeApiError,
    ClaudeFailed,
    ClaudeNotAuthenticated,
    ClaudeOverloaded,
    ClaudeRateLimited,
)
from cowork.events import Replace, Status, Subagent, Thinking, Token, ToolResult, ToolUse
from tests.fake_claude.stage import scenes
from tests.fake_claude.stage.script import words

UUID = "the-question"


class Record:
    """Plays scenes to an `AnswerParser`, without a process; `events` are what it made of them."""

    def __init__(self, said: str = "w1 w2 w3", **blanks: Any) -> None:
        self.answer = AnswerParser(UUID)
        self.events: list[Any] = []
        self.said = said
        self._ids = count(1)
        self._blanks: dict[str, Any] = {"turn": UUID, "turns": [UUID], "block": 0, "cost": 0.5}
        self._blanks |= {"skills": ["verify"], "resets": 2_000_000_000, "usage": {"n": 1}}
        self._blanks |= {"tool": "toolu_1", "tool_input": {"command": "echo hi"}, "output": "hi"}
        self._blanks |= {"attempt": 1, "retries": 10, "retry_ms": 500, "retry_status": 529}
        self._blanks |= {"retry_error": "overloaded", "text": "", **blanks}

    def play(self, *names: str, steps: int | None = None) -> Record:
        """Play scenes to their ends, or only the first `steps` of each."""
        for name in names:
            for step in scenes.load(name)[:steps]:
                if isinstance(step, scenes.Line):
                    line = step.fill(lambda blank: json.dumps(self._value(blank)))
                    self.events += self.answer.read(json.loads(line))
                else:
                    self._cues[step["cue"]](self, step)
        return self

    def _value(self, blank: str) -> Any:
        return self._blanks.get(blank, f"a-{blank}")

    def _message(self, _: dict[str, Any]) -> None:
        self._blanks["message"] = f"msg_{next(self._ids)}"
        self._blanks["block"] = 0

    def _tokens(self, cue: dict[str, Any]) -> None:
        self._speak("token", words(cue.get("text", self.said))[: cue.get("limit")])

    def _thoughts(self, _: dict[str, Any]) -> None:
        self._speak("thought", ["thought 1 ", "thought 2 "])

    def _speak(self, scene: str, tokens: list[str]) -> None:
        for token in tokens:
            self._blanks["token"] = token
            self.play(scene)
        self._blanks["text"] = "".join(tokens)

    def block(self, text: str) -> Record:
        """What the CLI confirms next says this."""
        self._blanks["text"] = text
        return self

    _cues: dict[str, Callable[[Record, dict[str, Any]], Any]] = {  # noqa: RUF012 - a table
        "message": _message,
        "tokens": _tokens,
        "thoughts": _thoughts,
        "tool": lambda *_: None,
        "state": lambda *_: None,
        "block": lambda self, cue: self._blanks.update(block=cue["index"]),
        "play": lambda self, cue: self.play(cue["scene"]),
    }

    @property
    def streamed(self) -> str:
        """The text as a client has it that follows tokens and replacements."""
        text = ""
        for event in self.events:
            if isinstance(event, Token):
                text += event.text
            elif isinstance(event, Replace):
                text = event.text
        return text

    @property
    def joined(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Token))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def states(self) -> Iterator[str]:
        return (event.state for event in self.of(Status))


def test_a_plain_answer_is_its_tokens_and_an_untouched_result():
    played = Record("w1 w2 w3").play("opening", "answer", "success")
    result = played.answer.result
    assert [event.text for event in played.of(Token)] == ["w1 ", "w2 ", "w3"]
    assert result.text == played.answer.text == "w1 w2 w3"
    assert (result.error, result.interrupted, result.replaced) == (None, False, False)
    assert result.usage == {"n": 1}
    assert result.cost_usd == 0.5
    assert played.answer.used_tools is False


def test_the_opening_tells_the_skills_and_that_the_model_is_asked():
    played = Record().play("opening")
    assert played.answer.skills == ("verify",)
    assert list(played.states()) == ["requesting"]
    assert played.answer.result is None


def test_two_messages_with_a_tool_between_them_are_parted_by_a_blank_line():
    played = Record("w1 w2").play("opening", "tool", "requesting", "answer_again", "success")
    assert played.answer.result.text == "Let me look. \n\nw1 w2"
    assert played.joined == played.answer.result.text
    assert played.answer.result.replaced is False


def test_a_tool_call_and_what_it_gave_back_are_events_in_order():
    played = Record().play("opening", "tool", "answer_again", "success")
    assert played.of(ToolUse) == [ToolUse("toolu_1", "Bash", {"command": "echo hi"})]
    assert played.of(ToolResult) == [ToolResult("toolu_1", "hi", is_error=False)]
    kinds = [type(event) for event in played.events]
    assert kinds.index(ToolUse) < kinds.index(ToolResult) < len(kinds) - kinds[::-1].index(Token)
    assert played.answer.used_tools is True


def test_thinking_is_told_but_is_no_part_of_the_answer():
    played = Record("w1 w2").play("opening", "thinking", "success")
    assert played.of(Thinking) == [Thinking("thought 1 "), Thinking("thought 2 ")]
    assert played.joined == played.answer.result.text == "w1 w2"


def test_of_a_sub_agent_its_tools_are_told_and_nothing_that_it_says():
    played = Record("w1 w2").play("opening", "subagent", "answer_again", "success")
    assert played.answer.result.text == played.joined == "Let me ask an agent. \n\nw1 w2"
    agent, inner = played.of(ToolUse)
    assert (agent.name, agent.parent_id) == ("Agent", None)
    assert (inner.name, inner.parent_id) == ("Bash", agent.id)
    assert [given.id for given in played.of(ToolResult)] == [inner.id, agent.id]
    assert [each.state for each in played.of(Subagent)][:: len(played.of(Subagent)) - 1] == [
        "started",
        "ended",
    ]


def test_a_connection_that_breaks_once_leaves_the_second_answer_alone():
    played = Record("w1 w2 w3 w4").play("opening", "broken_stream", "api_retry")
    played.play("broken_then_streamed", "success")
    result = played.answer.result
    assert result.text == "w1 w2 w3 w4"
    assert played.streamed == result.text
    assert result.replaced is True
    assert played.of(Replace)


def test_a_connection_that_breaks_twice_leaves_the_unstreamed_answer_alone():
    played = Record("w1 w2 w3 w4").play("opening", "broken_stream", "api_retry")
    played.play("broken_stream_again").block("Quite another answer.")
    played.play("broken_answer", "success")
    result = played.answer.result
    assert result.text == "Quite another answer."
    assert played.streamed == result.text
    assert result.replaced is True


def test_what_stands_before_a_broken_message_is_kept():
    played = Record("w1 w2 w3").play("opening", "tool", "requesting", "broken_stream")
    played.play("broken_then_streamed", "success")
    assert played.answer.result.text == played.streamed == "Let me look. \n\nw1 w2 w3"


def test_a_retry_tells_what_went_wrong_and_when_the_next_try_is():
    played = Record().play("opening", "api_retry")
    *_, status = played.of(Status)
    facts = {"attempt": 1, "max_retries": 10, "retry_delay_ms": 500}
    assert status == Status("api_retry", {**facts, "error_status": 529, "error": "overloaded"})


def test_a_retry_without_a_status_has_no_such_fact():
    (*_, status) = Record(retry_status=None).play("opening", "api_retry").of(Status)
    assert "error_status" not in status.facts


def test_a_compaction_is_told_and_adds_no_text():
    played = Record("w1").play("opening", "compaction", "answer", "success")
    assert list(played.states()) == ["requesting", "compacting", "compact_boundary"]
    assert played.answer.result.text == played.joined == "w1"


@pytest.mark.parametrize("where", ["text", "thinking", "tool", "waiting"])
def test_an_interrupt_is_seen_wherever_it_struck(where):
    played = Record().play("opening", f"interrupted_{where}")
    assert played.answer.result.interrupted is True


def test_the_text_before_an_interrupt_is_kept_once():
    played = Record("w1 w2 w3").play("opening").play("answer", steps=4).play("interrupted_text")
    result = played.answer.result
    assert result.text == played.joined == "w1 w2 w3"
    assert (result.interrupted, result.replaced) == (True, False)


def test_an_interrupted_tool_gives_an_error_back():
    played = Record().play("opening").play("tool", steps=10).play("interrupted_tool")
    assert [given.is_error for given in played.of(ToolResult)] == [True]


def test_the_result_of_a_turn_that_nobody_asked_for_is_not_ours():
    played = Record().play("unsolicited")
    assert played.answer.result is None
    assert played.answer.text == played.streamed == ""


def test_our_answer_after_a_turn_that_nobody_asked_for_is_ours_alone():
    played = Record("w1 w2").play("unsolicited", "opening", "answer", "success")
    assert played.answer.result.text == played.streamed == "w1 w2"


@pytest.mark.parametrize(
    ("scene", "kind"),
    [
        ("fail_401", ClaudeNotAuthenticated),
        ("fail_not_logged_in", ClaudeNotAuthenticated),
        ("fail_429", ClaudeRateLimited),
        ("fail_429_key", ClaudeRateLimited),
        ("fail_529", ClaudeOverloaded),
        ("fail_500", ClaudeApiError),
        ("fail_unreachable", ClaudeApiError),
        ("fail_refusal", RequestRefused),
        ("fail_max_turns", ClaudeFailed),
    ],
)
def test_a_failure_is_an_error_and_never_text(scene, kind):
    played = Record("w1 w2").play("opening", scene)
    result = played.answer.result
    assert type(result.error) is kind
    assert "API Error" not in result.text + played.streamed
    assert "/login" not in result.text + played.streamed
    assert result.interrupted is False


def test_a_spent_limit_says_when_it_ends():
    played = Record().play("opening", "fail_429")
    (status,) = [event for event in played.of(Status) if event.state == "rate_limit"]
    assert status.facts["status"] == "rejected"
    assert status.facts["resetsAt"] == 2_000_000_000
    assert played.answer.result.error.retry_after > 0


def test_a_limit_that_nobody_dated_names_no_time():
    assert Record().play("opening", "fail_429_key").answer.result.error.retry_after is None


def test_a_resume_of_an_unknown_session_is_an_error():
    played = Record(error="No conversation found with session ID: x")
    played.answer.read({"type": "system", "subtype": "init"})
    played.play("resume_unknown")
    assert isinstance(played.answer.result.error, ClaudeFailed)
