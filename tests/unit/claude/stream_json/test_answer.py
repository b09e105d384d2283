"""Messages of the CLI become events and a result, in the shapes that no recording holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cowork.claude.stream_json.answer import AnswerParser
from cowork.errors import ClaudeFailed, ClaudeNotAuthenticated, ClaudeOverloaded
from cowork.events import Replace, Status, Token, ToolResult, ToolUse

UUID = "the-question"


class Chat:
    """Speaks to an `AnswerParser` as the CLI does; its turn has begun."""

    def __init__(self) -> None:
        self.answer = AnswerParser(UUID)
        self.events = []
        self.send("system", subtype="init")

    def send(self, kind, **fields):
        self.events += self.answer.read({"type": kind, **fields})
        return self

    def stream(self, kind, **fields):
        return self.send("stream_event", event={"type": kind, **fields}, parent_tool_use_id=None)

    def start(self, name="m1"):
        return self.stream("message_start", message={"id": name})

    def deltas(self, *texts):
        for text in texts:
            self.stream("content_block_delta", delta={"type": "text_delta", "text": text})
        return self

    def confirm(self, *texts, name="m1", **fields):
        blocks = [{"type": "text", "text": text} for text in texts]
        return self.send("assistant", message={"id": name, "content": blocks}, **fields)

    def stop(self, reason="end_turn"):
        return self.stream("message_delta", delta={"stop_reason": reason}).stream("message_stop")

    def result(self, **fields):
        given = {"subtype": "success", "is_error": False, "result": "", **fields}
        return self.send("result", **given)

    @property
    def text(self):
        return self.answer.result.text

    @property
    def joined(self):
        return "".join(event.text for event in self.events if isinstance(event, Token))

    @property
    def streamed(self):
        text = ""
        for event in self.events:
            if isinstance(event, Replace):
                text = event.text
            elif isinstance(event, Token):
                text += event.text
        return text


cuts = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12)


@given(cuts)
def test_any_cut_of_a_text_into_deltas_gives_the_same_text(pieces):
    whole = "".join(pieces)
    chat = Chat().start().deltas(*pieces).confirm(whole).stop().result(result=whole)
    assert chat.text == chat.joined == whole
    assert chat.answer.result.replaced is False


@given(st.lists(cuts, min_size=1, max_size=4))
def test_joined_tokens_are_the_text_however_many_messages_there_are(messages):
    chat = Chat()
    for number, pieces in enumerate(messages):
        chat.start(f"m{number}").deltas(*pieces).confirm("".join(pieces), name=f"m{number}")
        chat.stop("tool_use")
    chat.result()
    assert chat.joined == chat.text == "\n\n".join("".join(pieces) for pieces in messages)


@given(cuts, st.text(max_size=20))
def test_a_client_that_follows_replacements_always_has_the_text(pieces, final):
    chat = Chat().start().deltas(*pieces).confirm(final).stop().result(result="x")
    assert chat.streamed == chat.text
    assert (chat.text == chat.joined) or chat.answer.result.replaced


def test_a_message_without_deltas_gives_tokens():
    chat = Chat().confirm("whole", name="m9").result()
    assert chat.events == [Token("whole")]
    assert chat.text == "whole"


def test_a_message_that_was_streamed_in_part_is_completed():
    chat = Chat().start().deltas("half ").confirm("half and half").stop().result()
    assert chat.joined == chat.text == "half and half"
    assert chat.answer.result.replaced is False


def test_a_text_that_differs_from_its_deltas_replaces_them():
    chat = Chat().start().deltas("wrong").confirm("right").stop().result()
    assert chat.events[-1] == Replace("right")
    assert chat.text == "right"
    assert chat.answer.result.replaced is True


def test_a_text_that_differs_in_outer_blanks_only_is_not_told_again():
    chat = Chat().start().deltas("said \n").confirm("said").stop().result()
    assert chat.events == [Token("said \n")]
    assert chat.text == chat.joined
    assert chat.answer.result.replaced is False


def test_a_stream_that_starts_again_without_an_end_takes_back_what_it_said():
    chat = Chat().start().deltas("lost ").start("m2").deltas("found").confirm("found", name="m2")
    chat.stop().result()
    assert chat.events == [Token("lost "), Replace(""), Token("found")]
    assert chat.text == chat.streamed == "found"
    assert chat.answer.result.replaced is True


def test_a_second_start_before_any_text_takes_nothing_back():
    chat = Chat().start().start("m2").deltas("found").confirm("found", name="m2").stop().result()
    assert chat.events == [Token("found")]
    assert chat.answer.result.replaced is False


def test_a_message_asked_again_without_streaming_takes_the_place_of_its_deltas():
    chat = Chat().start("m1").deltas("lost").confirm("other", name="m2").result()
    assert chat.text == chat.streamed == "other"


def test_two_blocks_of_one_message_follow_without_a_blank_line():
    chat = Chat().start().deltas("a").confirm("a").deltas("b").confirm("b").stop().result()
    assert chat.text == chat.joined == "ab"


def test_a_message_cut_by_max_tokens_goes_on_without_a_blank_line():
    chat = Chat().start().deltas("mid-sen").confirm("mid-sen").stop("max_tokens")
    chat.start("m2").deltas("tence").confirm("tence", name="m2").stop().result(result="tence")
    assert chat.text == chat.joined == "mid-sentence"


def test_an_empty_message_leaves_no_blank_line():
    chat = Chat().start().stop("tool_use").start("m2").deltas("x").confirm("x", name="m2").stop()
    chat.result()
    assert chat.text == chat.joined == "x"


def synthetic(chat, text, **fields):
    message = {"model": "<synthetic>", "content": [{"type": "text", "text": text}]}
    return chat.send("assistant", message=message, **fields)


def test_an_unknown_commands_text_is_the_answer():
    chat = synthetic(Chat(), "Unknown command: /x").result(result="Unknown command: /x")
    assert chat.events == [Token("Unknown command: /x")]
    assert chat.text == "Unknown command: /x"
    assert chat.answer.result.error is None


def test_a_command_that_says_nothing_but_its_result_answers_with_that():
    assert Chat().result(result="Cost: $0").text == "Cost: $0"


def test_the_words_of_an_api_error_are_no_token():
    chat = synthetic(Chat(), "API Error: 529", error="overloaded")
    chat.result(is_error=True, result="API Error: 529")
    assert chat.events == []
    assert chat.text == ""
    assert isinstance(chat.answer.result.error, ClaudeOverloaded)


def test_a_synthetic_message_after_an_answer_adds_nothing():
    chat = Chat().start().deltas("x").confirm("x").stop()
    synthetic(chat, "No response requested.").result(result="x")
    assert chat.text == chat.joined == "x"


def test_the_kind_of_a_failure_comes_from_the_message_before_its_result():
    chat = synthetic(Chat(), "?", error="authentication_failed").result(is_error=True, result="?")
    assert isinstance(chat.answer.result.error, ClaudeNotAuthenticated)


@pytest.mark.parametrize("is_error", [None, "no", 1, 0, []])
def test_a_result_that_does_not_say_it_is_no_error_is_one(is_error):
    assert Chat().result(is_error=is_error).answer.result.error is not None


def test_a_failed_turn_keeps_its_partial_text():
    chat = Chat().start().deltas("half").result(subtype="error_during_execution", is_error=True)
    assert chat.text == "half"
    assert isinstance(chat.answer.result.error, ClaudeFailed)


def test_a_result_of_another_question_is_not_the_end():
    chat = Chat().start().deltas("theirs").result(user_message_uuids=["another"])
    assert chat.answer.result is None
    assert chat.events[-1] == Replace("")
    chat.send("system", subtype="init", user_message_uuids=[UUID])
    assert chat.start("m2").deltas("ours").result(user_message_uuids=[UUID]).text == "ours"


def test_a_result_with_an_origin_is_not_the_end():
    assert Chat().result(origin={"kind": "task-notification"}).answer.result is None


def test_an_origin_does_not_matter_where_the_question_is_named():
    chat = Chat().result(origin={"kind": "human"}, user_message_uuids=[UUID], result="x")
    assert chat.answer.result is not None


def test_what_has_a_parent_is_not_ours():
    chat = Chat().confirm("inner", parent_tool_use_id="toolu_1")
    chat.stream("content_block_delta", delta={"type": "text_delta", "text": ""})
    assert chat.events == []


def calling(tool):
    """A turn whose model has called a tool."""
    block = {"type": "tool_use", "id": tool, "name": "X", "input": {}}
    return Chat().start().send("assistant", message={"id": "m1", "content": [block]})


def test_a_tools_result_is_cut_at_64_kib():
    block = {"type": "tool_result", "tool_use_id": "t", "content": "x" * 100_000}
    (_, event) = calling("t").send("user", message={"content": [block]}).events
    assert event == ToolResult("t", "x" * 65_536, is_error=False, truncated=True)


def test_a_tools_result_may_be_a_list_of_blocks():
    content = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    block = {"type": "tool_result", "tool_use_id": "t", "content": content, "is_error": True}
    (_, event) = calling("t").send("user", message={"content": [block]}).events
    assert event == ToolResult("t", "a\nb", is_error=True)


def test_a_tool_call_without_an_input_has_an_empty_one():
    message = {"id": "m1", "content": [{"type": "tool_use", "id": "t", "name": "X", "input": 5}]}
    assert Chat().start().send("assistant", message=message).events == [ToolUse("t", "X", {})]


def test_what_the_cli_does_on_its_own_is_a_status():
    assert Chat().send("system", subtype="compact_boundary").events == [Status("compact_boundary")]
    facts = {"trigger": "overloaded", "original_model": "a", "fallback_model": "b"}
    changed = Chat().send("system", subtype="model_fallback", content="Switched", **facts)
    assert changed.events == [Status("model_changed", facts)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
fields = st.sampled_from(
    ["message", "event", "subtype", "rate_limit_info", "status", "skills", "usage", "delta"]
)
kinds = st.sampled_from(["stream_event", "assistant", "user", "system", "rate_limit_event", "new"])


@example([("system", {"subtype": []})])
@given(st.lists(st.tuples(kinds, st.dictionaries(fields, json_values, max_size=4)), max_size=5))
def test_no_message_of_an_unknown_shape_breaks_the_reading(messages):
    chat = Chat()
    for kind, given_fields in messages:
        chat.send(kind, **given_fields)
    assert chat.send("system", subtype="init").result(result="x").answer.result is not None


# -- answers that are values


def begun():
    """The answer to a question whose turn has begun."""
    return Chat().answer


def structured(value, said=None):
    found = {"type": "result", "subtype": "success", "is_error": False, "result": said}
    return {**found, "structured_output": value}


@pytest.mark.parametrize("value", [{"a": 5}, [1], "x", 0, False])
def test_a_value_is_the_answer_and_its_json_the_text(value):
    answer = begun()
    events = answer.read(structured(value, json.dumps(value)))
    assert answer.result.structured_output == value
    assert answer.result.text == json.dumps(value)
    assert [event.text for event in events] == [json.dumps(value)]
    assert answer.result.replaced is False


def test_a_value_whose_text_is_missing_is_written_down():
    answer = begun()
    answer.read(structured({"a": 5}))
    assert answer.result.text == '{"a":5}'


def test_a_value_takes_the_place_of_what_was_written_beside_it():
    answer = begun()
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "I will ..."}}
    start = {"type": "message_start", "message": {"id": "m1"}}
    answer.read({"type": "stream_event", "event": start})
    answer.read({"type": "stream_event", "event": delta})
    events = answer.read(structured({"a": 5}, '{"a":5}'))
    assert answer.result.text == '{"a":5}'
    assert answer.result.replaced is True
    assert events == [Replace('{"a":5}')]


def test_an_error_has_no_value():
    answer = begun()
    answer.read(
        {**structured(None), "is_error": True, "subtype": "error_max_structured_output_retries"}
    )
    assert answer.result.structured_output is None
    assert answer.result.error.facts["reason"] == "error_max_structured_output_retries"


def test_fault_t4_a_tools_result_that_was_let_go_is_told_as_cut():
    block = {"type": "tool_result", "tool_use_id": "t"}
    (_, event) = calling("t").send("user", truncated=True, message={"content": [block]}).events
    assert event == ToolResult("t", "", is_error=False, truncated=True)


def test_fault_t4_a_result_that_names_no_tool_is_the_one_tools_that_runs():
    block = {"type": "tool_result", "tool_use_id": None}
    (_, event) = calling("t").send("user", truncated=True, message={"content": [block]}).events
    assert event.id == "t"
    assert calling("t").send("user", message={"content": [block]}).events[1:] == []


def test_fault_t4_what_a_sub_agents_tool_gave_back_is_not_told():
    block = {"type": "tool_result", "tool_use_id": "inner"}
    chat = calling("t").send("user", truncated=True, message={"content": [block]})
    assert len(chat.events) == 1


@pytest.mark.parametrize("pieces", [["a\ud83d", "\ude00b"], ["\ud83d", "\ude00"]])
def test_fault_t10_half_a_character_waits_for_its_other_half(pieces):
    whole = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16")
    chat = Chat().start().deltas(*pieces)
    assert chat.joined == chat.answer.text == whole
    chat.confirm(whole).stop().result(result=whole)
    assert chat.joined == chat.text == whole
    assert chat.answer.result.replaced is False


def test_fault_t10_half_a_character_alone_is_a_replacement_character():
    chat = Chat().start().deltas("a\ud83d", "b", "\ude00c").result(result="x")
    assert chat.joined == chat.text == "a\ufffdb\ufffdc"


@given(cuts, st.integers(1, 3))
def test_fault_t10_any_cut_between_two_halves_gives_the_same_text(pieces, size):
    units = "".join(pieces).encode("utf-16-le")
    parts = [
        units[at : at + 2 * size].decode("utf-16-le", "surrogatepass")
        for at in range(0, len(units), 2 * size)
    ]
    chat = Chat().start().deltas(*parts)
    assert chat.joined == chat.answer.text == "".join(pieces)
