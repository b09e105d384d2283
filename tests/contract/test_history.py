"""What goes to the Chat API: every question, then its answer, in order, and nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import delete
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.serving import Client, Served, frames, wait_for
from tests.upstream import ADD_MESSAGE, Upstream, drips_body, drops_reply, fails, hangs

Another = Callable[..., Client]
SOON_S = 1.5


@pytest.fixture
def connected(serve: Callable[..., Served], upstream: Upstream) -> Served:
    return serve(CHAT_API_BASE_URL=upstream.url)


def _wait(upstream: Upstream, count: int) -> list[dict[str, Any]]:
    """The messages, once there are so many."""
    wait_for(lambda: len(upstream.messages) >= count, what=f"message {count}")
    assert len(upstream.messages) == count
    return upstream.messages


def _message(text: str, kind: str | None, **others: Any) -> dict[str, Any]:
    body = {"project_id": "p", "user_id": "default_user", "message": text, "type": kind}
    return {**body, **others}


def test_a_question_and_then_its_answer_are_posted(connected: Served, upstream: Upstream) -> None:
    connected.ask("hi")
    assert _wait(upstream, 2) == [_message("hi", "@xo"), _message("You said: hi", "agent")]
    for seen in upstream.at(ADD_MESSAGE):
        assert seen.method == "POST"
        assert seen.headers["content-type"].startswith("application/json")


def test_a_stream_is_posted_the_same_way(connected: Served, upstream: Upstream) -> None:
    connected.streamed("[[tool]] [[words 2]]")
    answer = "Let me look. \n\nw1 w2"
    expected = [_message("[[tool]] [[words 2]]", "@xo"), _message(answer, "agent")]
    assert _wait(upstream, 2) == expected


def test_a_replaced_text_is_posted_as_it_was_answered(
    connected: Served, upstream: Upstream
) -> None:
    last = connected.streamed("[[broken]] [[words 5]]")[-1]
    assert _wait(upstream, 2)[1] == _message(last.data["message"], "agent")


def test_the_type_and_the_user_are_those_of_the_question(
    connected: Served, upstream: Upstream
) -> None:
    connected.ask("hi", "a/ü", user_id="user-7", message_type="@other")
    mine = {"project_id": "a/ü", "user_id": "user-7"}
    expected = [_message("hi", "@other", **mine), _message("You said: hi", "agent", **mine)]
    assert _wait(upstream, 2) == expected
    connected.ask("hi", user_id=None, message_type=None)
    nobody = {"user_id": None}
    expected = [_message("hi", None, **nobody), _message("You said: hi", "agent", **nobody)]
    assert _wait(upstream, 4)[2:] == expected


def test_a_skill_is_no_part_of_the_question(
    connected: Served, upstream: Upstream, home: Path
) -> None:
    (home / ".claude" / "skills" / "writer").mkdir(parents=True)
    connected.ask("write", agent_type="writer")
    assert _wait(upstream, 2)[0] == _message("write", "@xo")


def test_the_turns_of_a_project_are_posted_in_order(connected: Served, upstream: Upstream) -> None:
    upstream.then(fails(500), fails(503), drops_reply)
    for number in range(4):
        connected.ask(f"number {number}")
    texts = [message["message"] for message in _wait(upstream, 8)]
    expected = [f"{said}number {number}" for number in range(4) for said in ("", "You said: ")]
    assert texts == expected


def test_the_turns_of_a_project_that_is_asked_at_once_are_posted_in_pairs(
    connected: Served, upstream: Upstream, background: BackgroundCalls, another: Another
) -> None:
    asked = [background(another(connected).ask, f"[[pause 30]] {number}") for number in range(3)]
    assert {one.result().status_code for one in asked} == {200}
    texts = [message["message"] for message in _wait(upstream, 6)]
    for number in range(3):
        question = texts.index(f"[[pause 30]] {number}")
        assert question < texts.index(f"You said: {number}")
    answers = [text for text in texts if text.startswith("You said")]
    questions = [text for text in texts if not text.startswith("You said")]
    assert [text[-1] for text in answers] == [text[-1] for text in questions]


def test_a_question_is_posted_before_it_is_answered(
    connected: Served, upstream: Upstream, background: BackgroundCalls, another: Another
) -> None:
    asked = background(another(connected).ask, "[[hang]]")
    assert _wait(upstream, 1) == [_message("[[hang]]", "@xo")]
    assert not asked.done()
    delete(connected, "p")
    asked.result()


def test_a_failed_turns_text_is_posted_with_its_status(
    connected: Served, upstream: Upstream
) -> None:
    connected.ask("[[die]] [[words 9]]")
    question, partial = _wait(upstream, 2)
    assert "status" not in question
    assert partial.pop("status") in {"failed", "partial"}
    assert partial["message"].strip() == "w1 w2 w3"
    assert partial["type"] == "agent"


def test_an_interrupted_turns_text_is_posted_with_its_status(
    serve: Callable[..., Served], upstream: Upstream, another: Another
) -> None:
    served = serve(CHAT_API_BASE_URL=upstream.url)
    with another(served).stream("[[stall]] [[words 9]]") as reply:
        seen = frames(reply)
        for _ in range(3):
            next(seen)
        delete(served, "p")
        list(seen)
    _, partial = _wait(upstream, 2)
    assert partial["message"].strip() == "w1 w2 w3"
    assert partial["status"] in {"partial", "failed"}


def test_a_timed_out_turns_text_is_posted_with_its_status(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CHAT_API_BASE_URL=upstream.url, CLAUDE_TIMEOUT="0.5")
    assert served.ask("[[stall]] [[words 9]]").status_code == 504
    _, partial = _wait(upstream, 2)
    assert partial["message"].strip() == "w1 w2 w3"
    assert partial["status"] in {"partial", "failed"}


def test_what_the_cli_says_of_its_failure_is_no_answer(
    connected: Served, upstream: Upstream
) -> None:
    for scene in ("500", "529", "429", "not_logged_in", "unreachable"):
        connected.ask(f"[[fail {scene}]]")
    connected.ask("after")
    wait_for(lambda: any(m["message"] == "You said: after" for m in upstream.messages))
    for message in upstream.messages:
        assert "API Error" not in message["message"]
        if message["type"] == "agent" and message["message"] != "You said: after":
            assert message["status"] in {"partial", "failed"}, message
        else:
            assert "status" not in message


@pytest.mark.parametrize("behaviour", [hangs, drips_body, fails(500), fails(400), drops_reply])
def test_no_answer_waits_for_the_history(
    connected: Served, upstream: Upstream, behaviour: Callable[..., None]
) -> None:
    upstream.always(behaviour)
    for _ in range(2):
        begun = time.monotonic()
        assert connected.ask("hi").status_code == 200
        assert connected.streamed("hi")[-1].data["success"] is True
        assert time.monotonic() - begun < SOON_S


def test_history_comes_after_an_outage(connected: Served, upstream: Upstream) -> None:
    upstream.stop()
    for number in range(2):
        assert connected.ask(f"number {number}").status_code == 200
    upstream.start()
    wait_for(lambda: len(upstream.messages) == 4, PATIENCE_S, "the history")
    texts = [message["message"] for message in upstream.messages]
    assert texts == ["number 0", "You said: number 0", "number 1", "You said: number 1"]


def test_an_empty_base_url_switches_it_off(served: Served) -> None:
    assert served.get("/health").json()["chat_api_url"] == ""
    assert served.ask("hi").status_code == 200
    reply = served.post("/xo-auth/start", {})
    assert reply.status_code >= 400
    assert isinstance(reply.json()["detail"]["error"], str)


def test_the_base_url_may_have_a_path_and_a_slash(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CHAT_API_BASE_URL=f"{upstream.url}/api/")
    served.ask("hi")
    wait_for(lambda: upstream.at(f"/api{ADD_MESSAGE}"), what="the history")


def test_a_call_is_authorized_where_a_token_is_held(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    serve(CHAT_API_BASE_URL=upstream.url).ask("hi")
    _wait(upstream, 2)
    assert all("authorization" not in seen.headers for seen in upstream.seen)
    serve(CHAT_API_BASE_URL=upstream.url, CHAT_API_TOKEN="static-token").ask("hi", "q")
    _wait(upstream, 4)
    assert upstream.seen[-1].headers["authorization"] == "Bearer static-token"


def test_a_question_of_any_characters_is_posted(
    connected: Served, upstream: Upstream, fakes: Fakes
) -> None:
    del fakes
    question = '😀 ü \u2028 \x1b \\ " \n' + "x" * 300_000
    connected.ask(question)
    assert _wait(upstream, 2)[0] == _message(question, "@xo")
