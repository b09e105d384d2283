"""Blocks of text deltas take a short way; it must come to the same as the long one."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.claude.stream_json import protocol
from cowork.claude.stream_json.answer import AnswerParser
from cowork.events import Token, TokenBatch
from cowork.turns.event_log import EventLog
from tests.fake_claude.stage import scenes


def delta(text, *, order="recorded", ascii_only=False, parent=None, **tail):
    """A text delta's line; with `order` "api" as the model's service orders it."""
    written = {"type": "text_delta", "text": text}
    event = {"index": 0, "delta": written, "type": "content_block_delta"}
    if order == "api":
        event = {"type": "content_block_delta", "index": 0, "delta": written}
    line = {
        "type": "stream_event",
        "event": event,
        "session_id": "5106f32a-7810-4b0b-bdb8-d8a06939b07b",
        "parent_tool_use_id": parent,
        "uuid": "dc768d3a-ac14-474b-bdb3-221a700c19da",
        **tail,
    }
    dumped = json.dumps(line, separators=(",", ":"), ensure_ascii=ascii_only)
    return dumped.encode("utf-8", "surrogatepass") + b"\n"


def message(event, parent=None):
    line = {"type": "stream_event", "event": event, "session_id": "s"}
    return json.dumps({**line, "parent_tool_use_id": parent}, separators=(",", ":")).encode()


START = message({"type": "message_start", "message": {"id": "m1"}})
BLOCK_START = message(
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
)


def the_long_way(answer, lines):
    events = []
    for line in lines.split(b"\n")[:-1]:
        events += answer.read(protocol.parse(line))
    return events


def begun():
    """An answer whose first message has begun."""
    answer = AnswerParser("u")
    answer.read({"type": "system", "subtype": "init"})
    the_long_way(answer, START + b"\n")
    return answer


def logged(events):
    log = EventLog()
    for event in events:
        log.append(event)
    return list(log.read(0))


def filled(blanks, blank):
    return json.dumps(blanks.get(blank, f"a-{blank}"))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    st.lists(texts, min_size=1, max_size=12),
    st.sampled_from(["recorded", "api"]),
    st.booleans(),
    st.booleans(),
)
def test_a_run_comes_to_the_same_as_its_lines(said, order, ascii_only, after_a_message):
    lines = b"".join(delta(text, order=order, ascii_only=ascii_only) for text in said)
    long_way, short_way = begun(), begun()
    for answer in (long_way, short_way):
        if after_a_message:  # what comes now begins with a blank line
            the_long_way(answer, START + b"\n" + delta("before"))
            the_long_way(answer, START.replace(b"m1", b"m2") + b"\n")
    expected = the_long_way(long_way, lines)
    run = protocol.text_run(lines)
    assert run is not None
    events = short_way.read_run(run)
    assert isinstance(events, TokenBatch)
    assert logged([events]) == logged(expected)
    assert short_way.text == long_way.text


def test_every_delta_of_a_run_is_an_event_of_its_own():
    run = protocol.text_run(delta("a") + delta("\n\n") + delta('"'))
    assert logged([begun().read_run(run)]) == [Token("a"), Token("\n\n"), Token('"')]


def test_the_cli_that_was_recorded_writes_runs():
    (line,) = scenes.load("token")
    for token in ("word ", 'é\n"quoted" \\ 😀'):
        written = line.fill(partial(filled, {"token": token, "block": 0}))
        run = protocol.text_run(written.encode() + b"\n")
        assert run is not None
        assert run.text == token


NO_RUNS = {
    "nothing": b"",
    "a sub-agent's": delta("a", parent="toolu_1"),
    "one of a sub-agent's": delta("a") + delta("b", parent="toolu_1"),
    "an empty delta": delta(""),
    "an empty delta between": delta("a") + delta("") + delta("b"),
    "thinking": delta("a").replace(b"text_delta", b"thinking_delta"),
    "a tool's input": delta("a").replace(b"text_delta", b"input_json_delta"),
    "the start of a block": BLOCK_START + b"\n",
    "a start before": START + b"\n" + delta("a"),
    "a start behind": delta("a") + START + b"\n",
    "a blank line": delta("a") + b"\n",
    "no end": delta("a")[:-1],
    "a tail that is no JSON": delta("a").replace(b"}\n", b',"x":}\n'),
    "something behind": delta("a").replace(b"}\n", b"}}\n"),
    "two on one line": delta("a")[:-1] + delta("b"),
    "something before": b"x" + delta("a"),
    "something before the second": delta("a") + b"x" + delta("b"),
    "an escape that is none": delta("a").replace(b'"a"', rb'"\x41"'),
    "a control character": delta("a").replace(b'"a"', b'"\x01"'),
    "half a surrogate": delta("a").replace(b'"a"', rb'"\ud800"'),
    "half a surrogate in bytes": delta("\ud800"),
    "no UTF-8": delta("a").replace(b'"a"', b'"\xff"'),
    "a structured tail": delta("a", extra={"a": 1}),
    "text that looks like a line": delta(delta("a").decode() + "b").replace(b'\\"', b'"'),
}


@pytest.mark.parametrize("lines", NO_RUNS.values(), ids=NO_RUNS)
def test_what_is_not_all_text_goes_the_long_way(lines):
    assert protocol.text_run(lines) is None


def test_text_that_quotes_a_line_is_text():
    quoted = delta("a").decode()
    run = protocol.text_run(delta(quoted) + delta(quoted))
    assert run is not None
    assert run.text == quoted * 2


def test_a_run_may_have_any_known_tail():
    run = protocol.text_run(delta("a", api_message_id="m", ttft_ms=14.5, nothing=None))
    assert run is not None
    assert run.text == "a"


def test_blocks_too_large_to_be_runs_are_not_searched():
    assert protocol.text_run(delta("a" * protocol.RUN_LIMIT)) is None


def test_a_block_falls_apart_into_runs_and_other_lines_in_order():
    start = START + b"\n"
    other = BLOCK_START + b"\n"
    block = start + delta("a") + delta("b") + other + delta("c") + b"\n" + b"junk\n" + delta("d")
    found = [
        part.text if isinstance(part, protocol.TextRun) else part for part in protocol.parts(block)
    ]
    assert found == [START, "ab", other[:-1], "c", b"", b"junk", "d"]


@given(st.lists(st.sampled_from([*NO_RUNS.values(), START + b"\n", delta("ab"), delta("é")])))
def test_no_line_of_a_block_is_lost(lines):
    block = b"".join(line if line.endswith(b"\n") else b"" for line in lines)
    rebuilt = 0
    for part in protocol.parts(block):
        rebuilt += len(part.literals) if isinstance(part, protocol.TextRun) else 1
    assert rebuilt == block.count(b"\n")
