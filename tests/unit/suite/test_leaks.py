"""The leak detector finds what a test leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

LEAKY = """
import os, subprocess, threading
from pathlib import Path
import pytest
from cowork.claude import orphans
from cowork.claude.command import MARKER
from tests import conftest
from tests.serving import wait_for

conftest.LEAK_WAIT_S = 0.2
kept = []

@pytest.fixture
def serve():
    pass

def detach(marker=""):
    marked = f"{MARKER}={marker or orphans.marker('leak')}"
    command = f"setsid nohup env '{marked}' sleep 30 </dev/null >/dev/null 2>&1 & echo $!"
    said = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True, text=True)
    print("left:", pid := said.stdout.strip(), flush=True)
    wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\\n")

def test_child():
    kept.append(subprocess.Popen(["/bin/sleep", "30"]))

def test_no_child():
    kept.pop().kill()

def test_descriptors():
    kept.extend(os.dup(0) for _ in range(20))

def test_thread():
    over = threading.Event()
    threading.Thread(target=over.wait, args=(8,), name="idler", daemon=True).start()

def test_detached_by_another_of_our_pid_in_another_container(serve):
    detach(f"{os.getpid()}:1:1:leak")

def test_detached_by_a_server(serve):
    detach()

def test_ends_it():
    orphans.sweep_own()

def test_detached_by_nobody_in_particular():
    detach()

def test_last():
    pass
"""


def test_each_leak_is_found_and_blamed(tmp_path, pytestconfig):
    """What was detached without a server in this process is blamed on its module."""
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    argv = [sys.executable, "-m", "pytest", "-s", "-p", "tests.conftest", "-p", "no:randomly"]
    argv += ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        argv, cwd=pytestconfig.rootpath, capture_output=True, text=True, timeout=55, check=False
    )
    end(int(line.rpartition("left: ")[2]) for line in done.stdout.splitlines() if "left: " in line)
    assert set(re.findall(r"(\w+(?:\.py)?) left behind: (\w+)", done.stdout)) == {
        ("test_child", "child"),
        ("test_descriptors", "20"),
        ("test_thread", "thread"),
        ("test_detached_by_a_server", "process"),
        ("test_leaky.py", "process"),
    }, done.stdout


def end(pids):
    """Kill what the tests have left on purpose; some of it they have ended themselves."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
