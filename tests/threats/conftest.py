"""Fixtures of the threat tests; those on the real CLI use the end-to-end suite's stage."""

from __future__ import annotations

from tests.e2e.conftest import staged

__all__ = ["staged"]
