"""What turns, sessions and the server say was spent, beside what the model has counted itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cowork.demo.record import RecordedRequest
from tests.e2e.approving import decide, when_pending, write
from tests.e2e.environment import Stage, at_long_tool, kill, long_tool
from tests.e2e.test_approvals_outlive import ask as ask_approved
from tests.e2e.test_approvals_outlive import durable, ended, kill_worker, restarted
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

KINDS = ("input_tokens", "output_tokens")
# A token of the output costs as much as five of the input.
WEIGHTS = (1, 5)
# What an interrupted request has written so far is the CLI's guess: no more than all of it.
GUESS = 60


def counted(exchanges: list[RecordedRequest]) -> Counter[str]:
    """The tokens that the model has told of."""
    found: Counter[str] = Counter()
    for each in exchanges:
        found.update({kind: each.usage.get(kind, 0) for kind in KINDS})
    return found


def of(told: dict[str, Any]) -> dict[str, int]:
    return {kind: told[kind] for kind in KINDS}


def used(server: Client, by: str = "day") -> dict[str, Any]:
    found: dict[str, Any] = server.get("/usage", params={"by": by}).json()
    return found


def session_of(server: Client, project: str = "p") -> dict[str, Any]:
    found: dict[str, Any] = server.get(f"/sessions/{project}").json()
    return found


def price(stage: Stage, *plain: dict[str, Any]) -> float:
    """What the CLI asks for all that the model has told of.

    `plain` are turns of one request and one process each, a model's price is known by.
    """
    rates = {
        name: told["cost_usd"] / weight(told)
        for each in plain
        for name, told in each["usage_by_model"].items()
    }
    return sum(rates[each.body["model"]] * weight(each.usage) for each in stage.model.exchanges)


def weight(usage: dict[str, Any]) -> int:
    return sum(usage.get(kind, 0) * one for kind, one in zip(KINDS, WEIGHTS, strict=True))


def test_two_models_a_sub_agent_a_fork_an_interrupt_and_five_resumes(stage: Stage) -> None:
    server = stage.server

    def asked(question: str, project: str = "p", **body: Any) -> dict[str, Any]:
        reply = server.ask(question, project, **body)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    plain = asked("[[words 5]]"), asked("[[words 50]]", model="haiku")
    task = {"description": "d", "prompt": "[[words 50]]", "subagent_type": "general-purpose"}
    asked(f"[[tool Task {json.dumps(task)}]]")
    for number in range(5):
        told = asked(f"[[words {number + 1}]]")
        kill(stage.cli(told["session_id"])) if number % 2 else end_process(server)
        wait_for(lambda: not stage.clis(), what="the end of its process")
    assert server.post("/sessions/p/fork", {"to": "fork"}).status_code == 201
    asked("[[words 7]]", "fork")
    asked("[[words 8]]")
    assert [each.kind for each in stage.model.exchanges].count("agent") == 1

    whole, model = used(server), counted(stage.model.exchanges)
    assert of(whole["total"]) == model
    paid = pytest.approx(price(stage, *plain))
    assert whole["total"]["cost_usd"] == paid
    assert whole["total"]["turns"] == 10
    sessions = [session_of(server, name) for name in ("p", "fork")]
    assert sum((Counter(of(each["usage"])) for each in sessions), Counter()) == model
    assert sum(each["total_cost_usd"] for each in sessions) == paid
    for row in used(server, "model")["usage"]:
        by = [each for each in stage.model.exchanges if each.body["model"] == row["model"]]
        assert of(row) == counted(by)

    # The input is the model's count; the output that was on its way is told by nobody.
    seen = len(stage.model.exchanges)
    with server.stream("[[words 500]] [[delay 20]] cut") as reply:
        stage.wait_words("[[words 500]] [[delay 20]] cut")
        server.post("/sessions/p/interrupt")
        reply.content  # noqa: B018 - to its end
    cut = counted(stage.model.exchanges[seen:])
    added = Counter(of(used(server)["total"])) - Counter(of(whole["total"]))
    assert added["input_tokens"] == cut["input_tokens"]
    assert cut["output_tokens"] <= added["output_tokens"] <= cut["output_tokens"] + GUESS
    assert session_of(server)["total_cost_usd"] > sessions[0]["total_cost_usd"]


def end_process(server: Client) -> None:
    (shown,) = server.get("/processes").json()["processes"]
    assert server.delete(f"/processes/{shown['id']}").status_code == 200


@pytest.fixture
def asking(staged: Callable[..., Stage], tmp_path: Path) -> Stage:
    """A server whose turns wait for a person, for as long as that takes."""
    return durable(staged, tmp_path)


def agrees(stage: Stage, server: Client, done: dict[str, Any]) -> None:
    """The turn, its session and the whole have what the model counted, and cost that.

    A plain turn follows it, which is asked here.
    """
    seen = len(stage.model.exchanges)
    plain = server.ask("[[words 9]]").json()
    model = counted(stage.model.exchanges)
    assert of(used(server)["total"]) == model
    assert used(server)["total"]["cost_usd"] == pytest.approx(price(stage, plain))
    assert of(session_of(server)["usage"]) == model
    assert session_of(server)["total_cost_usd"] == pytest.approx(price(stage, plain))
    turn = counted(stage.model.exchanges[:seen])
    (told,) = done["usage_by_model"].values()
    assert of(told) == of(done["usage"]) == turn
    assert told["cost_usd"] == pytest.approx(done["total_cost_usd"])


def test_a_turn_that_waits_over_a_kill_of_its_worker(asking: Stage) -> None:
    first, second = (asking.workspace / name for name in ("one.txt", "two.txt"))
    approval = ask_approved(asking.server, f"{write(first)}{write(second)}")
    decide(asking.server, approval)
    wait_for(first.exists, what="the first file")
    (other,) = when_pending(asking.server)
    kill_worker(asking.server)
    kill_worker(asking.server)
    decide(asking.server, other)
    done = ended(asking.server, approval)
    assert (done["state"], done["files_changed"]) == ("succeeded", ["one.txt", "two.txt"])
    agrees(asking, asking.server, done)


def test_a_turn_that_waits_over_a_stop_and_what_was_denied_before(asking: Stage) -> None:
    first, second = (asking.workspace / name for name in ("one.txt", "two.txt"))
    approval = ask_approved(asking.server, f"{write(first)}{write(second)}")
    decide(asking.server, approval, "deny", message="not this one")
    (other,) = when_pending(asking.server)
    with restarted(asking) as server:
        decide(server, other, "deny", message="nor this")
        done = ended(server, approval)
        assert [each["why"] for each in done["permission_denials"]] == ["not this one", "nor this"]
        paths = [each["input"]["file_path"] for each in done["permission_denials"]]
        assert paths == [str(first), str(second)]
        agrees(asking, server, done)


def test_a_turn_whose_process_the_pool_has_taken_and_that_is_interrupted_then(
    staged: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = durable(staged, tmp_path, COWORK_MAX_PROCESSES="1")
    approval = ask_approved(stage.server, write(stage.workspace / "never.txt"))
    turn = counted(stage.model.exchanges)
    plain = stage.server.ask("[[say other]]", "other").json()
    stage.server.post(f"/turns/{approval['turn_id']}/interrupt")
    done = ended(stage.server, approval)
    assert done["state"] == "interrupted"
    assert of(done["usage"]) == turn
    assert of(session_of(stage.server)["usage"]) == turn
    assert of(used(stage.server)["total"]) == counted(stage.model.exchanges)
    assert used(stage.server)["total"]["cost_usd"] == pytest.approx(price(stage, plain))


def test_a_cli_that_dies_in_a_turn_leaves_the_tokens_that_are_known(
    staged: Callable[..., Stage],
) -> None:
    stage = staged()
    (stage.config / "settings.json").write_text('{"permissions": {"allow": ["Bash"]}}')
    question = long_tool(30)
    with stage.server.stream(question) as reply:
        wait_for(lambda: at_long_tool(stage, 30), what="its tool")
        (pid,) = stage.clis()
        kill(pid)
        reply.content  # noqa: B018 - to its end
    turn_id = reply.headers["X-Turn-ID"]
    done = stage.server.get(f"/turns/{turn_id}").json()
    model = counted(stage.model.exchanges)
    assert (done["state"], done["total_cost_usd"]) == ("failed", None)
    assert of(done["usage"]) == model
    assert of(session_of(stage.server)["usage"]) == of(used(stage.server)["total"]) == model
    assert stage.server.ask("[[say on]]").status_code == 200
    assert of(session_of(stage.server)["usage"]) == counted(stage.model.exchanges)
