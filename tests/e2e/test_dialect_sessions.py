"""Conversations of other APIs' clients on the real CLI: what the model is sent of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.dialects.chats import Chat, session_of, state_of
from tests.e2e.approving import decide, when_pending, write
from tests.e2e.environment import Stage, open_stage
from tests.e2e.test_approvals_outlive import ended, kill_worker
from tests.serving import wait_for
from tests.transcripts import plain, told_in

pytestmark = pytest.mark.e2e

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FIVE = '[[tool StructuredOutput {"a": 5}]]'
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}
FORCED = {
    "tools": [{"type": "function", "function": {"name": "save", "parameters": SCHEMA}}],
    "tool_choice": "required",
}


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("sessions")
    with open_stage(folder / "stage", real_claude, COWORK_SLASH_COMMANDS="true") as opened:
        yield opened


@pytest.fixture
def chat(stage: Stage, request: pytest.FixtureRequest) -> Chat:
    """Of the test's own person, so that no other's is like it."""
    return Chat(stage.server, stage.folder, body={"user": request.node.name})


def sent(stage: Stage) -> list[str]:
    """The texts that the model was sent last, but for what the CLI adds of its own."""
    messages = stage.model.exchanges[-1].body["messages"]
    texts: list[str] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] != "system":
            texts += [block["text"] for block in blocks if block["type"] == "text"]
    said = [text for text in texts if not text.lstrip().startswith("<system-reminder>")]
    return plain([text for each in said for text in told_in(each)])


def test_the_model_is_sent_what_the_client_has(stage: Stage, chat: Chat) -> None:
    for number in range(3):
        chat.say(f"[[say {number}]] number {number}", stream=number == 1)
        assert sent(stage) == chat.texts()[:-1]
    pid = stage.cli(session_of(chat.ask("[[say aside]] a branch of its own")))
    reply = chat.say("[[say on]] go on")
    assert (state_of(reply), sent(stage)) == ("forked", chat.texts()[:-1])
    assert stage.cli(session_of(reply)) != pid
    edited = chat.back_to(1)
    reply = edited.say("[[say edited]] number one, otherwise")
    assert (state_of(reply), sent(stage)) == ("forked", edited.texts()[:-1])
    for each in (chat, edited):
        reply = each.say("[[say end]] end")
        assert (state_of(reply), sent(stage)) == ("continued", each.texts()[:-1])


def test_behind_a_tool_it_goes_on_and_forks(stage: Stage, chat: Chat) -> None:
    chat.say(write(stage.workspace / "a.txt"))
    chat.say("[[say one]] one")
    assert state_of(chat.say("[[say two]] two")) == "continued"
    edited = chat.back_to(1)
    assert state_of(edited.say("[[say three]] three")) == "forked"
    assert "two" not in " ".join(sent(stage))


@pytest.mark.parametrize("body", [{"response_format": FORMAT}, FORCED], ids=["value", "tool"])
def test_an_answer_that_is_a_value_is_known_again(chat: Chat, body: dict[str, Any]) -> None:
    reply = chat.say(FIVE, **body)
    asked = [{**message} for message in chat.messages]
    if "tool_calls" in asked[-1]:
        (call,) = asked[-1]["tool_calls"]
        # As another JSON library writes it.
        call["function"]["arguments"] = call["function"]["arguments"].replace(":", ": ")
    chat.messages = asked
    onward = chat.say("[[say on]] go on")
    assert (state_of(onward), session_of(onward)) == ("continued", session_of(reply))


def test_behind_a_compaction_it_forks_and_before_it_is_told(stage: Stage, chat: Chat) -> None:
    chat.headers = {"X-Cowork-Project": "compacted"}
    chat.say("[[say one]] one")
    chat.say("[[say two]] two")
    assert stage.server.ask("/compact", "compacted").status_code == 200
    before = chat.back_to(1)
    reply = before.say("[[say other]] other")
    assert (state_of(reply), sent(stage)) == ("rebuilt", before.texts()[:-1])
    before.say("[[say more]] more")
    again = before.back_to(2)
    reply = again.say("[[say again]] again")
    assert state_of(reply) == "forked"
    assert sent(stage)[-3:] == ["[[say other]] other", "other", "[[say again]] again"]


def test_a_turn_that_another_process_ended_is_known_too(
    staged: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = staged(COWORK_APPROVALS="always", COWORK_STORE=f"sqlite:///{tmp_path}/state.db")
    chat = Chat(stage.server, stage.folder)
    question = write(stage.workspace / "late.txt")
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(chat.ask, question)
        wait_for(lambda: when_pending(stage.server))
        (approval,) = when_pending(stage.server)
        kill_worker(stage.server)
        with pytest.raises(requests.ConnectionError):
            lost.result(60)
    assert decide(stage.server, approval).status_code == 200
    done = ended(stage.server, approval)
    assert done["state"] == "succeeded"
    chat.messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": done["message"]},
    ]
    reply = chat.say("[[say on]] go on")
    assert (state_of(reply), session_of(reply)) == ("continued", done["session_id"])
