"""`GET /sessions/{p}/messages` on the real CLI: what was said, beside what the model was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cowork.demo.record import RecordedRequest
from tests.e2e.approving import asked, bash, decide, write
from tests.e2e.environment import Stage
from tests.e2e.test_approvals_outlive import ask as ask_approved
from tests.e2e.test_approvals_outlive import durable, ended, kill_worker, restarted
from tests.e2e.test_conversation import blocks_of, png, results_sent, sent_as_the_models
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

# What the CLI says in the model's name where a session goes on behind an interrupt.
CLIS_OWN = ("text", "No response requested.")
INNER = "[[say what the sub-agent says]]"


@pytest.fixture
def stage(staged: Callable[..., Stage], tmp_path: Path) -> Stage:
    return durable(staged, tmp_path, COWORK_SLASH_COMMANDS="true")


def messages(server: Client, project: str = "p") -> list[dict[str, Any]]:
    """All of them, read in small pages."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = server.get(f"/sessions/{project}/messages", params=query).json()
        assert page["source"] == "transcript"
        found += page["messages"]
        if page["next"] is None:
            return found
        query["after"] = page["next"]


def outline(found: list[dict[str, Any]]) -> list[str]:
    """Each message in a line: role, state where it is not complete, the types and texts."""
    lines = []
    for each in found:
        state = "" if each["state"] == "complete" else f" {each['state']}"
        parts = [
            f"{part['type']} {part.get('text', part.get('content', ''))[:10]!r}"
            for part in each["parts"]
        ]
        lines.append(f"{each['role']}{state}: {', '.join(parts)}")
    return lines


def latest(stage: Stage) -> list[dict[str, Any]]:
    """The messages that the model was sent last for a person's question."""
    found: list[RecordedRequest] = [
        each for each in stage.model.exchanges if each.kind == "question"
    ]
    sent: list[dict[str, Any]] = found[-1].body["messages"]
    return sent


def agrees(found: list[dict[str, Any]], sent: list[dict[str, Any]]) -> None:
    """What the model and its tools said is what it was sent, but for its last answer."""
    parts = [part for each in found if each["role"] == "assistant" for part in each["parts"]]
    said = [
        (part["type"], part.get("text") or part["id"])
        for part in parts
        if part["type"] in ("text", "thinking", "tool_use")
    ]
    assert said[:-1] == [each for each in sent_as_the_models(sent) if each != CLIS_OWN]
    results = {part["id"]: part["content"] for part in parts if part["type"] == "tool_result"}
    wanted = results_sent(sent)
    assert results.keys() == wanted.keys()
    for name, content in results.items():
        assert content in json.dumps(wanted[name], ensure_ascii=False).replace("\\n", "\n")
    # A person's words are among what it was sent, in their order.
    heard = [
        block["text"]
        for each in sent
        if each["role"] == "user"
        for block in blocks_of(each["content"])
        if block["type"] == "text"
    ]
    for each in (each for each in found if each["role"] == "user"):
        (text,) = [part["text"] for part in each["parts"] if part["type"] == "text"]
        while text not in heard.pop(0):
            pass


