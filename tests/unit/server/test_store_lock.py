"""One server on a SQLite file; a lock that belongs to a process, and goes with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cowork.server.store_lock import StoreLock
from tests.serving import ROOT

HOLD = """
import sys
from cowork.server.store_lock import StoreLock
print(StoreLock().acquire(sys.argv[1]) or "held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite://{tmp_path}/new/state.db"


def hold(url):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return child, child.stdout.readline().strip()


def end(child):
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def test_a_second_process_is_told_who_has_it_until_that_is_dead(url, tmp_path):
    first, said = hold(url)
    assert said == "held"
    refused = StoreLock().acquire(url)
    assert refused == (
        f"COWORK_STORE: another server (process {first.pid}) uses {tmp_path}/new/state.db: stop it, "
        "name another file, or set COWORK_STORE=redis://host:port/db for both"
    )
    end(first)
    second, said = hold(url)
    assert said == "held"
    end(second)
    assert (tmp_path / "new" / "state.db.lock").stat().st_mode & 0o777 == 0o600


def test_it_is_held_until_it_is_released(url):
    lock = StoreLock()
    assert lock.acquire(url) is None
    child, said = hold(url)
    assert f"process {os.getpid()}" in said
    end(child)
    lock.release()
    child, said = hold(url)
    assert said == "held"
    end(child)


@pytest.mark.parametrize("url", ["memory://", "redis://127.0.0.1:1/0"])
def test_other_stores_need_none(url):
    assert StoreLock().acquire(url) is None


def test_a_link_is_not_followed(url, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "state.db.lock").symlink_to(tmp_path / "elsewhere")
    assert "cannot be opened" in StoreLock().acquire(url)
    assert not (tmp_path / "elsewhere").exists()
