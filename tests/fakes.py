"""What the fake CLIs of a test did, and how they are told to behave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fake_claude import configure, read_log
from tests.serving import wait_for


class Fakes:
    """What the fakes of a test did, and how they are told to behave."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "fakes.log"
        self._config = folder / "fakes.json"

    def settings(self, **keys: object) -> dict[str, str]:
        """The environment that makes every fake keep the log and obey `keys`."""
        return configure(self._config, log=str(self.log), **keys)

    def entries(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in read_log(self.log) if entry["event"] == event]

    @property
    def asked(self) -> list[str]:
        """The text of each question as it reached the CLI."""
        return [entry["text"] for entry in self.entries("asked")]

    def wait_asked(self, count: int = 1) -> None:
        """Wait until the CLI has so many questions."""
        wait_for(lambda: len(self.asked) >= count, what=f"question {count} at the CLI")


class Clock:
    """Time that passes when it is told to; seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
