"""A session of the real CLI over several processes: its costs, and its id."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.environment import Stage, kill
from tests.serving import wait_for

pytestmark = pytest.mark.e2e

RESUMES = 5


def test_fault_t6_ten_turns_over_five_resumes_cost_what_the_model_was_paid(
    staged: Callable[..., Stage],
) -> None:
    # A process that has served two turns is put away; the next question resumes its session.
    stage = staged(COWORK_PROCESS_MAX_TURNS="2")
    told = []
    for number in range(2 * RESUMES):
        reply = stage.server.ask(f"[[say ok]] {number}", "p").json()
        told.append((reply["total_cost_usd"], reply["usage"]))
    asked = [each for each in stage.model.exchanges if each.kind == "question"]
    assert len(asked) == 2 * RESUMES
    prices = [cost / _weight(usage) for cost, usage in told]
    # One price a token, whatever process it was and however much went before.
    assert prices == pytest.approx(prices[:1] * len(prices), rel=0.01)


def _weight(usage: dict[str, int]) -> int:
    """Tokens, those written counted as often as they cost more: five times."""
    return usage["input_tokens"] + 5 * usage["output_tokens"]


def test_fault_t8_what_was_said_after_a_clear_is_known_to_the_next_process(
    staged: Callable[..., Stage],
) -> None:
    stage = staged(COWORK_SLASH_COMMANDS="true")
    first = stage.server.ask("[[say one]] before", "p").json()["session_id"]
    cleared = stage.server.ask("/clear", "p").json()
    assert cleared["session_id"] != first
    after = stage.server.ask("[[say two]] after", "p").json()
    assert after["session_id"] == cleared["session_id"]
    (pid,) = stage.clis()
    kill(pid)
    wait_for(lambda: not stage.clis(), what="the end of its process")
    last = stage.server.ask("[[count]] last", "p").json()
    assert "session_recovered" not in last
    assert last["session_id"] == after["session_id"]
    assert last["message"].startswith("I see 2 questions")
