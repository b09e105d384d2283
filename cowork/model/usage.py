"""What turns have spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the CLI counts them; those read from and written to the cache are apart."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def plus(self, usage: Mapping[str, Any] | None) -> Usage:
        """With the CLI's own `usage` object of one more turn; what is no number counts nothing."""
        found = usage or {}
        return Usage(
            self.input_tokens + _number(found.get("input_tokens")),
            self.output_tokens + _number(found.get("output_tokens")),
            self.cache_read_tokens + _number(found.get("cache_read_input_tokens")),
            self.cache_write_tokens + _number(found.get("cache_creation_input_tokens")),
        )


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


@dataclass(frozen=True, slots=True)
class Spending:
    """What a turn took of one model; `model` is `""` where the CLI does not tell which."""

    model: str
    usage: Usage = Usage()
    cost_usd: float = 0.0


class UsageBy(StrEnum):
    """What usage is summed by; `KEY` is by owner."""

    DAY = "day"
    PROJECT = "project"
    KEY = "key"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What turns took together: of one day, project (`owner` and `name`), owner or model.

    The others are None.  The day is that of the turns' ends, in UTC.
    """

    turns: int
    usage: Usage
    cost_usd: float
    day: date | None = None
    owner: str | None = None
    name: str | None = None
    model: str | None = None
