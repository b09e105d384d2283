"""A person in the loop over HTTP, on the real CLI."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.approving import asked, bash, decide, pending, when_pending, write
from tests.e2e.environment import Stage
from tests.serving import wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    from tests.e2e.environment import open_stage

    with open_stage(
        tmp_path_factory.mktemp("stage"), real_claude, COWORK_APPROVALS="optional"
    ) as opened:
        yield opened


def test_an_allowed_tool_runs_and_only_then(stage: Stage) -> None:
    file = stage.workspace / "allowed.txt"
    with asked(stage.server, write(file), "allowed") as turn:
        approval = turn.approval()
        assert (approval["kind"], approval["tool"]) == ("tool", "Write")
        assert approval["input"] == {"file_path": str(file), "content": "x"}
        (waiting,) = pending(stage.server, project="allowed")
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


def test_a_denied_tool_does_not_run_and_the_model_is_told_why(stage: Stage) -> None:
    file = stage.workspace / "denied.txt"
    with asked(stage.server, write(file), "denied") as turn:
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
    with asked(stage.server, write(file), "ended") as turn:
        decide(stage.server, turn.approval(), "deny", interrupt=True)
        last = turn.end()
    assert not last["success"]
    assert turn.of("error")[0]["code"] == "turn_interrupted"
    assert not file.exists()
    assert stage.server.ask("[[say on]]", "ended").json()["message"] == "on"


def test_a_changed_input_is_what_runs(stage: Stage) -> None:
    file, other = stage.workspace / "asked.txt", stage.workspace / "changed.txt"
    with asked(stage.server, write(file), "changed") as turn:
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
    with asked(stage.server, write(file), "expired", approval_timeout=1) as turn:
        approval = turn.approval()
        last = turn.end()
    assert last["success"]
    assert turn.of("approval_resolved")[0]["decision"] == "expired"
    late = decide(stage.server, approval)
    assert (late.status_code, late.json()["detail"]["code"]) == (410, "approval_expired")
    assert not file.exists()


def test_of_two_who_answer_the_first_counts(stage: Stage, another: Callable[..., object]) -> None:
    clients = [another(stage.server.url) for _ in range(8)]
    file = stage.workspace / "raced.txt"
    with asked(stage.server, write(file), "raced") as turn:
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
    with asked(stage.server, write(file), "interrupted") as turn:
        approval = turn.approval()
        stage.server.post("/sessions/interrupted/interrupt")
        assert not turn.end()["success"]
    late = decide(stage.server, approval)
    assert (late.status_code, late.json()["detail"]["decision"]) == (409, "cancelled")
    assert (pending(stage.server, project="interrupted"), file.exists()) == ([], False)


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
    with asked(stage.server, tool, "questions") as turn:
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
    with asked(stage.server, tools, "three") as turn:
        found = [turn.approval(number) for number in range(3)]
        assert len(pending(stage.server, project="three")) == 3
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
    with asked(stage.server, question, "agents", events=["tool", "approval", "subagent"]) as turn:
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


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_an_approval_outlives_the_server(staged: Callable[..., Stage], how: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import os
    import signal

    from tests.serving import Gunicorn

    stage = staged(COWORK_APPROVALS="optional", COWORK_STORE=f"sqlite:///{tmp_path}/state.db")
    file = stage.workspace / "late.txt"
    server = stage.server
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(
            lambda: server.streamed(
                f"{write(file)}", "late", approvals=True, events=["approval", "tool"]
            )
        )
        (approval,) = when_pending(server)
        time.sleep(0.5)
        if how == "kill":
            (worker,) = server.workers()
            os.kill(worker, signal.SIGKILL)
        else:
            server.stop(signal.SIGTERM)
            time.sleep(1.0)
        with pytest.raises(Exception):  # noqa: B017, PT011 - the connection is cut
            assert asking.result(30)[-1].data.get("done") is True
    if how == "stop":
        stage.server.child.poll()
        object.__setattr__(
            stage, "server", Gunicorn(server.environ, log=stage.folder / "second.log")
        )
    server = stage.server
    wait_for(lambda: _lives(server), what="the server")
    assert not file.exists()
    shown = server.get(f"/turns/{approval['turn_id']}").json()
    assert (shown["state"], shown["waiting_for"]) == ("running", [approval["id"]])
    assert decide(server, approval).status_code == 200
    turn = f"/turns/{approval['turn_id']}"
    wait_for(lambda: server.get(turn).json()["ended_at"], what="its end")
    shown = server.get(turn).json()
    assert shown["state"] == "succeeded", shown
    assert file.read_text() == "x"
    assert shown["message"].startswith("I will use Write.")
    if how == "stop":
        server.close()


def _lives(server) -> bool:  # type: ignore[no-untyped-def]
    try:
        return server.get("/health/live").status_code == 200
    except Exception:  # noqa: BLE001
        return False
