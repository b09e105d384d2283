"""A person in the loop over HTTP, on the real CLI."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.approving import asked, bash, decide, pending, write
from tests.e2e.environment import Stage, open_stage
from tests.scraping import Scrape
from tests.serving import Client

pytestmark = pytest.mark.e2e

# The project of those that leave their session as any other turn does: one start of the CLI.
TOGETHER = "together"


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server whose turns may ask a person."""
    folder = tmp_path_factory.mktemp("stage")
    with open_stage(folder, real_claude, COWORK_APPROVALS="optional") as opened:
        yield opened


def test_an_allowed_tool_runs_and_only_then(stage: Stage) -> None:
    file = stage.workspace / "allowed.txt"
    with asked(stage.server, write(file), TOGETHER) as turn:
        approval = turn.approval()
        assert (approval["kind"], approval["tool"]) == ("tool", "Write")
        assert approval["input"] == {"file_path": str(file), "content": "x"}
        (waiting,) = pending(stage.server, project=TOGETHER)
        turn_id = waiting["turn_id"]
        shown = stage.server.get(f"/turns/{turn_id}").json()
        assert (shown["state"], shown["waiting_for"]) == ("running", [approval["id"]])
        time.sleep(0.5)
        assert not file.exists()
        reply = decide(stage.server, approval)
        assert (reply.status_code, reply.json()["decision"]) == (200, "allow")
        last = turn.end()
    assert (last["success"], last["files_changed"]) == (True, ["allowed.txt"])
    assert file.read_text() == "x"
    (resolved,) = turn.of("approval_resolved")
    assert (resolved["id"], resolved["decision"]) == (approval["id"], "allow")
    kept = stage.server.get("/approvals", params={"state": "resolved", "turn": turn_id}).json()
    (audit,) = kept["approvals"]
    assert audit["input_digest"] == waiting["input_digest"]
    assert "input" not in audit
    assert audit["applied_at"] is not None
    assert audit["address"] == "127.0.0.1"


def test_an_approval_is_counted_while_it_waits_and_after(stage: Stage) -> None:
    before = Scrape(stage.server)
    with asked(stage.server, write(stage.workspace / "counted.txt"), "counted") as turn:
        approval = turn.approval()
        waiting = before.value("approvals_pending", kind="tool") + 1
        assert Scrape(stage.server).value("approvals_pending", kind="tool") == waiting
        decide(stage.server, approval)
        turn.end()
    after = Scrape(stage.server)
    allowed = {"kind": "tool", "decision": "allow"}
    for name, labels in (("approvals_total", allowed), ("approval_wait_seconds_count", {})):
        assert after.value(name, **labels) == before.value(name, **labels) + 1, name
    assert after.value("approvals_pending", kind="tool") == waiting - 1


def test_a_denied_tool_does_not_run_and_the_model_is_told_why(stage: Stage) -> None:
    file = stage.workspace / "denied.txt"
    with asked(stage.server, write(file), TOGETHER) as turn:
        decide(stage.server, turn.approval(), "deny", message="not on a Friday")
        last = turn.end()
    assert last["success"]
    assert "not on a Friday" in turn.text
    assert not file.exists()
    (denial,) = last["permission_denials"]
    assert denial == {
        "tool": "Write",
        "input": {"file_path": str(file), "content": "x"},
        "why": "not on a Friday",
    }


def test_a_denial_may_end_the_turn(stage: Stage) -> None:
    file = stage.workspace / "ended.txt"
    with asked(stage.server, write(file), TOGETHER) as turn:
        decide(stage.server, turn.approval(), "deny", interrupt=True)
        last = turn.end()
    assert not last["success"]
    assert turn.of("error")[0]["code"] == "turn_interrupted"
    assert not file.exists()
    assert stage.server.ask("[[say on]]", TOGETHER).json()["message"] == "on"


def test_a_changed_input_is_what_runs(stage: Stage) -> None:
    file, other = stage.workspace / "asked.txt", stage.workspace / "changed.txt"
    with asked(stage.server, write(file), TOGETHER) as turn:
        changed = {"file_path": str(other), "content": "y"}
        assert decide(stage.server, turn.approval(), input=changed).status_code == 200
        assert turn.end()["files_changed"] == ["changed.txt"]
    assert (file.exists(), other.read_text()) == (False, "y")


def test_what_is_remembered_is_never_wider_than_the_operators_and_nothing_is_written(
    stage: Stage,
) -> None:
    first, second = (stage.workspace / f"remembered-{number}.txt" for number in (1, 2))
    with asked(stage.server, write(first), "remembered") as turn:
        assert turn.approval()["suggestions"]
        assert decide(stage.server, turn.approval(), remember="session").status_code == 200
        turn.end()
    with asked(stage.server, write(second), "remembered") as turn:
        # The suggestion was to accept all edits, which is wider than what the operator has set.
        decide(stage.server, turn.approval())
        assert turn.end()["success"]
    assert not (stage.workspace / ".claude").exists()


def test_a_rule_is_remembered_for_the_session(stage: Stage) -> None:
    file = stage.workspace / "touched"
    with asked(stage.server, bash(f"touch {file}-1"), "rules") as turn:
        assert decide(stage.server, turn.approval(), remember="session").status_code == 200
        assert turn.end()["success"]
    with asked(stage.server, bash(f"touch {file}-1"), "rules") as turn:
        assert turn.end()["success"]
        assert turn.of("approval") == []
    assert not (stage.workspace / ".claude").exists()


