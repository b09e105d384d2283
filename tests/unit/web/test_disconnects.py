"""A client's end is noticed without reading from it, and without waiting for it."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from cowork.runtime.fd_watcher import FdWatcher
from cowork.web.disconnects import Disconnects, Watch
from tests.patience import PATIENCE_S
from tests.serving import wait_for


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def watch_of():
    made = []

    def make(sock):
        made.append(Watch(sock, lambda: None, probes=True))
        return made[-1]

    yield make
    for watch in made:
        watch.close()


@pytest.fixture
def disconnects():
    watcher = FdWatcher("disconnects")
    made = Disconnects(watcher)
    yield made
    watcher.close()


def request_on(sock):
    return SimpleNamespace(environ={"gunicorn.socket": sock, "SERVER_PROTOCOL": "HTTP/1.1"})


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory of numbers


def test_a_look_at_a_client_that_is_silent_does_not_wait(ends, watch_of):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(watch_of(ends[0]).on_readable()), daemon=True
    )
    thread.start()
    wait_for(lambda: found == [True], what="the look")
    thread.join()


def test_a_look_beside_the_reader_of_the_next_request_disturbs_nobody(ends, watch_of):
    ours, theirs = ends
    got = []
    reader = threading.Thread(target=lambda: got.append(ours.recv(100)), daemon=True)
    reader.start()
    for _ in range(20):
        assert watch_of(ours).on_readable() is True
    theirs.sendall(b"next")
    reader.join(PATIENCE_S)
    assert got == [b"next"]


def test_a_client_that_has_sent_more_is_there_and_loses_nothing(ends, watch_of):
    ours, theirs = ends
    theirs.sendall(b"next")
    watch = watch_of(ours)
    assert watch.on_readable() is False
    assert not watch.half_closed
    assert ours.recv(100) == b"next"


def test_a_client_that_has_closed_has_ended(ends, watch_of):
    ours, theirs = ends
    theirs.close()
    watch = watch_of(ours)
    assert watch.on_readable() is False
    assert watch.half_closed


def test_a_request_whose_socket_is_closed_already_is_not_watched(ends, disconnects):
    ours, _ = ends
    ours.close()
    assert disconnects.watch(request_on(ours), lambda: None) is None


def test_a_watch_outlives_the_socket_of_its_request(ends, disconnects):
    ours, _ = ends
    watch = disconnects.watch(request_on(ours), lambda: None)
    ours.close()
    os.fstat(watch.fileno())
    disconnects.unwatch(watch)
    wait_for(lambda: watch.fileno() < 0, what="the end of the watch's own descriptor")


def test_requests_may_end_at_any_moment_of_their_watch(disconnects):
    # The event loop aborts the whole process when it is to begin watching a closed descriptor.
    # What is closed here is being registered, has just been, or is watched for a while.
    before = descriptors()
    for rounds in range(100):
        pairs = [socket.socketpair() for _ in range(8)]
        watches = [disconnects.watch(request_on(ours), lambda: None) for ours, _ in pairs]
        for _ in range(rounds % 10):
            time.sleep(0)
        for watch, (ours, theirs) in zip(watches, pairs, strict=True):
            disconnects.unwatch(watch)
            ours.close()
            theirs.close()
    # One more than before: the thread's own, for selecting.
    wait_for(lambda: descriptors() <= before + 1, what="the watches' descriptors")


def test_the_end_of_a_watched_client_wakes_its_request(ends, disconnects):
    ours, theirs = ends
    woken = threading.Event()
    watch = disconnects.watch(request_on(ours), woken.set)
    theirs.close()
    assert woken.wait(PATIENCE_S)
    assert watch.half_closed
    disconnects.unwatch(watch)


def test_what_is_watched_at_the_end_is_let_go(ends):
    before = descriptors()
    watcher = FdWatcher("disconnects")
    disconnects = Disconnects(watcher)
    watch = disconnects.watch(request_on(ends[0]), lambda: None)
    watcher.close()
    disconnects.unwatch(watch)
    assert disconnects.watch(request_on(ends[0]), lambda: None) is None
    wait_for(lambda: descriptors() <= before, what="the descriptors")
