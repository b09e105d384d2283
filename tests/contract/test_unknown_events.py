"""What the CLI says that the server does not know is passed over, and counted in `/health`."""

from __future__ import annotations

from tests.serving import Served


def told(served: Served) -> dict[str, int]:
    found: dict[str, int] = served.get("/health").json()["claude"]["unknown_events"]
    return found


def test_unknown_events_are_passed_over_and_counted(served: Served) -> None:
    for question in ("[[words 3]]", "[[think 2]] [[words 3]]", "[[tool]]", "[[subagent]]"):
        served.ask(question)
    assert told(served) == {}
    assert served.ask("[[garbage]] [[words 30]]").json()["message"].startswith("w1 w2")
    counted = told(served)
    new = {"type:something_new", "system:something_new", "stream_event:something_new"}
    assert new | {"delta:new_delta"} <= counted.keys()
    assert "delta:text_delta" not in counted
