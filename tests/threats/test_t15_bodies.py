"""T15: whatever stands in a body, the answer is a 4xx with a clear error, and nothing is asked."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import EXCLUDE, ValidationError

from cowork.web.problems import MAX_FAULTS, faults_of
from cowork.web.request_parsing import (
    LONG_STRING_BYTES,
    MAX_OUTLINE_BYTES,
    _outline,
    _repeats_a_key,
)
from cowork.web.schemas.asking import AskBody
from tests.background import BackgroundCalls
from tests.contract.replies import ASK_PATHS, JSON, Raw, invalid, problem, send
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
    "a key twice, beyond a long text": f'{{{OK}, "x": "{"y" * 90_000}", "project_name": "q"}}'.encode(),
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
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls, another: Callable[..., Client]
) -> None:
    server = gunicorn()
    head = b"POST /ask_question HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    pieces = [b"1\r\nx\r\n" * 10_000] * 30
    told = background(
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
        assert _repeats_a_key(json.dumps(body, ensure_ascii=ascii_only).encode()) is repeats


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
    assert _repeats_a_key(text) is (len(set(keys)) < len(keys))


MIB = 2**20
# Of each kind a body that is much work for a reader who looks at all of it; sizes are bytes.
HEAD = OK.encode()
LARGE: dict[str, Callable[[int], bytes]] = {
    "wrong events": lambda size: b'{%b, "events": [%b]}' % (HEAD, _items(b'"x"', size)),
    "right events": lambda size: b'{%b, "events": [%b]}' % (HEAD, _items(b'"tool"', size)),
    "numbers": lambda size: b'{%b, "events": [%b]}' % (HEAD, _items(b"1", size)),
    "lists": lambda size: b'{%b, "events": [%b]}' % (HEAD, _items(b"[]", size)),
    "objects": lambda size: b'{%b, "events": [%b]}' % (HEAD, _items(b"{}", size)),
    "a list": lambda size: b"[%b]" % _items(b"[]", size),
    "a schema": lambda size: b'{%b, "output_schema": {"a": [%b]}}' % (HEAD, _items(b"{}", size)),
    "keys": lambda size: b"{%b}" % b",".join(b'"k%d":0' % each for each in range(size // 12)),
    "a key": lambda size: b'{"%b": 1}' % (b"k" * size),
    "a name": lambda size: b'{"project_name": "%b", "question": "hi"}' % (b"n" * size),
    "a user": lambda size: b'{%b, "user_id": "%b"}' % (HEAD, b"u" * size),
    "a type": lambda size: b'{%b, "message_type": "%b"}' % (HEAD, b"t" * size),
    "a skill": lambda size: b'{%b, "agent_type": "%b"}' % (HEAD, b"s" * size),
    "a mode": lambda size: b'{%b, "permission_mode": "%b"}' % (HEAD, b"m" * size),
    "a prompt": lambda size: b'{%b, "system_prompt": "%b"}' % (HEAD, b"p" * size),
    "a time": lambda size: b'{%b, "timeout": "%bx"}' % (HEAD, b"1" * size),
    "digits": lambda size: b'{%b, "timeout": %b}' % (HEAD, b"1" * size),
    "an open text": lambda size: b'{%b, "user_id": "%b' % (HEAD, b'\\"' * (size // 2)),
    "texts": lambda size: b'{%b, "events": [%b]}' % (HEAD, _items(b'"%b"' % (b"x" * 2000), size)),
}


def _items(item: bytes, size: int) -> bytes:
    return b",".join([item] * (size // (len(item) + 1)))


@pytest.mark.parametrize("kind", LARGE)
def test_fault_s3_a_refusal_is_small_and_soon_however_much_is_wrong(
    logged: Served, fakes: Fakes, kind: str
) -> None:
    size = 4 * MIB
    # A question that is refused for something else, and is as large: what reading it takes.
    plain = b'{"project_name": "", "question": "%b"}' % (b"q" * size)
    baseline = min(_seconds(logged, plain) for _ in range(3))
    body = LARGE[kind](size)
    reply = send(logged, "POST", "/ask_question", body, JSON)
    invalid(reply, "body")
    assert len(reply.content) <= 4096
    assert min(_seconds(logged, body) for _ in range(3)) < 10 * baseline + 0.2
    assert fakes.asked == []


def _seconds(served: Served, body: bytes) -> float:
    begun = time.monotonic()
    assert send(served, "POST", "/ask_question", body, JSON).status_code == 422
    return time.monotonic() - begun


@pytest.mark.parametrize("path", ["/xo-auth/start", "/xo-auth/consume"])
def test_fault_s3_the_login_takes_no_more_than_its_fields_need(served: Served, path: str) -> None:
    name = "scopes" if path.endswith("start") else "poll_token"
    for value in (b'"%b"' % (b"x" * 2 * MIB), b"[%b]" % _items(b'"x"', 2 * MIB)):
        reply = send(served, "POST", path, b'{"%b": %b}' % (name.encode(), value), JSON)
        assert reply.status_code == 422, reply.text
        assert len(reply.content) <= 4096


@pytest.mark.parametrize(
    ("name", "limit"), [("user_id", 1024), ("message_type", 1024), ("system_prompt", 100_000)]
)
def test_fault_s3_each_text_is_bounded_to_the_byte(served: Served, name: str, limit: int) -> None:
    body = {"project_name": "p", "question": "hi"}
    for text in ("x" * limit, "é" * (limit // 2)):
        assert served.post("/ask_question", {**body, name: text}).status_code == 200
        fault = served.post("/ask_question", {**body, name: text + text + "x"})
        assert [each["loc"] for each in fault.json()["detail"]] == [["body", name]]


SHORT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=5
)


@given(
    st.dictionaries(
        st.sampled_from([*AskBody().fields, "x", "é"]),
        st.tuples(SHORT, st.integers(0, 5000)).map(lambda pair: [pair[0]] * pair[1])
        | st.tuples(st.text(max_size=3), st.integers(0, 5000)).map(lambda pair: pair[0] * pair[1]),
        min_size=3,
    )
)
def test_fault_s3_no_fault_tells_the_body_again(body: dict[str, Any]) -> None:
    faults = []
    try:
        AskBody().load(body, unknown=EXCLUDE)
    except ValidationError as fault:
        faults = faults_of(ValidationError({"json": fault.messages}))
    assert len(faults) <= MAX_FAULTS
    assert len(json.dumps(faults)) <= 4096


@given(st.lists(st.text(max_size=2000), max_size=20), st.text(min_size=1, max_size=4))
def test_fault_s3_the_outline_of_a_body_is_json_with_the_same_keys(
    texts: list[str], key: str
) -> None:
    body = {f"{key}{place}": text for place, text in enumerate(texts)}
    for ascii_only in (False, True):
        written = json.dumps(body, ensure_ascii=ascii_only).encode()
        assert list(json.loads(_outline(written))) == list(body)


def test_t15_a_long_conversation_of_middling_texts_is_within_the_bound() -> None:
    said = {"role": "user", "content": "a" * (LONG_STRING_BYTES + 1)}
    body = json.dumps({"messages": [said] * 5000}).encode()
    assert len(_outline(body)) < MAX_OUTLINE_BYTES < len(body)
