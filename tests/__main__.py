"""Runs the whole suite, in parts side by side: `make test`, or `python -m tests`.

Says from the first second how far each part is, what failed as soon as it has, and in the end what
failed and why.  Leaves no process and no folder behind, also when it is interrupted; the folders of
tests that failed are kept.  Ends with 1 if any part is red, or if the tests have left anything.

A few tests that fail beside all the others are asked again, alone.  One that passes then is FLAKY:
told in the end with what it said, and to be mended, but the suite is not red by it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests import parts, processes

# How many at a time: they wait more than they compute; with more, tests of time limits fail.
AT_A_TIME = (os.cpu_count() or 1) + 4
REPORT_INTERVAL_S = 5.0
POLL_INTERVAL_S = 0.02
# How long an interrupted part may take to end what its tests have started.
END_TIMEOUT_S = 20.0
# What runs longer than this after the last part has been left behind, however it ends.
LEFT_WAIT_S = 5.0
# pytest's own folder, in which its tests have theirs; what is kept of it is pytest's business.
PYTESTS_OWN = "pytest-of-"
COMMAND_LINE_LIMIT = 200
# Where more have failed it is not the machine.
RETRY_LIMIT = 3
PR_SET_CHILD_SUBREAPER = 36

_OUTCOME = re.compile(r"^(tests/.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
_COLLECTED = re.compile(r"\bcollected (\d+) items(?: / (\d+) deselected)?")
_SEED = re.compile(r"^Using --randomly-seed=(\d+)")
_SECTION = re.compile(r"^=+ (FAILURES|ERRORS|warnings summary|short test summary info) =+$")


class Run:
    """A part's pytest, its output read as it comes."""

    def __init__(self, part: parts.Part, environ: dict[str, str]) -> None:
        self.part = part
        self.begun = time.monotonic()
        self.seconds = self.cpu = 0.0
        self.code: int | None = None
        self.count, self.seed = 0, ""
        self.outcomes: Counter[str] = Counter()
        self.red: list[str] = []
        self.flaky: list[str] = []
        self._lines: list[str] = []
        # A session of its own: an interrupt at the terminal reaches us alone, and it once.
        self.process = subprocess.Popen(
            part.command(),
            cwd=parts.HERE.parent,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def done(self) -> int:
        """How many tests have ended."""
        return self.outcomes.total()

    def ended(self, code: int, cpu: float) -> None:
        """It ended with this exit code, and took so many seconds of the CPU."""
        self.code, self.cpu = code, cpu
        self.seconds = time.monotonic() - self.begun
        self._reader.join(END_TIMEOUT_S)

    def settle(self, alone: Run) -> None:
        """Of its red tests, those that have passed alone are flaky."""
        self.flaky = [test for test in dict.fromkeys(self.red) if test not in alone.red]
        self.red = [test for test in self.red if test in alone.red]
        if alone.code == 0:
            self.code = 0

    def interrupt(self) -> None:
        """Let it end what its tests have started."""
        if self.code is None:
            self.process.send_signal(signal.SIGINT)

    def report(self) -> str:
        """What pytest says in the end: failures and the summary, or all where it has come to none."""
        lines = [line for line in self._lines if not _OUTCOME.match(line)]
        begun = [number for number, line in enumerate(lines) if _SECTION.match(line)]
        return "".join(lines[begun[0] :] if begun else lines[-100:])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if found := _OUTCOME.match(line):
                self._count(*found.groups())
            elif found := _COLLECTED.search(line):
                self.count = int(found[1]) - int(found[2] or 0)
            elif found := _SEED.match(line):
                self.seed = found[1]

    def _count(self, test: str, outcome: str) -> None:
        # What fails in its end has passed before.
        if outcome in {"FAILED", "ERROR"}:
            self.red.append(test)
            say(f"{outcome} ({self.part.name}) {test}")
        if outcome != "ERROR":
            self.outcomes[outcome] += 1


class Suite:
    """All parts, so many at a time."""

    def __init__(self, folder: Path, at_a_time: int) -> None:
        self._environ = {**os.environ, "TMPDIR": str(folder)}
        self._at_a_time = at_a_time
        self._begun = time.monotonic()
        self._told = 0.0
        self.runs: list[Run] = []

    def run(self, wanted: list[parts.Part]) -> None:
        """Run them; returns when all have ended."""
        waiting = list(wanted)
        while waiting or self._running():
            while waiting and len(self._running()) < self._at_a_time:
                self.runs.append(Run(waiting.pop(0), self._environ))
            self._reap()
            self._tell()
            time.sleep(POLL_INTERVAL_S)

    def retry(self) -> None:
        """Ask the tests that have failed again, alone, if they are few."""
        red = [run for run in self.runs if run.code == 1 and run.red]
        if not red or sum(len(set(run.red)) for run in red) > RETRY_LIMIT:
            return
        for run in red:
            say(f"asking {len(set(run.red))} of {run.part.name} again, alone ...")
            alone = replace(run.part, name=f"{run.part.name}, alone", tests=(*set(run.red),))
            self.run([alone])
            run.settle(self.runs.pop())

    def interrupt(self) -> None:
        """End what runs, and wait for that."""
        for run in self._running():
            run.interrupt()
        deadline = time.monotonic() + END_TIMEOUT_S
        while self._running() and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL_INTERVAL_S)

    def _running(self) -> list[Run]:
        return [run for run in self.runs if run.code is None]

    def _reap(self) -> None:
        """Take the ends of parts, and of what tests have detached, which ends at us."""
        with suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                for run in self._running():
                    if run.process.pid == ended[0]:
                        run.process.returncode = os.waitstatus_to_exitcode(ended[1])
                        run.ended(run.process.returncode, ended[2].ru_utime + ended[2].ru_stime)
                        self._tell_end(run)

    def _tell(self) -> None:
        if time.monotonic() - self._told < REPORT_INTERVAL_S:
            return
        self._told = time.monotonic()
        how_far = [f"{run.part.name} {run.done}/{run.count or '?'}" for run in self._running()]
        red = sum(len(run.red) for run in self.runs)
        seconds = time.monotonic() - self._begun
        say(f"{seconds:4.0f} s  {'  '.join(how_far)}" + (f"  RED: {red}" if red else ""))

    def _tell_end(self, run: Run) -> None:
        colour = "green" if run.code == 0 else "RED"
        outcomes = ", ".join(f"{number} {word.lower()}" for word, number in run.outcomes.items())
        say(
            f"{colour} ({run.part.name}) {outcomes} in {run.seconds:.0f} s"
            f" ({run.cpu:.0f} s CPU), --randomly-seed={run.seed}"
        )


