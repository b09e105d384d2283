"""What the loop did, what was left and what was wrong."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SHOWN = 10


@dataclass(slots=True)
class Row:
    """One kind of fault: how often, how each try ended, measured facts, and every fault found."""

    kind: str
    done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def saw(self, outcome: str) -> None:
        """A try ended so."""
        with self.lock:
            self.outcomes[outcome] += 1

    def did(self) -> None:
        with self.lock:
            self.done += 1

    def check(self, right: bool, sentence: str) -> bool:
        """Note `sentence` as a fault unless `right`."""
        if not right:
            with self.lock:
                self.wrong.append(sentence)
        return right

    def lines(self) -> list[str]:
        """The row as text for a person."""
        ended = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        found = [f"{self.kind:<12} {self.done:>4} in {self.seconds:.0f} s: {ended}"]
        found += [f"{'':17} {facts}"] if facts else []
        found += [f"{'':17} WRONG: {sentence}" for sentence in self.wrong[:SHOWN]]
        if len(self.wrong) > SHOWN:
            found.append(f"{'':17} ... and {len(self.wrong) - SHOWN} more")
        return found


@dataclass(slots=True)
class Report:
    """The whole run; `left` is how many processes of ours were there when all servers had ended."""

    seed: int
    scale: float
    rows: list[Row] = field(default_factory=list)
    left: int = 0
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        return not self.left and not any(row.wrong for row in self.rows)

    def verdict(self) -> str:
        """The last lines."""
        found = sum(len(row.wrong) for row in self.rows)
        said = "nothing was left or wrong" if self.right else f"FAILED, {found} things were wrong"
        head = f"seed {self.seed}, scale {self.scale:g}, {self.seconds:.0f} s"
        return f"{head}: {self.left} processes left, {said}"

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                item.name: getattr(row, item.name)
                for item in dataclasses.fields(row)
                if item.name != "lock"
            }
            for row in self.rows
        ]
        whole = {"seed": self.seed, "scale": self.scale, "seconds": round(self.seconds, 1)}
        return {**whole, "right": self.right, "left": self.left, "rows": rows}
