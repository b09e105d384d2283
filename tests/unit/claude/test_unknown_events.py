"""Unknown events are counted by a bounded number of names, and told of once a version."""

from __future__ import annotations

import pytest
import structlog

from cowork.claude import unknown_events
from cowork.claude.unknown_events import UnknownEvents


def test_each_is_counted_and_logged_once_a_version() -> None:
    seen = UnknownEvents()
    with structlog.testing.capture_logs() as logs:
        for version in ("2.1.1", "2.1.1", "2.1.2"):
            seen.saw(["system:new", "type:new"], version)
    assert seen.counts() == {"system:new": 3, "type:new": 3}
    assert [(each["name"], each["version"]) for each in logs] == [
        ("system:new", "2.1.1"),
        ("type:new", "2.1.1"),
        ("system:new", "2.1.2"),
        ("type:new", "2.1.2"),
    ]


def test_names_and_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_events, "NAMES_LIMIT", 2)
    monkeypatch.setattr(unknown_events, "TOLD_LIMIT", 3)
    seen = UnknownEvents()
    with structlog.testing.capture_logs() as logs:
        for number in (0, 1, 2, 3, 4, 0):
            seen.saw([f"type:{number}"], None)
    assert seen.counts() == {"type:0": 2, "type:1": 1, "other": 3}
    assert len(logs) == 3
