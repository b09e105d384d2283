"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cowork.terminal.facts import number

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_UNITS = (("d", _DAY), ("h", _HOUR), ("min", _MINUTE))
_CENT = 0.01


def span(seconds: float) -> str:
    """A duration in its largest unit: `0.3 s`, `12 s`, `5 min`, `3 h`, `2 d`."""
    for name, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{int(seconds)} s"  # noqa: PLR2004 - one digit


def clock(seconds: float) -> str:
    """A time that runs down: `4:58`."""
    left = max(0, int(seconds))
    return f"{left // _MINUTE}:{left % _MINUTE:02}"


def ago(when: Any) -> str:
    """How long a moment (RFC 3339) is ago."""
    passed = seconds_until(when)
    return "" if passed is None else f"{span(max(0.0, -passed))} ago"


def seconds_until(when: Any) -> float | None:
    """Seconds until a moment (RFC 3339); None where there is none that can be read."""
    moment = _moment(when)
    return None if moment is None else (moment - datetime.now(UTC)).total_seconds()


def local(when: Any) -> str:
    """A moment (RFC 3339) on the clock of this machine: `27 Nov 14:05`."""
    moment = _moment(when)
    return "" if moment is None else moment.astimezone().strftime("%d %b %H:%M")


def _moment(when: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(when)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def money(value: Any) -> str:
    """US dollars; empty where they are not known."""
    usd = number(value)
    if usd is None:
        return ""
    return f"${usd:.2f}" if usd >= _CENT or usd == 0 else f"${usd:.4f}"


def size(value: Any) -> str:
    """Bytes: `157 MiB`; empty where they are not known."""
    count = number(value)
    if count is None:
        return ""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004 - a unit is 1024 of the one before
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def plural(value: Any, noun: str) -> str:
    """`1 turn`, `2 turns`."""
    count = int(number(value) or 0)
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
