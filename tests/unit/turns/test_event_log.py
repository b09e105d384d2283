"""A turn's log gives back what was put in, from any place, in bounded memory."""

from __future__ import annotations

import os
import tempfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.events import (
    Done,
    Failed,
    Replace,
    Status,
    Thinking,
    Token,
    TokenBatch,
    ToolResult,
    ToolUse,
)
from cowork.turns.event_log import BATCH_BYTES, SPILL_BYTES, EventLog

MIB = 2**20

text = st.text(max_size=20)
number = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_value = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
facts = st.dictionaries(text, json_value, max_size=3)
event = st.one_of(
    st.builds(Token, text),
    st.builds(Replace, text),
    st.builds(Thinking, text),
    st.builds(ToolUse, text, text, facts),
    st.builds(ToolResult, text, text, st.booleans()),
    st.builds(Status, text, facts),
    st.builds(Failed, text, text, facts),
    st.builds(
        Done,
        success=st.booleans(),
        message=text,
        session_id=st.none() | text,
        replaced=st.booleans(),
        usage=st.none() | facts,
        cost_usd=st.none() | st.floats(0, 9),
        duration_ms=st.none() | st.integers(0, 10**9),
    ),
)


def read_all(log, after=0):
    found = []
    while events := log.read(after + len(found)):
        found += events
    return found


@given(st.lists(event, max_size=25))
def test_events_are_read_back_equal_from_any_place(events):
    log = EventLog()
    for each in events:
        log.append(each)
    assert len(log) == len(events)
    for after in range(len(events) + 2):
        assert read_all(log, after) == events[after:]
    log.close()


@given(st.lists(event, max_size=25))
def test_a_log_that_was_dumped_is_loaded_equal(events):
    log = EventLog()
    for each in events:
        log.append(each)
    again = EventLog.load(b"".join(log.dump()))
    assert read_all(again) == read_all(log)
    assert (len(again), again.size, again.text()) == (len(log), log.size, log.text())
    again.append(Token("more"))
    assert read_all(again)[-1] == Token("more")


def test_a_large_log_is_dumped_in_pieces_and_loaded_into_a_file():
    log = filled(3000)
    pieces = list(log.dump())
    again = EventLog.load(b"".join(pieces))
    try:
        assert max(map(len, pieces)) <= BATCH_BYTES
        assert again.read(2999)[0] == token(2999)
        assert again._tail_from > 0
    finally:
        log.close()
        again.close()


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 7 + b"\x02\0", b"\0" * 7 + b"\x01\x20{}\n"])
def test_what_is_no_log_is_not_loaded(data):
    with pytest.raises(ValueError, match="not the log"):
        EventLog.load(data)


def test_an_event_keeps_its_kind():
    log = EventLog()
    log.append(Replace("x"))
    log.append(Thinking("x"))
    log.append(Token("x"))
    assert list(map(type, log.read(0))) == [Replace, Thinking, Token]


def test_an_empty_log_has_nothing_to_read():
    log = EventLog()
    assert (len(log.read(0)), len(log.read(5)), len(log), log.size) == (0, 0, 0, 0)


def test_reading_takes_nothing_out():
    log = EventLog()
    log.append(Token("a"))
    assert list(log.read(0)) == list(log.read(0)) == [Token("a")]


def test_a_token_that_no_encoding_has_does_not_break_the_log():
    log = EventLog()
    log.append(Token("a\ud800b"))
    log.append(Token("c"))
    assert list(log.read(1)) == [Token("c")]
    assert len(log.read(0)[0].text) == 3


def filled(kilobytes):
    """A log of tokens of one kilobyte each, quotes and line end included; no two are alike."""
    log = EventLog()
    for index in range(kilobytes):
        log.append(token(index))
    return log


def token(index):
    return Token(f"{index:>1021}")


def test_what_is_too_much_for_memory_is_read_back_from_any_place():
    log = filled(3000)
    try:
        border = log._tail_from // 1024
        assert 0 < border < 3000
        for after in {0, 1, 1500, border - 300, border - 1, border, border + 1, 2999}:
            assert log.read(after)[0] == token(after)
        assert read_all(log) == [token(index) for index in range(3000)]
    finally:
        log.close()


def test_a_batch_may_cross_the_border_between_file_and_memory():
    log = filled(1100)
    try:
        border = log._tail_from // 1024
        crossing = log.read(border - 10)
        assert len(crossing) > 20
        assert list(crossing) == [token(border - 10 + index) for index in range(len(crossing))]
    finally:
        log.close()


def test_writing_and_reading_may_alternate_beyond_the_border():
    log = filled(1100)
    try:
        for index in range(1100, 2300):
            log.read(index % 500)
            log.append(token(index))
            assert list(log.read(index)) == [token(index)]
        assert read_all(log, 1000) == [token(index) for index in range(1000, 2300)]
    finally:
        log.close()


def test_an_event_greater_than_a_batch_comes_alone():
    log = EventLog()
    big = Token("x" * (3 * MIB))
    for each in (Token("a"), big, Token("b")):
        log.append(each)
    try:
        assert list(log.read(0)) == [Token("a")]
        assert list(log.read(1)) == [big]
        assert list(log.read(2)) == [Token("b")]
    finally:
        log.close()


def test_a_batch_holds_as_much_as_fits():
    log = filled(1000)
    batch = log.read(0)
    assert len(batch) == BATCH_BYTES // 1024
    assert log.read(len(batch))[0] == token(len(batch))


def test_the_size_counts_bytes_wherever_they_are():
    log = filled(2000)
    assert log.size == 2000 * 1024
    log.close()


def test_a_small_log_opens_no_file():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory of numbers
    log = filled(SPILL_BYTES // 1024 - 1)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    log.close()


def test_a_closed_log_gives_its_file_back():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    log = filled(1100)
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    log.close()
    log.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_the_file_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    log = filled(1100)
    assert list(tmp_path.iterdir()) == []
    log.close()


def test_a_long_log_takes_little_memory():
    tracemalloc.start()
    try:
        log = EventLog()
        for _ in range(16):
            log.append(TokenBatch([b'"%b"' % (b"x" * MIB)]))
        many = EventLog()
        for _ in range(100_000):
            many.append(Token("word "))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    log.close()
    many.close()
    assert peak < 8 * MIB


@pytest.mark.parametrize("value", [b"x", {1, 2}, object])
def test_a_fact_of_an_odd_kind_does_not_break_the_log(value):
    log = EventLog()
    log.append(Status("x", {"fact": value}))
    assert isinstance(log.read(0)[0].facts["fact"], str)


def test_a_log_that_cannot_be_spilled_goes_on_in_memory(monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    log = EventLog()
    tokens = [Token("x" * 1000 + str(number)) for number in range(3000)]
    for token in tokens:
        log.append(token)
    assert log.size > 2 * SPILL_BYTES
    assert log.text() == "".join(token.text for token in tokens)
