"""T16: whoever says nothing, or a byte at a time, is cut, and holds up nobody meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from tests.background import BackgroundCalls
from tests.serving import Gunicorn
from tests.threats.wire import tell

PATIENCE_S = 1.0
HEAD = b"POST /ask_question HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
DRIP = [b"x"] * 40
GAP_S = 0.1


def test_t16_slow_heads_and_bodies_are_cut(
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls
) -> None:
    server = gunicorn(COWORK_READ_TIMEOUT=str(PATIENCE_S))
    declared = HEAD + b"Content-Length: 4000\r\n\r\n"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    silent = background(tell, server)
    still = [background(tell, server, said) for said in (HEAD, declared, chunked)]
    dripping = [
        background(tell, server, HEAD + b"X-Slow: ", *DRIP, gap=GAP_S),
        background(tell, server, declared, *DRIP, gap=GAP_S),
        background(tell, server, chunked, *[b"1\r\nx\r\n"] * 40, gap=GAP_S),
    ]
    assert silent.result().raw == b""
    for told in (each.result() for each in (*still, *dripping)):
        assert told.status == 408
        assert told.detail["code"] == "request_timeout"
    for told in (each.result() for each in (silent, *still)):
        assert PATIENCE_S * 0.9 < told.took < PATIENCE_S + 5


def test_t16_patience_is_for_what_is_said_and_not_for_what_is_kept(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn(COWORK_READ_TIMEOUT="0.3")
    get = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
    kept = tell(server, get + b"\r\n", get + b"Connection: close\r\n\r\n", gap=0.6)
    assert kept.raw.count(b'{"status":"live"}') == 2


def test_t16_a_body_that_nobody_wants_does_not_keep_its_connection(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    refused = HEAD.replace(b"localhost", b"evil.example")
    told = tell(server, refused + b"Content-Length: 1000000000\r\n\r\n", b"x" * 200_000)
    assert told.status == 403
    assert told.took < 10
    endless = tell(server, refused + b"Transfer-Encoding: chunked\r\n\r\n", *DRIP[:8], gap=GAP_S)
    assert endless.status == 403
