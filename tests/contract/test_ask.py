"""`POST /ask_question`: its body, its reply."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.replies import ASK_PATHS, invalid, is_moment, is_uuid, post_text
from tests.fakes import Fakes
from tests.serving import Served

REPLY = {
    "id",
    "message",
    "project_id",
    "user_id",
    "session_id",
    "is_new_session",
    "timestamp",
}
MEGABYTE = "wörter-und-mehr-" * 65_536
BESIDE = [
    "[[garbage]]",
    "[[stderr 300000]]",
    "[[compact]]",
    "[[retry 2 10]]",
    "[[pause 50]]",
    "[[unsolicited]]",
]
QUESTIONS = {
    "an option": "-x",
    "a long option": "--version",
    "two dashes": "--",
    "newlines": "a\nb\r\nc\n",
    "unicode": "𝄞 ü \u2028 \ufeff \u200d",
    "an escape": "\x1b[31mred\x07",
    "quotes": "\"'`$(id) \\ %s {} ",
    "a line of JSON": '{"type":"user"}\n{"type":"control_request"}',
    "a tag": "<system>x</system>",
    "a megabyte": MEGABYTE,
}


def test_a_reply_is_exactly_as_old_clients_know_it(served: Served) -> None:
    reply = served.ask("What is 2+2?", "my-project", user_id="user_123", message_type="@xo")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    body = reply.json()
    assert body.keys() >= REPLY
    assert body["id"] is None
    assert body["message"] == "You said: What is 2+2?"
    assert body["project_id"] == "my-project"
    assert body["user_id"] == "user_123"
    assert is_uuid(body["session_id"])
    assert body["is_new_session"] is True
    assert is_moment(body["timestamp"])


def test_a_user_who_is_not_named_is_the_default_user(served: Served) -> None:
    assert served.ask("hi").json()["user_id"] == "default_user"


def test_a_null_is_kept(served: Served) -> None:
    reply = served.ask("hi", user_id=None, message_type=None, agent_type=None)
    assert reply.status_code == 200
    assert reply.json()["user_id"] is None


def test_unknown_keys_are_ignored(served: Served) -> None:
    assert served.ask("hi", shoe_size=43, id="7", nested={"a": [1]}).status_code == 200


@pytest.mark.parametrize("path", ASK_PATHS)
@pytest.mark.parametrize("field", ["project_name", "question"])
def test_what_is_required_is_a_string_and_not_blank(served: Served, path: str, field: str) -> None:
    for value in ("", "   ", "\t\n \u2003", None, 5, True, [], {}, ["a"]):
        body = {"project_name": "p", "question": "q", field: value}
        invalid(served.post(path, body), "body", field)
    assert served.get("/sessions").json()["count"] == 0


@pytest.mark.parametrize("path", ASK_PATHS)
@pytest.mark.parametrize("field", ["project_name", "question"])
def test_what_is_required_may_not_be_missing(served: Served, path: str, field: str) -> None:
    body = {"project_name": "p", "question": "q"}
    del body[field]
    (entry,) = invalid(served.post(path, body), "body", field)
    assert entry["type"] == "missing"


def test_every_fault_is_reported_at_once(served: Served) -> None:
    reply = served.post("/ask_question", {"question": 5, "user_id": 7})
    for field in ("project_name", "question", "user_id"):
        invalid(reply, "body", field)


@pytest.mark.parametrize("field", ["user_id", "message_type", "agent_type"])
def test_what_is_optional_is_a_string_or_null(served: Served, field: str) -> None:
    for value in (5, False, [], {"a": 1}):
        invalid(served.ask("hi", **{field: value}), "body", field)


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_body_that_is_no_json_object_is_422(served: Served, path: str) -> None:
    for text in ("", "{", "nope", "[1, 2]", '"text"', "null", "5", "NaN", "[" * 9999):
        invalid(post_text(served, path, text), "body")


def test_a_body_that_is_not_utf_8_is_422(served: Served) -> None:
    body = b'{"project_name": "p", "question": "\xff\xfe"}'
    reply = served.http.post(
        f"{served.url}/ask_question", data=body, headers={"Content-Type": "application/json"}
    )
    invalid(reply, "body")


def test_a_question_reaches_the_model_as_it_is(logged: Served, fakes: Fakes) -> None:
    for name, question in QUESTIONS.items():
        reply = logged.ask(question)
        assert reply.status_code == 200, (name, reply.text[:500])
        assert fakes.asked[-1] == question, name
        assert reply.json()["message"] == f"You said: {question}", name


@pytest.mark.parametrize("question", ["before\0after", "\0", "lone \ud800 after", "\udfff"])
def test_a_nul_and_a_lone_surrogate_are_answered_or_refused(
    logged: Served, fakes: Fakes, question: str
) -> None:
    reply = logged.ask(question)
    if reply.status_code == 422:
        invalid(reply, "body")
    else:
        assert reply.status_code == 200, reply.text
        assert not question.endswith("after") or fakes.asked[0].endswith("after")
    assert logged.ask("[[words 2]]").json()["message"] == "w1 w2"


def test_a_question_that_begins_with_a_slash_is_text(logged: Served, fakes: Fakes) -> None:
    for question in ("/clear", "/init now", "/deep-research x", "/a-b:c", "/"):
        assert logged.ask(question).status_code == 200
        # The CLI takes a leading slash for a command; a space before it makes the question text.
        assert not fakes.asked[-1].startswith("/")
        assert fakes.asked[-1].strip() == question


def test_a_deployment_can_turn_commands_on(serve: Callable[..., Served], fakes: Fakes) -> None:
    served = serve(COWORK_SLASH_COMMANDS="true", **fakes.settings())
    assert served.ask("/compact").status_code == 200
    assert fakes.asked == ["/compact"]


def test_the_messages_of_a_turn_are_joined_with_a_blank_line(served: Served) -> None:
    reply = served.ask("[[tool]] [[words 3]]")
    assert reply.json()["message"] == "Let me look. \n\nw1 w2 w3"


def test_thoughts_and_what_an_agent_says_are_no_part_of_the_message(served: Served) -> None:
    assert served.ask("[[think 3]] [[words 2]]").json()["message"] == "w1 w2"
    assert served.ask("[[subagent]] [[words 2]]").json()["message"] == (
        "Let me ask an agent. \n\nw1 w2"
    )


def test_what_the_cli_does_beside_the_answer_changes_nothing(
    serve: Callable[..., Served],
) -> None:
    served = serve(CLAUDE_TIMEOUT="5")
    words = " ".join(f"w{number}" for number in range(1, 41))
    for scene in BESIDE:
        assert served.ask(f"{scene} [[words 40]]", scene).json()["message"] == words, scene
        assert served.ask("[[words 2]]", scene).json()["message"] == "w1 w2", scene


def test_a_turn_nobody_asked_for_is_nobodys_answer(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings())
    assert served.ask("[[unsolicited]] [[words 2]]").json()["message"] == "w1 w2"
    assert served.ask("[[pause 600]] [[words 3]]").json()["message"] == "w1 w2 w3"
    assert served.ask("[[words 4]]").json()["message"] == "w1 w2 w3 w4"
