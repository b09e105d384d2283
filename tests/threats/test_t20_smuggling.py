"""T20: a request has one meaning, for us as for a proxy before us; else it has none."""

from __future__ import annotations

import gzip
from collections.abc import Callable

from tests.serving import Gunicorn
from tests.threats.wire import tell

SECRET = "canary-in-a-broken-header"
HEAD = b"POST /xo-auth/logout HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HIDDEN = b"GET /sessions HTTP/1.1\r\nHost: localhost\r\n\r\n"
BROKEN = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 50\r\n\r\n{}",
    "a length and chunks": HEAD
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding without chunks": HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Key: "
    + SECRET.encode()
    + b"\0\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "a version of nobody": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "a method of nobody": b"G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a bad chunk": HEAD.replace(b"/xo-auth/logout", b"/ask_question")
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
}


# Coded as nobody here decodes it: what would be read is not what was sent.
CODINGS = ["gzip, chunked", "deflate,chunked", "compress, chunked", "identity, chunked", "xchunked"]
CODINGS += ["br, chunked", "gzip\r\nTransfer-Encoding: chunked", "GZip , Chunked", "chunked;q=1"]


def test_fault_s10_a_transfer_coding_other_than_chunked_is_not_implemented(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    packed = gzip.compress(b'{"project_name": "p", "question": "hi"}')
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    for path in (b"/ask_question", b"/xo-auth/logout"):
        head = HEAD.replace(b"/xo-auth/logout", path)
        for coding in CODINGS:
            sent = head + f"Transfer-Encoding: {coding}\r\n\r\n".encode() + chunk
            told = tell(server, sent + HIDDEN)
            assert (told.status, told.detail["code"]) == (501, "not_implemented"), coding
            assert told.headers["connection"] == "close"
            assert told.raw.count(b"HTTP/1.1 ") == 1, coding
        plain = b"2\r\n{}\r\n0\r\n\r\n"
        kept = tell(
            server, head + b"Connection: close\r\nTransfer-Encoding: Chunked\r\n\r\n" + plain
        )
        assert kept.status in {200, 422}


def test_t20_what_could_mean_two_things_is_refused(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="debug")
    for name, sent in BROKEN.items():
        told = tell(server, sent + HIDDEN)
        assert told.status == 400, (name, told.raw)
        assert told.detail["code"] == "bad_request", name
        assert told.raw.count(b"HTTP/1.1 ") == 1, name  # what hid behind it was no request
        assert SECRET not in told.raw.decode()
    long = tell(server, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n")
    assert (long.status, long.detail["code"]) == (414, "uri_too_long")
    large = tell(server, b"GET / HTTP/1.1\r\n" + b"X-A: " + b"x" * 9000 + b"\r\n\r\n")
    assert (large.status, large.detail["code"]) == (431, "headers_too_large")
    many = tell(server, b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 200 + b"\r\n")
    assert (many.status, many.detail["code"]) == (431, "headers_too_large")
    logged = server.log.read_text()
    assert SECRET not in logged
    assert "Traceback" not in logged


def test_t20_nobody_says_who_they_are_by_a_header(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    for header in ("X_Forwarded_For: 127.0.0.1", "PATH_INFO: /health/live", "SCRIPT_NAME: /x"):
        sent = f"GET /nope HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
        assert tell(server, sent.encode()).status in {400, 404}, header
