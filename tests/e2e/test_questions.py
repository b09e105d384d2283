"""What a question may bring besides its text, on the real CLI: what the model was sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.e2e.approving import bash, write
from tests.e2e.environment import Stage, open_stage
from tests.e2e.mcp_server import mcp_server
from tests.serving import Frame

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """With a tool server that a question may name."""
    folder = tmp_path_factory.mktemp("stage")
    with mcp_server() as url:
        config = folder / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"sky": {"type": "http", "url": url}}}))
        with open_stage(
            folder, real_claude, COWORK_MCP_CONFIG=str(config), COWORK_PERMISSION_MODE="acceptEdits"
        ) as opened:
            yield opened


def last(stage: Stage) -> dict[str, Any]:
    """The body of the model's last request."""
    return stage.model.exchanges[-1].body


def of(seen: list[Frame], kind: str) -> list[dict[str, Any]]:
    return [each.data for each in seen if each.data.get("type") == kind]


def test_the_models_are_those_of_the_cli(stage: Stage) -> None:
    told = stage.server.get("/models").json()
    names = {each["id"]: each for each in told["models"]}
    assert {"default", "haiku"} <= set(names)
    assert told["default"] == names["default"]["model"]
    assert "low" in names["haiku"]["efforts"]
    assert stage.server.get("/skills").json()["count"] >= 0
    assert stage.server.get("/mcp").json() == {
        "servers": [{"name": "sky", "type": "http"}],
        "count": 1,
    }


