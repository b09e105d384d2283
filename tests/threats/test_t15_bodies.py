"""T15: whatever stands in a body, the answer is a 4xx with a clear error, and nothing is asked."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.web.bodies import _repeats_a_key
from tests.contract.replies import ASK_PATHS, JSON, Asides, Raw, invalid, problem, send
from tests.fakes import Fakes
from tests.serving import Client, Gunicorn, Served
from tests.threats.wire import tell

OK = '"project_name": "p", "question": "hi"'
STRANGE = {
    "nothing but a bracket": b"{",
    "depth": b"[" * 100_000,
    "depth in an object": b'{"a":' * 100_000,
    "a closed depth": f'{{{OK}, "x": {"[" * 900}{"]" * 900}, "x": 1}}'.encode(),
    "a huge number": f'{{{OK}, "timeout": {"9" * 5000}}}'.encode(),
    "a number past all": f'{{{OK}, "timeout": 1e309}}'.encode(),
    "no number": f'{{{OK}, "timeout": NaN}}'.encode(),
    "endless": f'{{{OK}, "timeout": Infinity}}'.encode(),
    "below zero": f'{{{OK}, "timeout": -1}}'.encode(),
    "a number for a text": b'{"project_name": 1, "question": "hi"}',
    "a list for a text": b'{"project_name": ["p"], "question": "hi"}',
    "nothing for a text": b'{"project_name": null, "question": "hi"}',
    "a key twice": f'{{{OK}, "question": "bye"}}'.encode(),
    "a key twice, once in disguise": f'{{{OK}, "\\u0071uestion": "bye"}}'.encode(),
    "a key twice, far apart": f'{{{OK}, "x": "{"y" * 9000}", "project_name": "q"}}'.encode(),
    "a key twice, further down": f'{{{OK}, "x": {{"a": 1, "a": 2}}}}'.encode(),
    "a lone surrogate": b'{"project_name": "p", "question": "\\ud800"}',
    "bytes of no text": b'{"project_name": "p", "question": "\xff\xfe"}',
    "another encoding": f"{{{OK}}}".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "two values": f"{{{OK}}}{{{OK}}}".encode(),
    "no object": b"[]",
    "a word": b"null",
    "a comment": f"{{{OK}}} // hi".encode(),
    "a trailing comma": f"{{{OK},}}".encode(),
    "blank": b'{"project_name": "p", "question": " \\n\\t\\u3000"}',
    "empty": b"",
}


@pytest.mark.parametrize("name", STRANGE)
def test_t15_a_strange_body_is_a_fault_of_the_request(
    logged: Served, fakes: Fakes, name: str
) -> None:
    for path in ASK_PATHS:
        for chunked in (False, True):
            reply = send(logged, "POST", path, STRANGE[name], JSON, chunked=chunked)
            invalid(reply, "body")
    assert fakes.asked == []


def test_t15_a_body_that_breaks_off_is_a_fault_of_the_request(served: Served) -> None:
    body = f"{{{OK}}}".encode()
    for length in (len(body) + 5, 10**9):
        reply = _broken_off(served, body, {**JSON, "Content-Length": str(length)})
        assert reply.status_code in {400, 413}


def _broken_off(served: Served, body: bytes, headers: dict[str, str]) -> Raw:
    host, port = served.url.removeprefix("http://").split(":")
    line = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        line.putrequest("POST", "/ask_question")
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders(body)
        line.sock.shutdown(socket.SHUT_WR)
        reply = line.getresponse()
        return Raw(reply.status, dict(reply.getheaders()), reply.read())
    finally:
        line.close()


def test_t15_a_body_is_bounded_to_the_byte_declared_or_not(serve: Callable[..., Served]) -> None:
    limit = 1024
    served = serve(COWORK_MAX_BODY=str(limit))
    for chunked in (False, True):
        for size, status in ((limit, 200), (limit + 1, 413), (limit * 100, 413)):
            filler = "x" * (size - len(f'{{{OK}, "x": ""}}'))
            body = f'{{{OK}, "x": "{filler}"}}'.encode()
            assert len(body) == size
            reply = send(served, "POST", "/ask_question", body, JSON, chunked=chunked)
            assert reply.status_code == status, reply.text
            if status == 413:
                problem(reply, 413, "payload_too_large")


def test_t15_a_body_of_a_million_keys_is_refused_at_once(served: Served) -> None:
    keys = ", ".join(f'"k{number}": 0' for number in range(200_000))
    begun = time.monotonic()
    reply = send(served, "POST", "/ask_question", f"{{{OK}, {keys}}}".encode(), JSON)
    invalid(reply, "body")
    assert time.monotonic() - begun < 20  # it was minutes, each key looked for in all of it
    few = ", ".join(f'"k{number}": 0' for number in range(500))
    assert (
        send(served, "POST", "/ask_question", f"{{{OK}, {few}}}".encode(), JSON).status_code == 200
    )


def test_t15_a_body_in_the_smallest_pieces_holds_nobody_up(
    gunicorn: Callable[..., Gunicorn], aside: Asides, another: Callable[..., Client]
) -> None:
    server = gunicorn()
    head = b"POST /ask_question HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    pieces = [b"1\r\nx\r\n" * 10_000] * 30
    told = aside(
        tell,
        server,
        head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        *pieces,
        b"0\r\n\r\n",
    )
    other, took = another(server), []
    while not told.done():
        begun = time.monotonic()
        assert other.get("/health/live").status_code == 200
        took.append(time.monotonic() - begun)
    assert told.result().status == 422
    # Held up, it would answer once: when all of it is read.
    assert len(took) >= 10
    assert sorted(took)[len(took) // 2] < told.result().took / 10


@pytest.mark.parametrize(
    ("body", "repeats"),
    [
        ({"question": 'the "question" is "project_name"'}, False),
        ({"question": "question"}, False),
        ({"question": "é" * 5000}, False),
        ({"question": "x" * 10_000, "events": ["tool"]}, False),
        ({"question": '"question": "question": ' * 1000}, False),
    ],
)
def test_t15_a_key_within_a_text_is_no_key(body: dict[str, object], repeats: bool) -> None:
    for ascii_only in (False, True):
        assert _repeats_a_key(json.dumps(body, ensure_ascii=ascii_only).encode(), body) is repeats


def spellings(key: str) -> st.SearchStrategy[str]:
    """The ways to write a key in JSON."""
    ways = [json.dumps(key), json.dumps(key, ensure_ascii=False), json.dumps(key, indent=0)]
    ways += [json.dumps(key).replace("/", "\\/")]
    ways += ['"' + "".join(f"\\u{ord(each):04x}" for each in key) + '"']
    return st.sampled_from(ways)


KEYS = st.sampled_from(["question", "a/b", 'q"', "\\", "\n", "é", "", "q"])
WRITTEN = st.lists(KEYS.flatmap(lambda key: st.tuples(st.just(key), spellings(key))), max_size=4)
VALUES = st.sampled_from(["1", '"question"', '"a/b"', '"\\"q\\":"', "[]", '{"q": 1}', '""'])


@given(WRITTEN, st.data())
def test_t15_a_key_that_comes_twice_is_seen_however_it_is_written(
    written: list[tuple[str, str]], data: st.DataObject
) -> None:
    body = ", ".join(f"{text}: {data.draw(VALUES)}" for _, text in written)
    keys = [key for key, _ in written]
    text = f"{{{body}}}".encode()
    assert _repeats_a_key(text, json.loads(text)) is (len(set(keys)) < len(keys))
