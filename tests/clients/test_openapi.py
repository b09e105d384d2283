"""W10: the OpenAPI document is one that linters, fuzzers and generators of clients can work with."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.generation import GenerationMode

from cowork.web.ask import NOT_STEERED
from tests.clients.node import HERE, node_binary
from tests.serving import Gunicorn, Served
from tests.upstream import Upstream

CASES = 5
# Values that the server judges by what it has, and a time limit that may be a millisecond.
SERVERS = {
    *("agent_type", "timeout", "output_schema", "model", "attachments", "mcp_servers"),
    # Of a turn or a session that there is.
    *("approvals", "effort", "at_turn"),
}
# Of other APIs' bodies, what is judged by more than its type.
DIALECTS = {"n", "tools", "tool_choice", "response_format", "stream_options"}


@pytest.fixture
def document(serve: Callable[..., Served], tmp_path: Path) -> Path:
    """The document as a file."""
    file = tmp_path / "openapi.json"
    file.write_text(serve().get("/openapi.json").text)
    return file


def test_fault_w10_redocly_says_nothing(document: Path, tmp_path: Path) -> None:
    asked = ["lint", "--extends=recommended", "--format=json", str(document)]
    done = run_binary("redocly", *asked, cwd=tmp_path)
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["problems"] == []
    assert (told["totals"]["errors"], told["totals"]["warnings"]) == (0, 0)


def test_fault_w10_spectral_says_nothing(document: Path, tmp_path: Path) -> None:
    (tmp_path / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    done = run_binary(
        "spectral", "lint", "--format=json", "--fail-severity=hint", str(document), cwd=tmp_path
    )
    assert json.JSONDecoder().raw_decode(done.stdout)[0] == []
    assert done.returncode == 0


def run_binary(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [node_binary(name), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )


def test_fault_w10_openapi_typescript_types_calls_and_frames(
    document: Path, tmp_path: Path
) -> None:
    typed = (HERE / "typed.ts").read_text()
    (tmp_path / "typed.ts").write_text(typed)
    # It would notice: a key that no frame has.
    wrong = typed.replace("return frame.token;", "return frame.text;")
    (tmp_path / "wrong.ts").write_text(wrong)
    options = {"strict": True, "noEmit": True, "types": [], "target": "es2022"}
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": options, "files": ["typed.ts", "wrong.ts"]})
    )
    made = run_binary("openapi-typescript", str(document), "-o", "api.d.ts", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    said = run_binary("tsc", "-p", ".", "--pretty", "false", cwd=tmp_path).stdout
    faults = [line for line in said.splitlines() if not line.startswith(" ")]
    assert [line.partition("(")[0] for line in faults] == ["wrong.ts"], said
    assert "'text' does not exist" in faults[0]


@pytest.fixture
def client(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What openapi-python-client has generated."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"post_hooks": [], "package_name_override": "generated_client"}))
    generator = Path(sys.executable).parent / "openapi-python-client"
    done = subprocess.run(
        [generator, "generate", "--path", document, "--config", config, "--meta", "none"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    found = importlib.import_module("generated_client")
    yield found
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated_client"]:
        del sys.modules[name]


def test_fault_w10_a_generated_client_asks_streams_typed_frames_and_resumes(
    client: ModuleType, serve: Callable[..., Served]
) -> None:
    def part(name: str) -> Any:
        return importlib.import_module(f"generated_client.{name}")

    served = serve()
    caller = client.Client(base_url=served.url)
    body = part("models").AskBody(project_name="p", question="[[tool]] [[words 3]]")
    body.additional_properties["of_a_later_version"] = 1
    answer = part("api.ask.ask_question").sync(client=caller, body=body)
    assert answer.message == "Let me look. \n\nw1 w2 w3"
    refused = part("models").AskBody(project_name="", question="hi")
    faults = part("api.ask.ask_question").sync(client=caller, body=refused)
    assert faults.detail[0].loc == ["body", "project_name"]

    streaming = part("api.ask.ask_question_streaming")
    body.events = [part("models").AskBodyEventsItem("tool")]
    frames = list(typed_frames(part("models"), caller, streaming._get_kwargs(body=body)))
    kinds = [type(frame).__name__ for _, frame in frames]
    assert set(kinds) == {"TokenFrame", "ToolUseFrame", "ToolResultFrame", "DoneFrame"}
    assert "".join(frame.token for _, frame in frames if hasattr(frame, "token")) == answer.message
    done = frames[-1][1]
    assert (done.success, done.done) == (True, True)

    resuming = part("api.turns.stream_turn_events")
    asked = resuming._get_kwargs(done.turn_id, last_event_id=frames[4][0])
    assert list(typed_frames(part("models"), caller, asked)) == frames[5:]
    asked = streaming._get_kwargs(body=body, last_event_id=frames[4][0])
    assert list(typed_frames(part("models"), caller, asked)) == frames[5:]
    caller.get_httpx_client().close()


def typed_frames(models: Any, caller: Any, asked: dict[str, Any]):
    """Id and frame of each event, the frame as the generated type that its `type` names."""
    with caller.get_httpx_client().stream(**asked) as reply:
        assert reply.status_code == 200
        last_id = ""
        for line in reply.iter_lines():
            if line.startswith("id: "):
                last_id = line[4:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
                name = data["type"].title().replace("_", "") + "Frame"
                yield last_id, getattr(models, name).from_dict(data)


def test_fault_w10_schemathesis_finds_every_operation_as_it_is_described(
    gunicorn: Callable[..., Gunicorn], upstream: Upstream
) -> None:
    # What a schema cannot say: which modes, skills, checkpoints and logins the server has.
    served = gunicorn(
        CLAUDE_TIMEOUT="5",
        COWORK_PERMISSION_MODE="acceptEdits",
        COWORK_CHECKPOINTS="true",
        CHAT_API_BASE_URL=upstream.url,
        XO_AUTH_SESSION_ID="session-1",
        XO_POLL_TOKEN="poll-token-123",
    )
    schema = schemathesis.openapi.from_dict(served.get("/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 22
    streams, tried = 0, []
    for number, operation in enumerate(operations):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue
            for case in generated(operation.as_strategy(generation_mode=mode), number):
                if mode is GenerationMode.POSITIVE:
                    leave_to_the_server(case, number=len(tried))
                tried.append(case)
                reply = case.call(base_url=served.url, timeout=30)
                streams += reply.headers.get("content-type", [""])[0].startswith("text/event")
                case.validate_response(reply)
    assert streams > 0


def leave_to_the_server(case: Any, *, number: int) -> None:
    """Take out what it may rightly refuse though the schema is met."""
    if isinstance(case.body, dict) and case.path == "/api/chat":
        said = {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
        case.body = {"messages": [said]}
        (case.headers or {}).pop("X-Cowork-Events", None)
    elif isinstance(case.body, dict) and case.path == "/v1/responses":
        said = {name: case.body[name] for name in ("background", "metadata") if name in case.body}
        case.body = {**said, "input": "hi"}
        (case.headers or {}).pop("X-Cowork-Events", None)
    elif isinstance(case.body, dict) and "messages" in case.body:
        # The last one has to be the user's; of the rest what has no place in a schema.
        asked = [{"role": "user", "content": "hi"}]
        case.body = {
            **{name: case.body[name] for name in case.body if name not in DIALECTS},
            "messages": asked,
        }
        (case.headers or {}).pop("X-Cowork-Events", None)
    if isinstance(case.body, dict):
        case.body = {name: case.body[name] for name in case.body if name not in SERVERS}
        if case.body.get("on_busy") == "steer":
            case.body = {name: case.body[name] for name in case.body if name not in NOT_STEERED}
    if "Idempotency-Key" in (case.headers or {}):  # of another body
        case.headers["Idempotency-Key"] = f"{number}"
    # It has to be the same as in the body, or the path.
    (case.headers or {}).pop("X-Cowork-Project", None)
    # It may be too long before `to`.
    (case.query or {}).pop("from", None)
    # It has to be of a message that there is, or of a page of this list.
    for name in ("before", "after", "cursor"):
        (case.query or {}).pop(name, None)


def generated(strategy: Any, number: int) -> list[Any]:
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=CASES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Any) -> None:
        found.append(case)

    run()
    return found
