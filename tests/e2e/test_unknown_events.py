"""This CLI says nothing that the server does not know: what a newer one adds is noticed here."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e

BASH = f"[[tool Bash {json.dumps({'command': 'echo hi', 'description': 'd'})}]]"
AGENT = json.dumps(
    {"description": "d", "prompt": f"[[think 2]] {BASH} x", "subagent_type": "general-purpose"}
)
EVENTS = ["tool", "status", "thinking", "subagent", "usage"]


def test_all_that_the_cli_says_is_known(staged: Callable[..., Stage]) -> None:
    stage = staged(COWORK_SLASH_COMMANDS="true")
    seen: set[object] = set()
    for question in (
        "[[think 3]] [[words 5]]",
        BASH,
        f"[[tool Task {AGENT}]]",
        "[[status 529 1]] [[say again]]",
        "[[break 1]] [[words 9]]",
        "[[max_tokens]] [[words 9]]",
        "/compact",
        "[[say after]]",
    ):
        for frame in stage.server.streamed(question, "all of it", events=EVENTS):
            seen |= {frame.data.get("type"), frame.data.get("status")}
    assert {"thinking", "tool_use", "tool_result", "subagent", "usage"} <= seen
    assert {"api_retry", "compacting", "compact_boundary"} <= seen
    stage.server.ask("[[refuse]]", "all of it")
    stage.server.ask("[[say another]]", "all of it", model="haiku", effort="low")
    assert stage.server.get("/health").json()["claude"]["unknown_events"] == {}
