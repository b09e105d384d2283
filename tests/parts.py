"""The parts of the suite that run side by side: each test in one of them plain, and in one patched.

`python -m tests` runs them; a folder that is new is in the parts that name nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Loads on a server of their own: few tests, each of which takes long.
LOADS = ("attack", "bench", "faults", "soak")
# Folders in a folder that are parts of their own.
NESTED = ("contract/dialects", "unit/claude")
# Folders of tests of programs, which are the same thing patched; see tests/patched.py.
PROGRAMS = (*LOADS, "clients", "console", "e2e", "terminal", "workers")


@dataclass(frozen=True, slots=True)
class Part:
    """One pytest: over these folders, or over all but those, or over these `tests` of them alone.

    `files_left_out` are patterns of files that are another part's.
    """

    name: str
    patched: bool = False
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    files_left_out: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Its argv; run at the root of the checkout."""
        program = (
            ["-m", "gevent.monkey", "--module", "pytest"] if self.patched else ["-m", "pytest"]
        )
        cache = ["-o", f"cache_dir=.pytest_cache/{self.name}"]
        left_out = [
            f"--ignore=tests/{name}" for each in self.folders_left_out() for name in _in(each)
        ]
        left_out += [f"--ignore-glob=tests/{pattern}" for pattern in self.files_left_out]
        return [sys.executable, *program, "-v", *cache, *(self.tests or left_out)]

    def has(self, path: str) -> bool:
        """Whether this file below `tests` is its business."""
        if any(fnmatch(path, pattern) for pattern in self.files_left_out):
            return False
        return _folder_of(path) not in self.folders_left_out()

    def folders_left_out(self) -> list[str]:
        """What is not its business; by exclusion, so that pytest takes it for the whole suite."""
        if not self.only:
            return list(self.without)
        return [name for name in folders() if name not in self.only]


@cache  # where npm has installed something there is much to look through
def folders() -> list[str]:
    """The folders that have tests; of one with a nested folder, what is in it besides that."""
    found = [path.relative_to(HERE) for path in HERE.rglob("test_*.py")]
    return sorted({_folder_of(path.as_posix()) for path in found})


def _folder_of(path: str) -> str:
    nested = [folder for folder in NESTED if path.startswith(f"{folder}/")]
    return nested[0] if nested else path.partition("/")[0]


def _in(folder: str) -> list[str]:
    """The paths that a folder is, without those nested in it."""
    nested = [each for each in NESTED if each.startswith(f"{folder}/")]
    if not nested:
        return [folder]
    inside = (path.relative_to(HERE).as_posix() for path in (HERE / folder).iterdir())
    return sorted(path for path in inside if path not in nested)


# The longest first.  What takes most is two parts: the last one to end would keep one core busy.
PARTS = (
    Part("e2e-a-m", only=("e2e",), files_left_out=("e2e/test_[n-z]*.py",)),
    Part("e2e-n-z", only=("e2e",), files_left_out=("e2e/test_[a-m]*.py",)),
    Part("loads", only=LOADS),
    Part("patched", patched=True, without=(*PROGRAMS, "unit", "unit/claude")),
    Part("plain", without=(*PROGRAMS, "contract", "contract/dialects", "unit", "unit/claude")),
    Part("workers", only=("workers",)),
    Part("clients", only=("clients",)),
    Part("console", only=("console",)),
    Part("terminal", only=("terminal",)),
    Part("patched-processes", patched=True, only=("unit/claude",)),
    Part("contract", only=("contract",)),
    Part("dialects", only=("contract/dialects",)),
    Part("processes", only=("unit/claude",)),
    Part("patched-unit", patched=True, only=("unit",)),
    Part("unit", only=("unit",)),
)