def said(server: Client, question: str, project: str = "p", **body: Any) -> dict[str, Any]:
    reply = server.ask(question, project, **body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


BEFORE = """
user: text '[[think 3]'
assistant: thinking 'thought1 t', text 'I will use', tool_use '', tool_result 'one', tool_use '', \
tool_result 'two'
assistant: text 'both'
user: image '', text 'look'
assistant: text 'You sent m'
user: text '[[tool Tas'
assistant: text 'I will use', tool_use '', tool_result '[Subagent '
assistant: text 'Agent answ'
user: text '[[say smal'
assistant: text 'small'
user: text '[[words 50'
assistant interrupted: text 'word1 word'
user: text '[[tool Wri'
assistant: text 'I will use', tool_use '', tool_result 'File creat'
assistant: text 'Write answ'
""".strip().split("\n")
AFTER = """
assistant: summary 'The user a'
user: text '[[tool Bas'
assistant: text 'I will use', tool_use '', tool_result 'later'
assistant: text 'after it'
""".strip().split("\n")


def talk(stage: Stage) -> None:
    """A question of each kind."""
    server = stage.server
    said(server, f"[[think 3]] {bash('echo one')} {bash('echo two')} [[say both]]")
    image = {"type": "image", "media_type": "image/png", "data": png()}
    said(server, "look", attachments=[image])
    task = {"description": "d", "prompt": INNER, "subagent_type": "general-purpose"}
    said(server, f"[[tool Task {json.dumps(task)}]]")
    said(server, "[[say small]]", model="haiku")
    cut = "[[words 500]] [[delay 20]]"
    with server.stream(cut) as reply:
        stage.wait_words(cut)
        server.post("/sessions/p/interrupt")
        reply.content  # noqa: B018 - to its end
    with asked(server, write(stage.workspace / "a.txt")) as turn:
        decide(server, turn.approval())
        assert turn.end()["success"]


def test_all_kinds_over_a_compaction_a_restart_and_a_fork(stage: Stage) -> None:
    (stage.config / "settings.json").write_text('{"permissions": {"allow": ["Bash(echo *)"]}}')
    talk(stage)
    before = messages(stage.server)
    assert outline(before) == BEFORE
    agrees(before, latest(stage))
    image = next(part for each in before for part in each["parts"] if part["type"] == "image")
    assert image["media_type"] == "image/png"

    # The one that is forked has nothing of what comes after.
    at_turn = next(each["turn_id"] for each in before if each["parts"][-1].get("text") == "look")
    made = stage.server.post("/sessions/p/fork", {"to": "fork", "at_turn": at_turn})
    assert made.status_code == 201, made.text
    said(stage.server, "[[say another way]]", "fork")
    forked = messages(stage.server, "fork")
    assert outline(forked) == [
        *BEFORE[:5],
        "user: text '[[say anot'",
        "assistant: text 'another wa'",
    ]
    agrees(forked, latest(stage))

    said(stage.server, "/compact")
    said(stage.server, f"{bash('echo later')} [[say after it]]")
    whole = messages(stage.server)
    assert outline(whole) == [*BEFORE, *AFTER]
    assert [each["id"] for each in whole[: len(before)]] == [each["id"] for each in before]
    after = json.dumps(latest(stage))
    (summary,) = [part["text"] for part in whole[len(before)]["parts"]]
    assert json.dumps(summary)[1:-1] in after
    for hidden in ("<system-reminder>", "<local-command", "<command-name>", "/compact"):
        assert hidden not in json.dumps(whole)
    # What a sub-agent is told is in the call alone.
    told = [part for each in whole for part in each["parts"] if part.get("text") == INNER]
    assert told == []

    with restarted(stage) as server:
        assert messages(server) == whole
        said(server, "[[say back]]")
        assert outline(messages(server))[len(whole) :] == [
            "user: text '[[say back'",
            "assistant: text 'back'",
        ]


def test_a_turn_that_waited_over_a_kill_reads_as_any_other(stage: Stage) -> None:
    said(stage.server, "[[say first]]")
    approval = ask_approved(stage.server, write(stage.workspace / "late.txt"))
    waiting = messages(stage.server)
    assert outline(waiting)[2:] == [
        "user: text '[[tool Wri'",
        "assistant: text 'I will use', tool_use ''",
    ]
    kill_worker(stage.server)
    assert messages(stage.server) == waiting
    decide(stage.server, approval)
    assert ended(stage.server, approval)["state"] == "succeeded"
    found = messages(stage.server)
    assert outline(found)[3:] == [
        "assistant: text 'I will use', tool_use '', tool_result 'File creat'",
        "assistant: text 'Write answ'",
    ]
    assert found[2]["turn_id"] == found[4]["turn_id"] == approval["turn_id"]
    agrees(found, latest(stage))
    # And it can be forked behind its end.
    path = "/sessions/p/fork"
    made = stage.server.post(path, {"to": "fork", "at_turn": approval["turn_id"]})
    assert made.status_code == 201, made.text
    assert outline(messages(stage.server, "fork")) == outline(found)


def test_without_its_transcript_it_is_what_the_server_remembers(stage: Stage) -> None:
    told = said(stage.server, "[[say one]] okapi")
    cut = "[[words 500]] [[delay 20]]"
    with stage.server.stream(cut) as reply:
        stage.wait_words(cut)
        stage.server.post("/sessions/p/interrupt")
        reply.content  # noqa: B018 - to its end
    said(stage.server, "[[say two]] tapir")
    with restarted(stage) as server:
        wait_for(lambda: not stage.clis(), what="the end of its process")
        stage.transcript(told["session_id"]).unlink()
        found = server.get("/sessions/p/messages").json()
        assert found["source"] == "history"
        assert outline(found["messages"]) == [
            "user: text '[[say one]'",
            "assistant: text 'one'",
            "user: text '[[say two]'",
            "assistant: text 'two'",
        ]
        # And the model goes on with the same.
        again = said(server, "[[count]] zebra")
        assert again["session_recovered"] is True
        sent = json.dumps(latest(stage))
        assert "okapi" in sent
        assert "tapir" in sent
        now = messages(server)
        assert [each["parts"][0]["text"] for each in now] == ["[[count]] zebra", again["message"]]
