"""`traceparent` is taken as the standard has it, and anything else is none."""

from __future__ import annotations

import pytest

from cowork.telemetry import traceparent
from cowork.telemetry.traceparent import Traces, parse

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("given", [GOOD, f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-ff"])
def test_a_good_one_is_taken_as_it_is(given):
    assert parse(given) == given


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        GOOD.upper(),
        f" {GOOD}",
        f"{GOOD} ",
        f"{GOOD}\n",
        f"{GOOD}-more",
        f"{GOOD},{GOOD}",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}g-01",
        f"00-{TRACE}-{PARENT}",
        GOOD.replace("4", "\u0664"),
        GOOD * 100,
    ],
)
def test_anything_else_is_none(given):
    assert parse(given) is None


def test_the_traces_of_the_latest_turns_are_kept(monkeypatch):
    monkeypatch.setattr(traceparent, "MAX_TURNS", 2)
    traces = Traces()
    for number in range(3):
        traces.put(f"turn-{number}", f"trace-{number}")
    traces.put("turn-9", None)
    found = [traces.of_message(f"turn-{number}-answer") for number in range(3)]
    assert found == [None, "trace-1", "trace-2"]
