"""What the suite itself asks the kernel about processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests import processes
from tests.serving import wait_for


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a child of its own, in a session of its own."""
    argv = ["/bin/sh", "-c", "sleep 60 & wait"]
    with subprocess.Popen(argv, start_new_session=True) as child:
        yield child
        os.killpg(child.pid, signal.SIGKILL)  # its child too, whether or not there is one by now


def test_a_child_and_its_children_are_found(shell):
    wait_for(lambda: processes.children(shell.pid), what="the sleep")
    assert shell.pid in processes.children(os.getpid())
    assert {shell.pid, *processes.children(shell.pid)} <= set(processes.descendants(os.getpid()))


def test_what_is_not_below_is_not_found(shell):
    assert os.getpid() not in processes.descendants(os.getpid())
    assert os.getppid() not in processes.descendants(os.getpid())
    assert shell.pid not in processes.descendants(shell.pid)


def test_a_zombie_is_no_child():
    child = subprocess.Popen(["/bin/true"])
    wait_for(lambda: not processes.is_alive(child.pid), what="its end")
    assert child.pid not in processes.children(os.getpid())
    child.wait()


def test_what_is_gone_has_no_children():
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert processes.children(child.pid) == []
    assert not processes.is_alive(child.pid)
