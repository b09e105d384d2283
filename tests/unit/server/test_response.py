"""What gunicorn writes to a client for a reply of ours."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from cowork.runtime.quota import SMALL_BODY_BYTES
from cowork.server.response import BufferedResponse, http_date


class Socket:
    """Keeps what is written, write by write."""

    def __init__(self):
        self.written = []

    def sendall(self, data):
        self.written.append(data)


def new_reply(*headers, method="GET"):
    sock = Socket()
    request = SimpleNamespace(version=(1, 1), method=method, should_close=lambda: False)
    reply = BufferedResponse(request, sock, Config())
    reply.start_response("200 OK", list(headers))
    return reply, sock


def test_a_whole_reply_is_one_write():
    reply, sock = new_reply(("Content-Length", "5"))
    reply.write(b"hello")
    reply.close()
    (written,) = sock.written
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"hello"


def test_a_streams_head_goes_with_its_first_piece_and_each_further_one_at_once():
    reply, sock = new_reply()
    reply.write(b"one")
    assert len(sock.written) == 1
    assert sock.written[0].endswith(b"\r\n\r\n3\r\none\r\n")
    reply.write(b"two")
    reply.close()
    assert sock.written[1:] == [b"3\r\ntwo\r\n", b"0\r\n\r\n"]


def test_a_reply_without_a_body_has_a_head():
    reply, sock = new_reply(("Content-Length", "0"))
    reply.close()
    assert b"".join(sock.written).endswith(b"\r\n\r\n")
    reply, sock = new_reply(("Content-Length", "5"), method="HEAD")
    reply.write(b"hello")
    reply.close()
    assert b"".join(sock.written).endswith(b"\r\n\r\n")


def test_a_large_body_is_not_copied_behind_its_head():
    body = b"x" * (SMALL_BODY_BYTES + 1)
    reply, sock = new_reply(("Content-Length", str(len(body))))
    reply.write(body)
    assert sock.written[1] is body


def test_what_is_no_bytes_is_refused_with_nothing_written():
    reply, sock = new_reply(("Content-Length", "5"))
    with pytest.raises(TypeError):
        reply.write("hello")
    assert sock.written == []
    assert reply.sock is sock


def test_the_date_is_that_of_now(monkeypatch):
    for now, told in ((0.9, "00:00:00"), (1.0, "00:00:01"), (86399.5, "23:59:59")):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert http_date() == f"Thu, 01 Jan 1970 {told} GMT"
