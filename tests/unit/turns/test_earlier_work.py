"""What a turn's processes have done that were gone before its end is in its end."""

from __future__ import annotations

import pytest

from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.result import Result
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.spending import spent_in


def told(given, taken, cost):
    return {
        "input_tokens": given,
        "output_tokens": taken,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cost_usd": cost,
    }


BEFORE = EarlierWork(
    usage={"input_tokens": 10, "output_tokens": 1},
    usage_by_model={"big": told(12, 3, 0.5)},
    files_changed=("a.txt", "b.txt"),
    permission_denials=({"tool": "Write", "input": {}, "why": "no"},),
)
LAST = Result(
    "said",
    usage={"input_tokens": 5, "output_tokens": 2, "service_tier": "standard"},
    cost_usd=0.25,
    spent=told(5, 2, 0),
    usage_by_model={"big": told(4, 1, 0.125), "small": told(1, 1, 0.125)},
    files_changed=("b.txt", "c.txt"),
    permission_denials=({"tool": "Bash", "input": {}, "why": None},),
)


def test_the_end_is_the_whole_turns():
    whole = BEFORE.before(LAST)
    assert (whole.text, whole.cost_usd) == ("said", 0.75)
    assert whole.usage["service_tier"] == "standard"
    assert (whole.usage["input_tokens"], whole.usage["output_tokens"]) == (15, 3)
    assert whole.usage_by_model == {"big": told(16, 4, 0.625), "small": told(1, 1, 0.125)}
    assert whole.files_changed == ("a.txt", "b.txt", "c.txt")
    assert [each["tool"] for each in whole.permission_denials] == ["Write", "Bash"]
    assert [(each.model, each.cost_usd) for each in spent_in(whole)] == [
        ("big", 0.625),
        ("small", 0.125),
    ]


def test_where_there_was_none_the_end_is_what_it_was():
    assert EarlierWork().before(LAST) is LAST
    assert not EarlierWork()
    assert not EarlierWork.of_result(Result("said"))


def test_it_is_kept_as_json():
    assert EarlierWork.from_json(BEFORE.as_json()) == BEFORE
    assert not EarlierWork.from_json(EarlierWork().as_json())
    assert not EarlierWork.from_json({})


def test_what_a_cost_is_not_known_of_counts_as_tokens():
    unknown = EarlierWork(usage_by_model={"big": told(1, 1, None)})
    assert unknown.before(Result("")).cost_usd is None
    assert unknown.before(LAST).cost_usd == 0.25
    assert unknown.before(LAST).usage_by_model["big"] == told(5, 2, 0.125)
    (spent,) = spent_in(unknown.before(Result("")))
    assert (spent.usage.input_tokens, spent.cost_usd) == (1, 0.0)


def stream(event, **more):
    return {"type": "stream_event", "event": event, **more}


def request(message_id, model, given, taken):
    """The messages of a request that is answered in full."""
    usage = {"input_tokens": given, "output_tokens": 1, "cache_read_input_tokens": None}
    body = {"id": message_id, "model": model, "usage": usage}
    delta = {"stop_reason": "tool_use"}
    return [
        stream({"type": "message_start", "message": body}),
        stream({"type": "message_delta", "delta": delta, "usage": {"output_tokens": taken}}),
        stream({"type": "message_stop"}),
    ]


def test_a_process_without_a_result_has_taken_what_its_stream_told():
    answer = AnswerParser("u")
    answer.read({"type": "system", "subtype": "init", "user_message_uuids": ["u"]})
    assert answer.cut_off().usage is None
    for message in [*request("m1", "big", 10, 5), *request("m2", "small", 3, 2)]:
        answer.read(message)
    # Each once, and as far as the third has come.
    (begun, *_) = request("m3", "big", 20, 9)
    answer.read(begun)
    cut = answer.cut_off()
    assert cut.usage_by_model == {"big": told(30, 6, None), "small": told(3, 2, None)}
    assert (cut.spent["input_tokens"], cut.spent["output_tokens"]) == (33, 8)
    assert (cut.cost_usd, cut.context_tokens) == (None, 21)


@pytest.mark.parametrize("count", [1, 30])
def test_models_without_end_are_counted_without_their_names(count):
    answer = AnswerParser("u")
    answer.read({"type": "system", "subtype": "init", "user_message_uuids": ["u"]})
    for number in range(count):
        for message in request(f"m{number}", f"model-{number}", 1, 1):
            answer.read(message)
    cut = answer.cut_off()
    assert len(cut.usage_by_model) <= 21
    assert cut.spent["input_tokens"] == count
