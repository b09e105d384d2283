"""Lines of the CLI, both ways: cut, bounded, read, written."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.claude.stream_json import protocol
from cowork.claude.stream_json.protocol import LINE_LIMIT, Lines, LineTooLong

MIB = 2**20
BLOCK = 64 * 1024


def chunked(data, cuts):
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[begin:end] for begin, end in pairwise(places)]


bytes_with_ends = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\xc2\x85", b"\xe2\x80\xa8", b"{", b"ab", b"\x00"]),
    max_size=30,
).map(b"".join)


def fed(lines, block):
    """The lines that the block completes, without their ends."""
    return lines.feed(block).split(b"\n")[:-1]


@given(bytes_with_ends, st.lists(st.integers(0, 90), max_size=12))
def test_any_chunking_gives_what_splitting_on_lf_gives(data, cuts):
    lines, found = Lines(), []
    for block in chunked(data, cuts):
        found += fed(lines, block)
    *whole, _unfinished = data.split(b"\n")
    assert found == whole


@pytest.mark.parametrize("inside", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(inside):
    line = f"a{inside}b".encode()
    assert fed(Lines(), line + b"\n") == [line]


def test_a_line_of_exactly_the_limit_passes():
    assert fed(Lines(limit=10), b"x" * 10 + b"\n") == [b"x" * 10]


def test_a_line_of_exactly_the_limit_passes_in_two_parts():
    lines = Lines(limit=10)
    assert fed(lines, b"x" * 10) == []
    assert fed(lines, b"\n") == [b"x" * 10]


def test_an_unfinished_line_over_the_limit_is_refused_before_its_end():
    lines = Lines(limit=10)
    fed(lines, b"x" * 10)
    with pytest.raises(LineTooLong):
        lines.feed(b"x")


@pytest.mark.parametrize("before", [b"", b"short\n", b"a\nb\n"])
@pytest.mark.parametrize("behind", [b"", b"short\n", b"a\nb"])
def test_a_finished_line_over_the_limit_is_refused_wherever_it_stands(before, behind):
    with pytest.raises(LineTooLong):
        Lines(limit=10).feed(before + b"x" * 11 + b"\n" + behind)


def test_a_line_that_grows_over_the_limit_in_its_last_part_is_refused():
    lines = Lines(limit=10)
    lines.feed(b"x" * 6)
    with pytest.raises(LineTooLong):
        lines.feed(b"x" * 6 + b"\nnext\n")


def test_a_short_line_after_a_long_one_is_not_charged_for_it():
    lines = Lines(limit=10)
    for _ in range(5):
        lines.feed(b"x" * 9)
        assert fed(lines, b"\n") == [b"x" * 9]


def test_a_line_may_have_sixteen_mebibytes_and_not_one_byte_more():
    lines = Lines()
    block = b"x" * BLOCK
    for _ in range(LINE_LIMIT // BLOCK):
        assert fed(lines, block) == []
    assert [len(line) for line in fed(lines, b"\n")] == [LINE_LIMIT]
    for _ in range(LINE_LIMIT // BLOCK):
        fed(lines, block)
    with pytest.raises(LineTooLong):
        lines.feed(b"x")


def test_a_line_without_an_end_takes_no_more_than_its_limit():
    tracemalloc.start()
    try:
        lines = Lines(limit=MIB)
        for _ in range(MIB // BLOCK):
            lines.feed(b"x" * BLOCK)
        with pytest.raises(LineTooLong):
            lines.feed(b"x" * BLOCK)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


def test_many_lines_leave_nothing_behind():
    lines = Lines()
    block = b"y" * 99 + b"\n"
    tracemalloc.start()
    try:
        for _ in range(1000):
            lines.feed(block * 600)
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert left < BLOCK


GARBAGE = [
    *(b"", b" ", b"not json", b"{", b'{"type":', b"5", b"null", b"true", b'"text"', b"[1]", b"NaN"),
    *(b"{}", b'{"no":"type"}', b"\xff\xfe", b"\0\0", b'{"type":"x","t":"\xff"}', b"\xef\xbb\xbf{}"),
    *(b'{"type":"a"}{"type":"b"}', b"[" * 5000 + b"]" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000),
]


@pytest.mark.parametrize("line", GARBAGE, ids=lambda line: repr(line[:24]))
def test_what_is_no_message_is_none(line):
    assert protocol.parse(line) is None


@given(st.binary(max_size=60))
def test_no_bytes_break_the_parser(line):
    message = protocol.parse(line)
    assert message is None or "type" in message


@pytest.mark.parametrize("kind", ["null", "5", "[]", "{}", "[1]", '{"a":1}'])
def test_a_message_has_a_word_for_its_type(kind):
    message = protocol.parse(b'{"type":%s}' % kind.encode())
    assert message is None or isinstance(message["type"], str)


def test_a_message_is_parsed_whatever_is_around_it():
    assert protocol.parse(b' {"type":"x","n":1}\r') == {"type": "x", "n": 1}


def without_lone_surrogates(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# Pairs of backslashes, halves of pairs and their look-alikes, in any order.
tricky = st.lists(
    st.sampled_from(["\\", "\\u", "\ud83d", "\ude00", "\U0001f600", "ud83d", "ude00", "x", '"']),
    max_size=8,
).map("".join)


@given(tricky)
def test_a_lone_surrogate_is_read_as_the_replacement_character(text):
    text = json.loads(json.dumps(text))  # two halves that meet are a pair, as for any reader
    line = json.dumps({"type": "x", "text": text}).encode()
    assert protocol.parse(line) == {"type": "x", "text": without_lone_surrogates(text)}


def test_a_lone_surrogate_costs_no_more_of_the_message_than_itself():
    line = rb'{"type":"x","a":"\ud83d","b":"\ud83d\ude00","c":"\ude00\ud83d","d":"\\ud83d"}'
    message = protocol.parse(line)
    assert [message[key] for key in "abc"] == ["\ufffd", "\U0001f600", "\ufffd\ufffd"]


anything = st.text(st.characters(exclude_categories=()), max_size=40)


@given(anything)
def test_a_question_is_one_line_whatever_it_says(text):
    line = protocol.encode(protocol.user_message(text, "u"))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert json.loads(line)["message"] == {"role": "user", "content": json.loads(json.dumps(text))}


@pytest.mark.parametrize("text", ["\ud800", "a\n\r\x00\x1b\x85\u2028b", "\ufeff", "\x7f" * 3, ""])
def test_what_is_awkward_is_one_line_too(text):
    line = protocol.encode(protocol.user_message(text, "u"))
    assert line.count(b"\n") == 1
    assert line.decode().isprintable() or "\ud800" not in line.decode()
    assert json.loads(line)["message"]["content"] == text


def test_a_question_has_the_shape_that_the_cli_takes():
    assert protocol.user_message("hi", "u") == {
        "type": "user",
        "message": {"role": "user", "content": "hi"},
        "uuid": "u",
    }


def test_a_control_request_names_itself_and_its_fields():
    assert protocol.control_request("r1", "set_model", model="m") == {
        "type": "control_request",
        "request_id": "r1",
        "request": {"subtype": "set_model", "model": "m"},
    }


def test_what_the_cli_asks_of_us_is_refused_by_its_id():
    refused = protocol.control_refusal("r9")
    assert refused["type"] == "control_response"
    assert refused["response"]["request_id"] == "r9"
    assert refused["response"]["subtype"] == "error"


@pytest.mark.parametrize(
    "message",
    [{}, {"message": None}, {"message": 5}, {"message": {"content": "x"}}, {"message": []}],
)
def test_content_of_an_odd_shape_has_no_blocks(message):
    assert list(protocol.content_blocks(message)) == []


def test_blocks_that_are_no_objects_are_passed_over():
    message = {"message": {"content": [1, {"type": "text"}, None]}}
    assert list(protocol.content_blocks(message)) == [{"type": "text"}]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ([{"text": "a"}, {"text": ""}, {"type": "image"}, 5, {"text": 7}, {"text": "b"}], "a\nb"),
        (None, ""),
        (5, ""),
        ({}, ""),
    ],
)
def test_the_text_of_a_tools_result(content, text):
    assert protocol.text_of(content) == text


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        ({"remote_control_available": True, "remote_control_auto_enable": False}, True),
        ({"remote_control_available": False, "remote_control_auto_enable": True}, True),
        ({"remote_control_available": False, "remote_control_auto_enable": False}, False),
        ({"remote_control_auto_enable": True}, True),
        ({"remote_control_available": "yes"}, False),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_fault_s10_whether_a_cli_can_be_steered_from_elsewhere(begun, told):
    assert protocol.offers_remote_control(begun) is told


def piped(lines, data, size=protocol.HEAD):
    """What comes of the data, in blocks of that size."""
    return b"".join(lines.feed(data[at : at + size]) for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [7, 1000, 10**9])
@pytest.mark.parametrize("before", ["", '"uuid":"a\\"b","n":null,'])
def test_fault_t4_a_too_long_line_for_the_model_is_replaced_by_a_short_one(size, before):
    start = f'{{{before}"type":"user","message":{{"content":[{{"tool_use_id":"toolu_1","data":"'
    long = start.encode() + b"x" * 20_000 + b'"}]}}\n'
    lines = protocol.Lines(limit=10_000)
    first, cut, last = piped(lines, b'{"a":1}\n' + long + b'{"b":2}\n', size).splitlines()
    assert (first, last) == (b'{"a":1}', b'{"b":2}')
    message = protocol.parse(cut)
    assert message["truncated"] is True
    assert message["message"]["content"][0]["tool_use_id"] == "toolu_1"
    assert lines.feed(b'{"c":3}\n') == b'{"c":3}\n'


@pytest.mark.parametrize("size", [7, 1000, 10**9])
@pytest.mark.parametrize("kind", ["assistant", "result", "stream_event"])
def test_a_too_long_line_of_another_kind_is_not_let_go(kind, size):
    long = b'{"type":"%b","text":"\\"type\\":\\"user\\",' % kind.encode() + b"x" * 20_000
    with pytest.raises(protocol.LineTooLong):
        piped(protocol.Lines(limit=10_000), long + b"\n", size)


def test_fault_t4_a_line_that_is_let_go_takes_no_memory():
    lines, block = protocol.Lines(), b"x" * 65_536
    tracemalloc.start()
    try:
        lines.feed(b'{"type":"user","message":"')
        for _ in range(51 * 16):
            lines.feed(bytes(block))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * protocol.LINE_LIMIT
    assert lines._size == 0


@pytest.mark.parametrize("noise", ["npm notice ", "{ not json ", "\u001b[0m"])
def test_fault_t10_a_message_behind_noise_on_its_line_is_read(noise):
    message = {"type": "result", "result": "ok"}
    assert protocol.parse(f"{noise}{json.dumps(message)}".encode()) == message


def test_fault_t10_a_delta_behind_noise_is_read_too():
    delta = {"type": "stream_event", "event": {"delta": {"text": "half \ud83d"}}}
    assert protocol.parse(b"npm notice " + json.dumps(delta).encode()) == delta
