"""What a reply says, read without trust: another server, or a broken one, may answer anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def part(reply: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in it; an empty one where there is none."""
    found = reply.get(name)
    return found if isinstance(found, Mapping) else {}


def items(reply: Mapping[str, Any], name: str) -> list[Any]:
    """A list in it; an empty one where there is none."""
    found = reply.get(name)
    return found if isinstance(found, list) else []


def number(value: Any) -> float | None:
    """A number that can be reckoned with, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # JSON's whole numbers have no end
        return None
