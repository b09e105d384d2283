"""How much memory processes take, and how many of them fit."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from cowork.claude.pool import memory
from cowork.gevent_compat import run_in_native_thread

MB = 2**20
# Takes so many megabytes for good, says that it has, and waits for the end of its input.
HOLD = "import sys; kept = bytearray(b'x') * (int(sys.argv[1]) << 20); print('ok', flush=True); sys.stdin.read()"
# Starts such a child, says that it has, and waits too.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[2], sys.argv[1]], stdout=subprocess.PIPE)
print(child.stdout.readline().decode(), flush=True)
sys.stdin.read()
"""


@contextmanager
def running(*arguments):
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline().strip() == b"ok"
        yield child.pid
    finally:
        child.communicate()


def test_what_a_process_takes_is_measured():
    with running(HOLD, "40") as pid:
        assert 40 * MB < memory.tree_pss(pid) < 120 * MB


def test_what_its_children_take_is_counted_in():
    with running(PARENT, "40", HOLD) as pid:
        assert memory.tree_pss(pid) > 40 * MB


def test_nothing_is_said_of_a_process_that_is_gone():
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    assert memory.tree_pss(child.pid) is None


def test_measuring_is_done_in_a_thread_of_its_own_where_there_is_a_loop():
    here = threading.get_native_id()
    patched = "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched(
        "threading"
    )
    # The kernel's own answer: gevent gives greenlets thread ids, too.
    there = run_in_native_thread(lambda: int(Path("/proc/thread-self").readlink().name))
    assert (there != here) == patched


def test_what_goes_wrong_there_is_told_here():
    with pytest.raises(ZeroDivisionError):
        run_in_native_thread(lambda: 1 // 0)


def test_a_limit_by_memory_is_within_its_bounds():
    assert 2 <= memory.limit_by_memory() <= 64
