"""The suite's parts are the whole suite, and its runner says what is red and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import parts, processes
from tests.patience import PATIENCE_S
from tests.serving import ROOT, wait_for

SUITE = """
import subprocess, tempfile, time
from pathlib import Path

def test_green():
    pass

def test_red():
    assert 1 == 2

def test_flaky():
    seen = Path(__file__).with_name("seen")
    was_seen = seen.exists()
    seen.touch()
    assert was_seen, "a bad moment"

def test_long():
    tempfile.mkdtemp()
    subprocess.Popen(["/bin/sh", "-c", "setsid sleep 600 & echo begun >&2; wait"])
    time.sleep(600)

# Not reached where the long one is interrupted.
def test_process():
    subprocess.Popen(["/bin/sh", "-c", "setsid sleep 600 &"]).wait()

def test_brief():
    subprocess.Popen(["/bin/sh", "-c", "setsid sleep 1 &"]).wait()

def test_folder():
    tempfile.mkdtemp(prefix="left-")

def test_own_folder(tmp_path):
    (tmp_path / "own").mkdir()
"""
RUNNER = """
import sys
from pathlib import Path
from tests import __main__ as runner, parts

class Part(parts.Part):
    def command(self):
        return [sys.executable, "-m", "pytest", "-v", "-p", "no:randomly", "-p", "no:cacheprovider",
                "-c", "/dev/null", "--rootdir", "tests", *(self.tests or self.only)]

parts.HERE = Path(sys.argv.pop(1)) / "tests"
parts.PARTS = (Part("one", only=("tests", *sys.argv[1:])), Part("two", only=("tests", "-k", "test_green")))
del sys.argv[1:]
sys.exit(runner.main())
"""

# As a shell starts what runs in the background.
IGNORING = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]


@pytest.mark.parametrize("patched", [False, True])
def test_each_file_is_in_one_part_plain_and_in_one_patched(patched):
    """But for the programs', of which nothing is another thing patched."""
    files = {path.relative_to(parts.HERE).as_posix() for path in parts.HERE.rglob("test_*.py")}
    programs = {file for file in files if file.partition("/")[0] in parts.PROGRAMS}
    for file in files:
        has = [part.name for part in parts.PARTS if part.patched is patched and part.has(file)]
        assert len(has) == (0 if patched and file in programs else 1), (file, has)


def test_a_part_names_folders_that_are_there():
    for part in parts.PARTS:
        assert {*part.only, *part.without} <= set(parts.folders())


@pytest.fixture
def begin(tmp_path):
    """Start the runner over a suite of three tests; its output goes to a file."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(SUITE)
    (tmp_path / "tmp").mkdir()
    begun = []

    def start(*chosen):
        with (tmp_path / "output").open("wb") as output:
            begun.append(
                subprocess.Popen(
                    [*IGNORING, sys.executable, "-c", RUNNER, str(tmp_path), *chosen],
                    cwd=ROOT,
                    env={
                        "PATH": os.environ["PATH"],
                        "TMPDIR": str(tmp_path / "tmp"),
                        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # each start takes half as long
                    },
                    stdout=output,
                    stderr=output,
                )
            )
        return begun[-1]

    yield start
    for child in begun:
        child.kill()
        child.wait()


def said(tmp_path: Path) -> str:
    return (tmp_path / "output").read_text()


def left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "tmp").iterdir())


def test_fault_n3_what_is_red_is_said_at_once_and_in_the_end(begin, tmp_path):
    assert begin("-k", "test_green or test_red").wait(PATIENCE_S) == 1
    lines = said(tmp_path).splitlines()
    assert "FAILED (one) tests/test_it.py::test_red" in lines
    assert any("0 s  one 0/?  two 0/?" in line for line in lines[:1])
    assert "assert 1 == 2\n" in said(tmp_path)
    end = lines.index("RED: one (exit code 1)")
    assert lines[end + 1] == "  tests/test_it.py::test_red"
    assert len(left(tmp_path)) == 1, "what a red test wrote is kept"


def test_what_fails_beside_the_others_and_not_alone_is_told_and_not_red(begin, tmp_path):
    assert begin("-k", "test_green or test_flaky").wait(PATIENCE_S) == 0
    lines = said(tmp_path).splitlines()
    assert "FAILED (one) tests/test_it.py::test_flaky" in lines
    told = lines.index("FLAKY: one: failed beside the others, passed alone")
    assert lines[told + 1] == "  tests/test_it.py::test_flaky"
    assert "AssertionError: a bad moment" in said(tmp_path)
    assert lines[-1] == "all green"
    assert left(tmp_path) == []


def test_what_is_green_ends_with_nought_and_leaves_no_folder(begin, tmp_path):
    assert begin("-k", "test_green").wait(PATIENCE_S) == 0
    assert said(tmp_path).splitlines()[-1] == "all green"
    assert left(tmp_path) == []


def test_what_tests_have_left_is_red_by_its_name(begin, tmp_path):
    runner = begin("-k", "test_green or test_process or test_folder")
    assert runner.wait(PATIENCE_S) == 1
    lines = said(tmp_path).splitlines()
    assert any(line.startswith("green (one) 3 passed") for line in lines), lines
    begun = lines.index("RED: left behind by the tests")
    process, folder = lines[begun + 1 : begun + 3]
    named = re.fullmatch(r"  process (\d+): sleep 600", process)
    assert named
    assert not processes.is_alive(int(named[1]))
    assert re.fullmatch(r"  folder left-\w+", folder)


def test_what_ends_soon_or_is_in_a_tests_own_folder_is_not_left(begin, tmp_path):
    assert begin("-k", "test_green or test_brief or test_own_folder").wait(PATIENCE_S) == 0
    assert said(tmp_path).splitlines()[-1] == "all green"
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fault_n3_an_interrupt_leaves_no_process_and_no_folder(begin, tmp_path, number):
    runner = begin()
    wait_for(lambda: (sleeping := sleepers(runner.pid)) and sleeping, PATIENCE_S, "the long test")
    (sleeper,) = sleepers(runner.pid)
    runner.send_signal(number)
    assert runner.wait(PATIENCE_S) == 130
    assert not processes.is_alive(sleeper)
    assert left(tmp_path) == []


def sleepers(pid: int) -> list[int]:
    """The processes below one that have been detached and sleep."""
    found = []
    for each in processes.descendants(pid):
        try:
            name = Path(f"/proc/{each}/comm").read_text()
        except OSError:
            continue
        if name == "sleep\n":
            found.append(each)
    return found
