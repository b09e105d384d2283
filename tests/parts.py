"""The parts of the suite that run side by side: each test in one of them plain, and in one patched.

`python -m tests` runs them; a folder that is new is in the parts that name nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Loads on a server of their own: few tests, each of which takes long.
LOADS = ("attack", "bench", "faults", "soak")
# Folders of tests of programs, which are the same thing patched; see tests/patched.py.
PROGRAMS = (*LOADS, "clients", "e2e")


@dataclass(frozen=True, slots=True)
class Part:
    """One pytest: over these folders, or over all but those, or over these `tests` of them alone."""

    name: str
    patched: bool = False
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Its argv; run at the root of the checkout."""
        program = (
            ["-m", "gevent.monkey", "--module", "pytest"] if self.patched else ["-m", "pytest"]
        )
        cache = ["-o", f"cache_dir=.pytest_cache/{self.name}"]
        left_out = [f"--ignore=tests/{folder}" for folder in self.folders_left_out()]
        return [sys.executable, *program, "-v", *cache, *(self.tests or left_out)]

    def folders_left_out(self) -> list[str]:
        """What is not its business; by exclusion, so that pytest takes it for the whole suite."""
        if not self.only:
            return list(self.without)
        return [name for name in folders() if name not in self.only]


def folders() -> list[str]:
    """The folders that have tests."""
    found = {path.relative_to(HERE).parts[0] for path in HERE.rglob("test_*.py")}
    return sorted(found)


# The longest first.
PARTS = (
    Part("e2e", only=("e2e",)),
    Part("loads", only=(*LOADS, "clients")),
    Part("patched", patched=True, without=(*PROGRAMS, "unit")),
    Part("contract", only=("contract",)),
    Part("plain", without=(*PROGRAMS, "contract", "unit")),
    Part("patched-unit", patched=True, only=("unit",)),
    Part("unit", only=("unit",)),
)
