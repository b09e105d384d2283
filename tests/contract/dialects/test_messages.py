"""`POST /v1/messages` and `count_tokens`."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.serving import Client, Served, wait_for

PATH = "/v1/messages"
OF_P = {"X-Cowork-Project": "p"}


def send(client: Client, question: Any, *, headers: Any = None, **body: Any) -> Any:
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
    given = {"model": "cowork", "max_tokens": 64, "messages": messages, **body}
    return client.post(PATH, given, headers=headers)


def events(reply: requests.Response) -> list[Any]:
    assert reply.status_code == 200, reply.text
    found = []
    for block in reply.text.removesuffix("\n\n").split("\n\n"):
        kind, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def text_of(found: list[Any]) -> str:
    deltas = [each["delta"] for each in found if each["type"] == "content_block_delta"]
    return "".join(each.get("text", "") for each in deltas)


def error_of(reply: requests.Response, status: int, kind: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    said = reply.json()
    assert said["type"] == "error"
    assert said["request_id"] == reply.headers["request-id"]
    assert said["error"]["type"] == kind
    return said["error"]  # type: ignore[no-any-return]


def test_an_answer_is_a_message(served: Served) -> None:
    reply = send(served, "[[words 3]]", headers=OF_P)
    said = reply.json()
    assert said["content"] == [{"type": "text", "text": "w1 w2 w3"}]
    assert said["stop_reason"] == "end_turn"
    assert said["usage"]["output_tokens"] > 0
    assert reply.headers["X-Cowork-Ignored"] == "max_tokens"
    turn = served.get(f"/turns/{reply.headers['X-Turn-ID']}").json()
    assert turn["message"] == "w1 w2 w3"
    assert said["id"] == f"msg_{turn['turn_id'].replace('-', '')}"


def test_a_stream_has_the_same_answer(served: Served) -> None:
    found = events(send(served, "[[words 3]]", stream=True))
    assert [each["type"] for each in found[:2]] == ["message_start", "ping"]
    assert text_of(found) == "w1 w2 w3"
    assert found[-1] == {"type": "message_stop"}
    assert found[-2]["usage"]["output_tokens"] > 0


def test_a_conversation_goes_on_and_an_edit_forks(served: Served) -> None:
    first = send(served, "[[count]] one").json()["content"]
    said = [{"role": "user", "content": "[[count]] one"}, {"role": "assistant", "content": first}]
    reply = send(served, [*said, {"role": "user", "content": "[[count]] two"}])
    assert reply.headers["X-Session-State"] == "continued"
    assert reply.json()["content"][0]["text"].startswith("I see 2 questions")
    edited = send(served, [*said, {"role": "user", "content": "[[count]] I mean"}], stream=True)
    assert edited.headers["X-Session-State"] == "forked"
    assert text_of(events(edited)).startswith("I see 2 questions")


def test_claude_codes_session_is_a_conversation_of_its_own(served: Served) -> None:
    metadata = {"user_id": "user_ab_account__session_c0ffee"}
    assert send(served, "hi", metadata=metadata).headers["X-Session-State"] == "new"
    assert "c0ffee" in served.get("/sessions").json()["sessions"]
    title = send(served, "a title, please", metadata=metadata)
    assert title.headers["X-Session-State"] == "new"
    assert list(served.get("/sessions").json()["sessions"]) == ["c0ffee"]


@pytest.mark.parametrize(
    ("scene", "status", "kind"),
    [
        ("[[fail 529]]", 529, "overloaded_error"),
        ("[[fail 429]]", 429, "rate_limit_error"),
        ("[[fail not_logged_in]]", 503, "api_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_the_answer_is_a_status(
    served: Served, scene: str, status: int, kind: str, stream: bool
) -> None:
    reply = send(served, scene, stream=stream)
    error_of(reply, status, kind)
    assert reply.headers["x-should-retry"] == "false"


def test_an_error_in_the_stream_is_its_last_event(served: Served) -> None:
    *_, last = events(send(served, "[[die]]", stream=True))
    assert last["type"] == "error"
    assert last["error"]["type"] == "api_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_an_answer(served: Served, stream: bool) -> None:
    reply = send(served, "[[fail refusal]]", stream=stream)
    found = events(reply)[-2]["delta"] if stream else reply.json()
    assert found["stop_reason"] == "refusal"


def test_an_interrupt_is_an_error(served: Served, background: Any) -> None:
    asked = background(send, served, "[[hang]]", headers=OF_P)
    wait_for(lambda: served.post("/sessions/p/interrupt").json().get("turn_id"))
    error_of(asked.result(), 409, "invalid_request_error")


def test_what_does_not_fit_says_where(served: Served) -> None:
    prefill = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]
    assert "messages" in error_of(send(served, prefill), 400, "invalid_request_error")["message"]
    error_of(send(served, "hi", model="no-such-model"), 404, "not_found_error")


def test_tokens_are_estimated(served: Served) -> None:
    body = {"messages": [{"role": "user", "content": "a" * 35}]}
    reply = served.post(f"{PATH}/count_tokens", body)
    assert reply.json() == {"input_tokens": 14}
    assert reply.headers["X-Cowork-Estimated"] == "true"
    error_of(served.post(f"{PATH}/count_tokens", {}), 400, "invalid_request_error")