def say(line: str) -> None:
    """A line at once, whole, from whatever thread."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def adopt_orphans() -> None:
    """What loses its parent below us becomes our child, so that it can be found; Linux alone."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill whatever is still there below us."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while (left := list(processes.descendants(os.getpid()))) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(POLL_INTERVAL_S)


def left_behind(folder: Path) -> list[str]:
    """The processes and the folders that are there when all parts have ended, by what they are."""
    deadline = time.monotonic() + LEFT_WAIT_S
    while (found := list(processes.descendants(os.getpid()))) and time.monotonic() < deadline:
        reap()
        time.sleep(POLL_INTERVAL_S)
    others = (path.name for path in folder.iterdir() if not path.name.startswith(PYTESTS_OWN))
    return [
        *(f"process {pid}: {_command_line(pid)}" for pid in found),
        *(f"folder {name}" for name in sorted(others)),
    ]


def reap() -> None:
    """Take the ends of what has ended at us."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _command_line(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "it has ended"
    return " ".join(line.decode(errors="replace").split("\0"))[:COMMAND_LINE_LIMIT].rstrip()


def summary(runs: list[Run], left: list[str]) -> None:
    """What there is to read when all is done: the reports of the red parts last, then their list."""
    for run in sorted(runs, key=lambda run: (run.code != 0, bool(run.flaky))):
        say(f"\n{'=' * 20} {run.part.name} {'=' * 20}\n{run.report()}".rstrip())
    flaky = [(run.part.name, test) for run in runs for test in run.flaky]
    for name, test in flaky:
        say(f"\nFLAKY: {name}: failed beside the others, passed alone\n  {test}")
    red = [run for run in runs if run.code != 0]
    for run in red:
        say(f"\nRED: {run.part.name} (exit code {run.code})")
        for test in dict.fromkeys(run.red):
            say(f"  {test}")
    if left:
        say("\nRED: left behind by the tests")
        for each in left:
            say(f"  {each}")
    if not red and not left:
        say("\nall green")


def main() -> int:
    """Run; the exit code."""
    reader = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    reader.add_argument("--at-a-time", type=int, default=AT_A_TIME, help="how many parts")
    names = [part.name for part in parts.PARTS]
    reader.add_argument("parts", nargs="*", help=f"which ({', '.join(names)}); all without")
    told = reader.parse_args()
    if unknown := set(told.parts) - set(names):
        reader.error(f"no such part: {', '.join(unknown)}")
    wanted = [part for part in parts.PARTS if part.name in (told.parts or names)]
    adopt_orphans()
    # Also where a shell has what it starts in the background ignore an interrupt.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # Others get to what tests put beside their own folders; short, for the paths of sockets.
    folder = Path(tempfile.mkdtemp(prefix="xo-"))
    folder.chmod(0o755)
    suite = Suite(folder, told.at_a_time)
    try:
        suite.run(wanted)
        suite.retry()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("interrupted: ending what runs ...")
        suite.interrupt()
        end_descendants()
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    left = left_behind(folder)
    end_descendants()
    summary(suite.runs, left)
    if left or any(run.code for run in suite.runs):
        say(f"the folders of tests that failed are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
