"""One thread waits on many descriptors, closes what it is told to, and leaves nothing."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from cowork.claude.process.stderr import TAIL, StderrTail
from cowork.runtime.fd_watcher import FdWatcher
from tests.serving import wait_for


class Ear:
    """Keeps what comes out of a socket; breaks at `b"break"`."""

    def __init__(self, sock):
        self.heard = []
        self.closed = 0
        self._sock = sock
        sock.setblocking(False)

    def fileno(self):
        return self._sock.fileno()

    def on_readable(self):
        said = self._sock.recv(100)
        self.heard.append(said)
        if said == b"break":
            raise RuntimeError("broken on purpose")
        return bool(said)

    def close(self):
        self.closed += 1
        self._sock.close()


@pytest.fixture
def watcher():
    made = FdWatcher("test-watcher")
    yield made
    made.close()


def pair():
    ours, theirs = socket.socketpair()
    return Ear(ours), theirs


def test_each_hears_its_own(watcher):
    first, second = pair(), pair()
    for ear, _ in (first, second):
        assert watcher.watch(ear)
    first[1].sendall(b"one")
    second[1].sendall(b"two")
    wait_for(lambda: (first[0].heard, second[0].heard) == ([b"one"], [b"two"]), what="both")
    first[1].sendall(b"three")
    wait_for(lambda: first[0].heard == [b"one", b"three"], what="the next")
    for ear, theirs in (first, second):
        watcher.unwatch(ear)
        theirs.close()
    wait_for(lambda: first[0].closed and second[0].closed, what="the ends")


def test_what_broke_is_left_alone_and_the_others_go_on(watcher):
    (bad, to_bad), (good, to_good) = pair(), pair()
    watcher.watch(bad)
    watcher.watch(good)
    to_bad.sendall(b"break")
    wait_for(lambda: bad.heard == [b"break"], what="the break")
    to_bad.sendall(b"more")
    to_good.sendall(b"hello")
    wait_for(lambda: good.heard == [b"hello"], what="the other")
    assert bad.heard == [b"break"]
    for ear, theirs in ((bad, to_bad), (good, to_good)):
        watcher.unwatch(ear)
        theirs.close()
    wait_for(lambda: bad.closed and good.closed, what="the ends")


def test_a_second_end_does_not_hit_whoever_has_the_descriptor_now(watcher):
    old, to_old = pair()
    watcher.watch(old)
    number = old.fileno()
    watcher.unwatch(old)
    wait_for(lambda: old.closed, what="the first end")
    # The next socket takes the number that has just become free.
    new, to_new = pair()
    if new.fileno() != number:
        os.dup2(new.fileno(), number)
        new = Ear(socket.socket(fileno=number))
    watcher.watch(new)
    watcher.unwatch(old)
    to_new.sendall(b"still here")
    wait_for(lambda: new.heard == [b"still here"], what="what is said to the new one")
    watcher.unwatch(new)
    to_old.close()
    to_new.close()
    wait_for(lambda: new.closed, what="the end")


def test_the_end_closes_all_and_takes_no_more():
    watcher = FdWatcher("test-watcher")
    ear, theirs = pair()
    watcher.watch(ear)
    watcher.close()
    watcher.close()
    assert ear.closed
    late, to_late = pair()
    assert watcher.watch(late) is False
    watcher.unwatch(late)
    assert not late.closed
    late.close()
    theirs.close()
    to_late.close()
    assert "test-watcher" not in {thread.name for thread in threading.enumerate()}


def test_the_end_closes_also_what_has_nothing_more_to_say():
    watcher = FdWatcher("test-watcher")
    ear, theirs = pair()
    watcher.watch(ear)
    theirs.close()
    wait_for(lambda: ear.heard == [b""], what="the other's end")
    watcher.close()
    assert ear.closed


def test_the_tail_of_standard_error_is_kept_and_its_end_known(watcher):
    read, write = os.pipe()
    stderr = StderrTail(os.fdopen(read, "rb", buffering=0))
    watcher.watch(stderr)
    for number in range(200):
        os.write(write, f"{number:>1023}\n".encode())
        time.sleep(0.001)  # a pipe holds 64 of these
    wait_for(lambda: stderr.text.endswith("199\n"), what="the last line")
    assert len(stderr.text) == TAIL
    assert not stderr.ended.is_set()
    os.close(write)
    wait_for(stderr.ended.is_set, what="the end")
    watcher.unwatch(stderr)
