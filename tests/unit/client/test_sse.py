from __future__ import annotations

import pytest

from cowork.client import sse

EVENTS = b"""retry: 1000
: keep-alive
id: t.1
data: {"a": 1}

: keep-alive

id: t.2
event: x
data: first
data:second

data: under the last id

id: t.3
data: broken o"""
READ = [
    ("t.1", b'{"a": 1}'),
    ("t.2", b"first\nsecond"),
    ("t.2", b"under the last id"),
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_in_whatever_pieces_they_come(size, end):
    text = EVENTS.replace(b"\n", end)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(sse.events(pieces)) == READ


@pytest.mark.parametrize("line", [b"data: " + b"x" * 50, b": " + b"x" * 50, b"x" * 50])
def test_a_line_that_does_not_end_is_not_kept(line):
    taken = []

    def blocks():
        for _ in range(100):
            taken.append(1)
            yield line

    with pytest.raises(sse.EventTooLarge):
        list(sse.events(blocks(), limit=200))
    assert len(taken) <= 5


def test_an_event_of_many_lines_is_bounded_too():
    with pytest.raises(sse.EventTooLarge):
        list(sse.events([b"data: 0123456789\n"] * 100, limit=200))


def test_an_id_with_a_nul_is_none():
    assert list(sse.events([b"id: a\n", b"id: b\0\n", b"data: 1\n\n"])) == [("a", b"1")]
