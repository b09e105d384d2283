"""What every suite is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench.fake import Fake
from bench.figures import Measure, table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setup:
    """Where to write, which CLI to use, and how much time there is; `quick` is for a try.

    `profile` is a folder for where each server's CPU time went; looking costs a few per cent.
    """

    folder: Path
    fake: Fake
    claude: str | None
    quick: bool = False
    profile: Path | None = None

    def real(self) -> str:
        """The real CLI; ends the run where there is none."""
        if self.claude is None:
            raise SystemExit("this suite needs the claude CLI: make install-cli")
        return self.claude

    def pick(self, full: T, quick: T) -> T:
        """The size of something."""
        return quick if self.quick else full


@dataclass(slots=True)
class Report:
    """What a suite found: `measures` for the last table, `details` for the JSON file."""

    measures: list[Measure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def show(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table now; a run takes minutes."""
        print(f"\n{table(rows)}\n", flush=True)
