"""Times in replies."""

from __future__ import annotations

from datetime import UTC, datetime


def founding(at: datetime) -> str:
    """As the founding document writes it: UTC, six digits, no offset.

    For its own endpoints, whose clients read it with `strptime`.
    """
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def rfc3339(at: datetime) -> str:
    """RFC 3339: UTC, six digits, `Z`."""
    return founding(at) + "Z"
