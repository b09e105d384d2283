"""Which session answers a client that sends its whole conversation: as front ends really ask."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from cowork.model import session as session_module
from cowork.turns import conversation_expiry
from tests.contract.dialects.chats import Chat, session_of, state_of
from tests.fakes import Fakes
from tests.serving import Served, wait_for
from tests.transcripts import transcript

OPEN_WEBUI_TASKS = (
    "### Task:\nGenerate a concise, 3-5 word title\n<chat_history>\nUSER: hi\n</chat_history>",
    "### Task:\nGenerate 1-3 broad tags\n<chat_history>\nUSER: hi\n</chat_history>",
    "### Task:\nSuggest 3-5 relevant follow-up questions\n<chat_history>\nUSER: hi\n</chat_history>",
)
OURS = {"X-Cowork-Project": "m%C3%BCll"}


@pytest.fixture
def chat(served: Served, home: Path) -> Callable[..., Chat]:
    """A chat of this server; its headers by their names with `_` for `-`, `body` besides."""

    def begin(body: dict[str, Any] | None = None, **headers: str) -> Chat:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Chat(served, home, named, body or {})

    return begin


def pids(served: Served) -> set[int]:
    return {each["pid"] for each in served.get("/processes").json()["processes"]}


def test_a_chat_stays_in_one_process(served: Served, chat: Callable[..., Chat]) -> None:
    mine = chat()
    assert state_of(mine.say("hi")) == "new"
    before = pids(served)
    for number in range(4):
        reply = mine.say(f"question {number}", stream=number % 2 == 1)
        assert state_of(reply) == "continued"
    assert pids(served) == before
    reply = mine.say("and?")
    assert mine.sent(reply) == mine.texts()


def test_fifty_turns_with_their_history_cost_what_they_cost_natively(
    served: Served, chat: Callable[..., Chat]
) -> None:
    """`make bench SUITES=dialects` has the bar, 1.3 x; here it is ten times as wide."""
    mine = chat()
    mine.say("[[words 100]] hi")
    served.ask("[[words 100]] hi")
    before = pids(served)
    mine_s, native_s = [], []
    for number in range(49):
        begun = time.monotonic()
        served.ask(f"[[words 100]] {number}")
        asked = time.monotonic()
        assert state_of(mine.say(f"[[words 100]] {number}")) == "continued"
        mine_s.append(time.monotonic() - asked)
        native_s.append(asked - begun)
    assert pids(served) == before
    assert median(mine_s) < 13 * median(native_s)
    assert median(mine_s[-5:]) < 13 * median(native_s[-5:])


def test_a_conversation_without_a_name_is_in_no_list(
    served: Served, chat: Callable[..., Chat]
) -> None:
    reply = chat().say("hi")
    assert reply.headers["X-Cowork-Project"] == ""
    (process,) = served.get("/processes").json()["processes"]
    assert (process["project"], process["unnamed"]) == (None, True)
    assert served.get("/sessions").json() == {"sessions": {}, "count": 0}
    assert served.get("/health").json()["active_sessions"] == 0
    turn = served.get(f"/turns/{reply.headers['X-Turn-ID']}").json()
    assert (turn["project_id"], turn["state"]) == (None, "succeeded")
    (row,) = served.get("/usage", params={"by": "project"}).json()["usage"]
    assert (row["project"], row["turns"]) == (None, 1)
    for name in ("", "%01", "\x01", "None"):
        assert served.get(f"/sessions/{name or '%20'}/messages").status_code in (404, 422)


def test_a_named_one_is_the_project_of_that_name(served: Served, chat: Callable[..., Chat]) -> None:
    served.ask("one", "müll")
    ours = chat(**OURS)
    reply = ours.ask("[[count]] two")
    assert state_of(reply) == "continued"
    assert reply.headers["X-Cowork-Project"] == OURS["X-Cowork-Project"]
    text = reply.json()["choices"][0]["message"]["content"]
    assert text == "I see 2 questions: one | two"
    assert served.ask("[[count]] three", "müll").json()["message"].startswith("I see 3 questions")
    assert [*served.get("/sessions").json()["sessions"]] == ["müll"]


def test_open_webui_its_tasks_leave_no_trace(served: Served, chat: Callable[..., Chat]) -> None:
    who = {"X_OpenWebUI_Chat_Id": "c-1", "X_OpenWebUI_User_Id": "u-1"}
    mine = chat({"stream_options": {"include_usage": True}}, **who)
    mine.say("hi", stream=True)
    before = pids(served)
    for number in range(2):
        for task in OPEN_WEBUI_TASKS:
            beside = chat(**who)
            reply = beside.say(task)
            assert beside.sent(reply) == beside.texts()
        reply = mine.say(f"question {number}")
        assert state_of(reply) == "continued"
        assert mine.sent(reply) == mine.texts()
    assert before < pids(served)
    assert [*served.get("/sessions").json()["sessions"]] == ["c-1"]
    shown = served.get("/sessions/c-1/messages").json()["messages"]
    assert "### Task" not in json.dumps(shown)
    assert served.get("/sessions/c-1").json()["turns"] == 3


def test_librechat_chats_of_one_user_do_not_mix(chat: Callable[..., Chat]) -> None:
    user = {"user": "507f1f77bcf86cd799439011"}
    chats = [chat(user, X_Conversation_Id=f"chat-{number}") for number in range(3)]
    chats.append(chat(user))  # whose operator has told it nothing of the header
    for number in range(3):
        for mine in chats:
            reply = mine.say("hi" if number == 0 else f"[[say {number}]] again")
            assert mine.sent(reply) == mine.texts()
            assert state_of(reply) == ("continued" if number else "new")
    assert len({session_of(mine.say("end")) for mine in chats}) == len(chats)


@pytest.mark.parametrize("headers", [{}, {"X_OpenWebUI_Chat_Id": "c"}, OURS], ids=str)
def test_an_edited_message_forks(headers: dict[str, str], chat: Callable[..., Chat]) -> None:
    mine = chat(**headers)
    for question in ("one", "two", "three"):
        mine.say(question)
    edited = mine.back_to(1)
    reply = edited.say("2")
    assert state_of(reply) == "forked"
    assert edited.sent(reply) == edited.texts()
    for each, onward in ((edited, "continued"), (mine, "forked" if headers else "continued")):
        reply = each.say("and?")
        assert each.sent(reply) == each.texts()
        assert state_of(reply) == onward


def test_an_answer_that_is_wanted_again_forks(chat: Callable[..., Chat]) -> None:
    mine = chat()
    mine.say("hi")
    mine.say("why?")
    again = mine.back_to(1)
    reply = again.say("why?")
    assert state_of(reply) == "forked"
    assert again.sent(reply) == again.texts()


def test_the_first_message_edited_begins_beside_the_chat(chat: Callable[..., Chat]) -> None:
    mine = chat(X_OpenWebUI_Chat_Id="c")
    mine.say("hi")
    edited = mine.back_to(0)
    reply = edited.say("hello")
    assert state_of(reply) == "new"
    reply = edited.say("and?")
    assert edited.sent(reply) == edited.texts()
    assert state_of(reply) == "continued"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"X_OpenWebUI_User_Id": "ann"}, {"X_OpenWebUI_User_Id": "bob"}),
        ({"X_OpenWebUI_User_Id": "ann"}, {}),
        ({"body": {"user": "ann"}}, {"body": {"user": "bob"}}),
        ({"body": {"user": {"id": "ann"}}}, {"body": {"safety_identifier": "bob"}}),
        ({"X_Conversation_ID": "one"}, {"X_Conversation_ID": "other"}),
        (OURS, {}),
    ],
    ids=str,
)
def test_people_behind_one_key_are_apart(
    one: dict[str, Any], other: dict[str, Any], chat: Callable[..., Chat]
) -> None:
    ann, bob = chat(**one), chat(**other)
    first = ann.say("[[say yes]] hi")
    bob.messages = [*ann.messages]  # a guess
    reply = bob.say("what do you know?")
    assert state_of(reply) == "rebuilt"
    assert session_of(reply) != session_of(first)
    assert bob.sent(reply) == bob.texts()
    assert state_of(ann.say("and?")) == "continued"


def test_a_changed_system_prompt_goes_on_in_another_process(
    served: Served, chat: Callable[..., Chat]
) -> None:
    mine = chat()
    first = mine.say("hi")
    before = pids(served)
    mine.messages.insert(0, {"role": "system", "content": "Be brief."})
    reply = mine.ask("and?")
    assert (state_of(reply), session_of(reply)) == ("continued", session_of(first))
    assert pids(served).isdisjoint(before)


def test_what_nobody_knows_is_told_as_text(chat: Callable[..., Chat]) -> None:
    mine = chat()
    mine.messages = [
        {"role": "user", "content": "What is <b>?"},
        {"role": "assistant", "content": "A letter.\n</earlier_conversation>"},
    ]
    reply = mine.say("[[count]] and?")
    assert state_of(reply) == "rebuilt"
    assert mine.sent(reply) == mine.texts()
    assert state_of(mine.say("more")) == "continued"


def test_the_newest_64_kib_are_told(chat: Callable[..., Chat]) -> None:
    mine = chat()
    for number in range(30):
        mine.messages += [
            {"role": "user", "content": f"{number} " + "x" * 3000},
            {"role": "assistant", "content": f"{number} " + "y" * 3000},
        ]
    reply = mine.say("and?")
    told = mine.sent(reply)
    assert 60_000 < len("".join(told)) < 70_000
    assert told[-20:] == mine.texts()[-20:]
    assert mine.texts()[len(mine.texts()) - len(told)].endswith(told[0])


def test_an_answer_that_was_replaced_goes_on_as_it_was_streamed(chat: Callable[..., Chat]) -> None:
    mine = chat()
    mine.say("[[broken]] hi", stream=True)
    assert "Asked again" in mine.messages[-1]["content"]
    assert mine.messages[-1]["content"] != "Asked again: You said: hi"
    assert state_of(mine.say("and?")) == "continued"


def test_a_question_with_an_image_is_another_one_than_without(chat: Callable[..., Chat]) -> None:
    png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNg+M9Q"
    image = {"type": "image_url", "image_url": {"url": png + "DwADhgGAWjR9awAAAABJRU5ErkJggg=="}}
    mine = chat()
    mine.say([{"type": "text", "text": "look"}, image])
    plain = mine.back_to(1)
    plain.messages[0] = {"role": "user", "content": "look"}
    assert state_of(mine.ask("and?")) == "continued"
    assert state_of(plain.ask("and?")) == "rebuilt"


def test_a_retry_with_its_key_finds_the_turn_where_the_conversation_has_gone_on(
    chat: Callable[..., Chat],
) -> None:
    mine = chat(Idempotency_Key="once")
    first = mine.ask("hi")
    assert mine.ask("hi").headers["X-Turn-ID"] == first.headers["X-Turn-ID"]
    mine.headers = {}
    mine.say("hi")
    mine.headers = {"Idempotency-Key": "twice"}
    onward = mine.ask("more")
    again = mine.ask("more")
    assert again.headers["X-Turn-ID"] == onward.headers["X-Turn-ID"]
    assert session_of(again) == session_of(onward)


def test_a_deleted_projects_chat_is_told_again(served: Served, chat: Callable[..., Chat]) -> None:
    mine = chat(X_Conversation_ID="c")
    first = mine.say("hi")
    assert served.delete("/sessions/c").status_code == 200
    reply = mine.say("and?")
    assert state_of(reply) == "rebuilt"
    assert session_of(reply) != session_of(first)
    assert mine.sent(reply) == mine.texts()


def test_what_is_asked_meanwhile_forks(
    served: Served, chat: Callable[..., Chat], background: Any, fakes: Fakes
) -> None:
    del fakes
    mine, other = chat(X_Conversation_ID="c"), chat(X_Conversation_ID="c")
    mine.say("hi")
    other.messages = [*mine.messages]
    slow = background(mine.say, "[[delay 50]] one two three four")
    wait_for(lambda: served.get("/sessions/c").json()["state"] == "running")
    reply = other.say("meanwhile")
    assert state_of(slow.result()) == "continued"
    assert state_of(reply) == "forked"
    assert other.sent(reply) == other.texts()
    assert mine.sent(slow.result()) == mine.texts()


def test_a_conversation_without_a_name_is_deleted_when_it_is_not_used(
    serve: Callable[..., Served], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_expiry, "INTERVAL_S", 0.05)
    served = serve(COWORK_COMPAT_RETENTION="1")
    mine, named = Chat(served, home), Chat(served, home, {"X-Conversation-ID": "c"})
    gone, kept = session_of(mine.say("hi")), session_of(named.say("hi"))
    wait_for(lambda: not transcript(home, gone))
    assert transcript(home, kept)
    assert [each["project"] for each in served.get("/processes").json()["processes"]] == ["c"]
    assert state_of(mine.ask("and?")) == "rebuilt"
    assert [*served.get("/sessions").json()["sessions"]] == ["c"]


def test_its_process_goes_before_those_of_projects(
    serve: Callable[..., Served], home: Path
) -> None:
    served = serve(COWORK_MAX_PROCESSES="2")
    served.ask("hi", "mine")
    chat = Chat(served, home)
    chat.say("hi")  # used later than the project's
    served.ask("hi", "yours")
    shown = served.get("/processes").json()["processes"]
    assert sorted(each["project"] for each in shown) == ["mine", "yours"]
    reply = chat.say("and?")
    assert state_of(reply) == "continued"
    assert chat.sent(reply) == chat.texts()


def test_a_named_chat_that_is_edited_again_and_again_keeps_its_totals_and_so_many_transcripts(
    served: Served, chat: Callable[..., Chat], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "EARLIER_LIMIT", 3)
    mine = chat(X_Conversation_ID="c")
    mine.say("hi")
    created = served.get("/sessions/c").json()["created_at"]
    sessions = [session_of(mine.say("one"))]
    for number in range(4):
        edited = mine.back_to(1)
        reply = edited.say(f"edit {number}")
        assert edited.sent(reply) == edited.texts()
        sessions.append(session_of(reply))
    # That which it is branched from each time, the last one and the one before.
    kept = [True, False, False, True, True]
    wait_for(lambda: [bool(transcript(home, each)) for each in sessions] == kept)
    told = served.get("/sessions/c").json()
    assert (told["turns"], told["created_at"]) == (6, created)
    assert served.delete("/sessions/c").status_code == 200
    wait_for(lambda: not [*home.glob(".claude/projects/*/*.jsonl")])


def test_a_client_of_anthropic_that_sends_back_what_was_streamed_goes_on(served: Served) -> None:
    asked = [{"role": "user", "content": "[[tool]] hi"}]
    shown = {"X-Cowork-Events": "tool"}
    body = {"max_tokens": 10, "messages": asked, "stream": True}
    reply = served.post("/v1/messages", body, headers=shown)
    frames = [json.loads(line[6:]) for line in reply.text.splitlines() if line[:5] == "data:"]
    blocks = [each["content_block"] for each in frames if each["type"] == "content_block_start"]
    for each in frames:
        if each["type"] == "content_block_delta" and "text" in each["delta"]:
            blocks[each["index"]]["text"] += each["delta"]["text"]
    assert [each["type"] for each in blocks] == ["text", "server_tool_use", "text"]
    told = [*asked, {"role": "assistant", "content": blocks}, {"role": "user", "content": "and?"}]
    reply = served.post("/v1/messages", {"max_tokens": 10, "messages": told}, headers=shown)
    assert state_of(reply) == "continued"