def test_nobody_answers_and_the_turn_goes_on(stage: Stage) -> None:
    file = stage.workspace / "expired.txt"
    with asked(stage.server, write(file), TOGETHER, approval_timeout=1) as turn:
        approval = turn.approval()
        last = turn.end()
    assert last["success"]
    assert turn.of("approval_resolved")[0]["decision"] == "expired"
    late = decide(stage.server, approval)
    assert (late.status_code, late.json()["detail"]["code"]) == (410, "approval_expired")
    assert not file.exists()


def test_of_two_who_answer_the_first_counts(stage: Stage, another: Callable[..., Client]) -> None:
    clients = [another(stage.server.url) for _ in range(8)]
    file = stage.workspace / "raced.txt"
    with asked(stage.server, write(file), TOGETHER) as turn:
        approval = turn.approval()
        with ThreadPoolExecutor(8) as pool:
            words = ["allow", "deny"] * 4
            replies = list(
                pool.map(
                    lambda each: decide(each[0], approval, each[1]),
                    zip(clients, words, strict=True),
                )
            )
        turn.end()
    assert sorted(each.status_code for each in replies) == [200] + [409] * 7
    won = next(each.json()["decision"] for each in replies if each.status_code == 200)
    lost = next(each.json()["detail"] for each in replies if each.status_code == 409)
    assert (lost["code"], lost["decision"]) == ("approval_resolved", won)
    assert file.exists() == (won == "allow")


def test_an_interrupt_takes_back_what_it_waits_for(stage: Stage) -> None:
    file = stage.workspace / "interrupted.txt"
    with asked(stage.server, write(file), TOGETHER) as turn:
        approval = turn.approval()
        stage.server.post(f"/sessions/{TOGETHER}/interrupt")
        assert not turn.end()["success"]
    late = decide(stage.server, approval)
    assert (late.status_code, late.json()["detail"]["decision"]) == (409, "cancelled")
    assert (pending(stage.server, project=TOGETHER), file.exists()) == ([], False)


def test_a_question_is_answered(stage: Stage) -> None:
    questions = [
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [
                {"label": "Red", "description": "warm"},
                {"label": "Blue", "description": "cold"},
            ],
        }
    ]
    tool = f"[[tool AskUserQuestion {json.dumps({'questions': questions})}]]"
    with asked(stage.server, tool, TOGETHER) as turn:
        approval = turn.approval()
        assert (approval["kind"], approval["questions"][0]["header"]) == ("question", "Colour")
        refused = decide(stage.server, approval, "answer", answers={"Which size?": "Blue"})
        assert refused.status_code == 422
        assert decide(stage.server, approval).status_code == 422
        given = decide(stage.server, approval, "answer", answers={"Which colour?": "Blue"})
        assert given.json()["decision"] == "answer"
        turn.end()
    assert '"Which colour?"="Blue"' in turn.text


def test_a_plan_is_approved_and_the_next_question_is_not_in_its_mode(stage: Stage) -> None:
    file = stage.workspace / "after-plan.txt"
    with asked(stage.server, "[[tool ExitPlanMode {}]]", "plans", permission_mode="plan") as turn:
        approval = turn.approval()
        assert approval["kind"] == "plan"
        wider = decide(stage.server, approval, permission_mode="acceptEdits")
        assert wider.status_code == 422
        assert decide(stage.server, approval).status_code == 200
        assert turn.end()["success"]
    with asked(stage.server, write(file), "plans", permission_mode="plan") as turn:
        decide(stage.server, turn.approval(), "deny")
        turn.end()
    assert not file.exists()


def test_three_at_once(stage: Stage) -> None:
    outside = [stage.folder / f"outside-{number}.txt" for number in range(3)]
    for each in outside:
        each.write_text(each.name)
    tools = "".join(f"[[tool Read {json.dumps({'file_path': str(e)})}]]" for e in outside)
    with asked(stage.server, tools, TOGETHER) as turn:
        found = [turn.approval(number) for number in range(3)]
        assert len(pending(stage.server, project=TOGETHER)) == 3
        for approval, decision in zip(found, ("deny", "allow", "allow"), strict=True):
            assert decide(stage.server, approval, decision).status_code == 200
        assert turn.end()["success"]
    assert "outside-0.txt" not in turn.text
    assert "outside-1.txt" in turn.text
    assert "outside-2.txt" in turn.text


def test_a_sub_agent_asks_too(stage: Stage) -> None:
    file = stage.workspace / "by-agent.txt"
    task = {"description": "write", "prompt": write(file), "subagent_type": "general-purpose"}
    question = f"[[tool Task {json.dumps(task)}]]"
    with asked(stage.server, question, TOGETHER, events=["tool", "approval", "subagent"]) as turn:
        approval = turn.approval()
        begun = turn.of("subagent")[0]
        assert (begun["state"], begun["name"]) == ("started", "general-purpose")
        assert approval["subagent_id"] == begun["id"]
        decide(stage.server, approval)
        assert turn.end()["success"]
    assert file.read_text() == "x"
    inner = [each for each in turn.of("tool_use") if each["name"] == "Write"]
    outer = [each for each in turn.of("tool_use") if each["name"] != "Write"]
    assert [each.get("parent_id") for each in inner] == [outer[0]["id"]]
    assert turn.of("subagent")[-1]["state"] == "ended"
