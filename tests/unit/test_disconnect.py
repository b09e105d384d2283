"""A client's end is noticed without reading from it, and without waiting for it."""

from __future__ import annotations

import socket
import threading

import pytest

from cowork.web.disconnect import Watch
from tests.serving import wait_for


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def watch_of(sock):
    return Watch(sock, lambda: None, probes=True)


def test_a_look_at_a_client_that_is_silent_does_not_wait(ends):
    found = []
    thread = threading.Thread(target=lambda: found.append(watch_of(ends[0]).look()), daemon=True)
    thread.start()
    wait_for(lambda: found == [False], timeout=2, what="the look")
    thread.join()


def test_a_look_beside_the_reader_of_the_next_request_disturbs_nobody(ends):
    ours, theirs = ends
    got = []
    reader = threading.Thread(target=lambda: got.append(ours.recv(100)), daemon=True)
    reader.start()
    for _ in range(20):
        assert watch_of(ours).look() is False
    theirs.sendall(b"next")
    reader.join(2)
    assert got == [b"next"]


def test_a_client_that_has_sent_more_is_there_and_loses_nothing(ends):
    ours, theirs = ends
    theirs.sendall(b"next")
    assert watch_of(ours).look() is False
    assert ours.recv(100) == b"next"


def test_a_client_that_has_closed_has_ended(ends):
    ours, theirs = ends
    theirs.close()
    watch = watch_of(ours)
    assert watch.look() is True
    assert watch.ended


def test_a_socket_of_ours_that_is_closed_is_nobodys_end(ends):
    ours, _ = ends
    watch = watch_of(ours)
    ours.close()
    assert watch.look() is False