def test_a_model_is_for_its_question_alone_in_a_process_and_over_a_resume(stage: Stage) -> None:
    told = stage.server.get("/models").json()
    haiku = next(each["model"] for each in told["models"] if each["id"] == "haiku")
    plain = stage.server.ask("[[say one]]", "models").json()
    assert (last(stage)["model"], plain["model"]) == (told["default"], told["default"])
    said = stage.server.ask("[[say two]]", "models", model="haiku").json()
    assert (last(stage)["model"], said["model"]) == (haiku, haiku)
    assert list(said["usage_by_model"]) == [haiku]
    stage.server.ask("[[say three]]", "models")
    assert last(stage)["model"] == told["default"]
    # Another process of the session: the CLI would go on with the last one that was set.
    stage.server.ask("[[say four]]", "models", model="haiku")
    stage.server.ask("[[say five]]", "models", system_prompt="Say okapi.")
    assert last(stage)["model"] == told["default"]
    first = stage.server.ask("[[say one]]", "models by id", model=haiku).json()
    assert first["model"] == haiku


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "no-such-model"),
        ("model", "claude-" + "x" * 94),
        ("model", "--settings={}"),
        ("effort", "huge"),
        ("mcp_servers", ["moon"]),
        ("max_turns", 0),
        ("max_turns", 1001),
        ("max_budget_usd", 0),
        ("disallowed_tools", ["x" * 201]),
        ("disallowed_tools", ["Bash\n"]),
        ("approvals", True),
        ("attachments", [{"type": "image", "media_type": "image/png", "data": "aGVsbG8="}]),
        ("attachments", "x"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(stage: Stage, field: str, value: Any) -> None:
    reply = stage.server.ask("[[say no]]", "refused", **{field: value})
    assert reply.status_code == 422, reply.text
    assert reply.json()["detail"][0]["loc"][:2] == ["body", field]


def test_a_model_that_the_service_does_not_have(stage: Stage) -> None:
    reply = stage.server.ask("[[status 404]]", "no such", model="claude-nobody-1")
    assert (reply.status_code, reply.json()["detail"]["code"]) == (422, "model_not_found")


def test_an_effort_is_for_its_question_alone(stage: Stage) -> None:
    stage.server.ask("[[say one]]", "efforts", effort="low")
    assert last(stage)["output_config"]["effort"] == "low"
    stage.server.ask("[[say two]]", "efforts")
    assert last(stage)["output_config"]["effort"] != "low"


def png(width: int = 2, height: int = 2) -> str:
    file = BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def attached(*, media_type: str, data: str, name: str | None = None) -> dict[str, Any]:
    kind = "image" if media_type.startswith("image/") else "document"
    found: dict[str, Any] = {"type": kind, "media_type": media_type, "data": data}
    return found if name is None else {**found, "name": name}


def test_attachments_reach_the_model_before_the_text(stage: Stage) -> None:
    pdf = base64.b64encode(b"%PDF-1.4\n%%EOF").decode()
    text = base64.b64encode("grün".encode()).decode()
    reply = stage.server.ask(
        "/context [[say seen]]",
        "attached",
        attachments=[
            attached(media_type="image/png", data=png()),
            attached(media_type="application/pdf", data=pdf, name="paper.pdf"),
            attached(media_type="text/csv", data=text, name="t.csv"),
        ],
    )
    assert reply.json()["message"] == "seen"
    blocks = next(each for each in reversed(last(stage)["messages"]) if each["role"] == "user")
    kinds = [(each["type"], each.get("source", {}).get("media_type")) for each in blocks["content"]]
    wanted = [
        ("image", "image/png"),
        ("document", "application/pdf"),
        ("document", "text/plain"),
        ("text", None),
    ]
    assert kinds[:4] == wanted
    assert blocks["content"][2]["source"]["data"] == "grün"
    assert blocks["content"][1]["title"] == "paper.pdf"


def test_an_image_that_unpacks_to_too_much_is_refused(stage: Stage) -> None:
    bomb = attached(media_type="image/png", data=png(8000, 6000))
    reply = stage.server.ask("[[say no]]", "bomb", attachments=[bomb])
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["body", "attachments", 0, "data"]


def test_the_model_is_asked_so_often_and_no_more(stage: Stage) -> None:
    question = "".join(bash(f"echo {number}") for number in range(2))
    reply = stage.server.ask(question, "turns", max_turns=1)
    assert (reply.status_code, reply.json()["detail"]["code"]) == (502, "max_turns_reached")
    assert stage.server.ask("[[say one]]", "turns", max_turns=1).json()["message"] == "one"
    assert stage.server.ask(question, "turns", max_turns=2).status_code == 200


def test_a_budget_ends_the_turn_and_what_it_cost_is_told(stage: Stage) -> None:
    stage.server.ask("[[say one]]", "budget")
    seen = stage.server.streamed(bash("echo a"), "budget", max_budget_usd=0.0001, events=["usage"])
    (error,) = of(seen, "error")
    assert error["code"] == "budget_reached"
    assert error["cost_usd"] >= 0.0001
    cheap = stage.server.streamed("[[say two]]", "budget", max_budget_usd=5, events=["usage"])
    (usage,) = of(cheap, "usage")
    assert usage["input_tokens"] > 0
    assert usage["cost_usd"] == pytest.approx(cheap[-1].data["total_cost_usd"])


def test_tools_are_disallowed_for_a_question_and_the_servers_rules_stay(stage: Stage) -> None:
    file = stage.workspace / "no.txt"
    told = stage.server.ask(write(file), "rules", disallowed_tools=["Write"]).json()
    assert not file.exists()
    assert "denied" in told["message"] or "failed" in told["message"]
    assert stage.server.ask(write(file), "rules").json()["files_changed"] == ["no.txt"]
    secret = stage.config / "projects"
    reading = f"[[tool Read {json.dumps({'file_path': str(next(secret.glob('*/*.jsonl')))})}]]"
    told = stage.server.ask(reading, "rules", disallowed_tools=["Write"]).json()
    assert "denied" in told["message"]


def test_a_tool_server_is_there_for_a_question_alone(stage: Stage) -> None:
    question = '[[tool mcp__sky__weather {"city": "Rome"}]]'
    without = stage.server.ask(question, "sky").json()["message"]
    assert "No such tool" in without
    asked = stage.server.ask(question, "sky", mcp_servers=["sky"]).json()
    # It is there, and may not be used unasked.
    assert asked["permission_denials"][0]["tool"] == "mcp__sky__weather"
    assert "No such tool" in stage.server.ask(question, "sky").json()["message"]


def test_the_list_of_what_is_to_be_done(stage: Stage) -> None:
    todos = [
        {"content": "cook", "status": "in_progress", "activeForm": "Cooking"},
        {"content": "eat", "status": "pending", "activeForm": "Eating"},
    ]
    question = f"[[tool TodoWrite {json.dumps({'todos': todos})}]]"
    seen = stage.server.streamed(question, "todo", events=["todo"])
    (told,) = of(seen, "todo")
    assert told["items"] == [
        {"text": "cook", "state": "in_progress"},
        {"text": "eat", "state": "pending"},
    ]


def test_a_tool_tells_how_long_it_took(stage: Stage) -> None:
    seen = stage.server.streamed(bash("echo a"), "took", events=["tool"])
    (result,) = of(seen, "tool_result")
    assert result["duration_ms"] >= 0
