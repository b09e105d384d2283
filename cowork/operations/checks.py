"""What the doctor has found: a line with its cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

OK, WARN, FAIL = "ok", "warn", "fail"
_ORDER = (OK, WARN, FAIL)


@dataclass(frozen=True, slots=True)
class Check:
    """`status` is `ok`, `warn` (it runs, but not as it should) or `fail` (it would not)."""

    name: str
    status: str
    message: str
    cure: str = ""

    def line(self) -> str:
        """For a person."""
        cure = f". Cure: {self.cure}" if self.cure else ""
        return f"{self.status:<4}  {self.name:<11}  {self.message}{cure}"

    def as_json(self) -> dict[str, str]:
        """For a program."""
        return asdict(self)


def worst_of(found: Iterable[Check]) -> str:
    """The worst status among them."""
    return max((each.status for each in found), key=_ORDER.index, default=OK)
