"""The short way to a client: framed as gunicorn frames, and what the kernel leaves is not lost."""

from __future__ import annotations

import socket

import pytest

from cowork.web.direct_write import DirectWriter, direct_writer

FRAME = b'id: t.1\ndata: {"type": "token", "token": "w1"}\n\n'


class Pipe:
    """A socket that takes `room` bytes at once, and any number from who waits."""

    def __init__(self, room=1 << 20, fault=None):
        self.room = room
        self.fault = fault
        self.got = b""

    def try_send(self, data):
        if self.fault is not None:
            raise self.fault
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.got += taken
        return len(taken)

    def sendall(self, data):
        if self.fault is not None:
            raise self.fault
        self.got += data


def test_an_offer_is_one_chunk():
    pipe = Pipe()
    way = DirectWriter(pipe, chunked=True)
    way.write(FRAME)
    assert pipe.got == b"%x\r\n%b\r\n" % (len(FRAME), FRAME)
    assert way.pending == b""


def test_a_reply_that_is_not_chunked_is_the_frames_alone():
    pipe = Pipe()
    DirectWriter(pipe, chunked=False).write(FRAME)
    assert pipe.got == FRAME


@pytest.mark.parametrize("room", range(0, len(FRAME) + 8, 5))
def test_what_the_kernel_leaves_is_written_by_who_may_wait(room):
    whole, pipe = Pipe(), Pipe(room)
    DirectWriter(whole, chunked=True).write(FRAME)
    way = DirectWriter(pipe, chunked=True)
    way.write(FRAME)
    assert way.pending == whole.got[room:]
    way.flush()
    assert pipe.got == whole.got
    assert way.pending == b""
    way.flush()
    assert pipe.got == whole.got


def test_a_client_that_is_gone_is_noticed_by_who_may_raise():
    way = DirectWriter(Pipe(fault=BrokenPipeError()), chunked=True)
    way.write(FRAME)
    assert way.pending
    with pytest.raises(BrokenPipeError):
        way.flush()


def environ(sock, method="POST", protocol="HTTP/1.1"):
    return {"gunicorn.socket": sock, "REQUEST_METHOD": method, "SERVER_PROTOCOL": protocol}


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("HTTP/1.0", b"x"), ("HTTP/1.1", b"1\r\nx\r\n"), ("HTTP/1.2", b"1\r\nx\r\n")],
)
def test_the_clients_protocol_decides(protocol, expected):
    pipe = Pipe()
    way = direct_writer(environ(pipe, protocol=protocol))
    assert way is not None
    way.write(b"x")
    assert pipe.got == expected


def test_other_servers_sockets_and_replies_without_a_body_have_none():
    assert direct_writer(environ(Pipe(), method="HEAD")) is None
    assert direct_writer({"REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1"}) is None
    with socket.socket() as plain:
        assert direct_writer(environ(plain)) is None
