"""Clients of other APIs: their turns are any turns, asked and read from whichever worker."""

from __future__ import annotations

from typing import Any

import requests

from tests.contract.dialects.completions import PATH, chunks, complete, error_of, text_of
from tests.contract.dialects.test_ai_sdk import chat, frames_of, has_words, user
from tests.serving import Gunicorn, wait_for
from tests.workers.places import Places, begun

LONG = "[[words 40]] [[delay 15]]"
WORDS = " ".join(f"w{number}" for number in range(1, 41))


def of(project: str, **more: str) -> dict[str, str]:
    return {"X-Cowork-Project": project, **more}


def test_a_completion(via: Gunicorn, project: str, places: Places) -> None:
    reply = complete(via, "[[words 5]]", headers=of(project))
    assert reply.json()["choices"][0]["message"]["content"] == "w1 w2 w3 w4 w5"
    turn = reply.json()["cowork"]["turn_id"]
    assert reply.headers["X-Session-State"] == "continued"
    assert reply.json()["cowork"]["session_state"] == "continued"
    assert places.home.get(f"/turns/{turn}").json()["message"] == "w1 w2 w3 w4 w5"
    assert places.starts(project) == 1


def test_chunks_come_one_by_one(via: Gunicorn, project: str, places: Places) -> None:
    body = {"messages": [{"role": "user", "content": LONG}], "stream": True}
    with requests.post(
        via.url + PATH, json=body, headers=of(project), stream=True, timeout=30
    ) as reply:
        lines = reply.iter_lines()
        seen = [next(lines) for _ in range(4)]
        turn = places.home.get(f"/turns/{reply.headers['X-Turn-ID']}").json()
        assert turn["state"] == "running"
        seen += list(lines)
    assert b"data: [DONE]" in seen
    assert sum(b'"content":"w' in line for line in seen) == 40


def test_a_failure_in_the_stream(via: Gunicorn, project: str) -> None:
    *_, last = chunks(complete(via, "[[die]]", headers=of(project), stream=True))
    assert last["error"]["code"] == "claude_failed"


def test_a_failure_at_once(via: Gunicorn, project: str) -> None:
    for stream in (False, True):
        reply = complete(via, "[[fail 529]]", headers=of(project), stream=stream)
        error_of(reply, 503, "claude_overloaded")
        assert reply.headers["x-should-retry"] == "false"


def test_a_busy_session(via: Gunicorn, project: str, places: Places) -> None:
    turn, rest = begun(places.home, "[[words 4000]] [[delay 15]]", project)
    reply = complete(via, "hi", headers=of(project, **{"X-On-Busy": "reject"}))
    error_of(reply, 409, "project_busy")
    reply = complete(via, "[[say now]]", headers=of(project, **{"X-On-Busy": "interrupt"}))
    assert reply.json()["choices"][0]["message"]["content"] == "now"
    assert rest()[-1].data["success"] is False
    assert via.get(f"/turns/{turn}").json()["state"] == "interrupted"


def test_a_retry_elsewhere_is_attached(via: Gunicorn, project: str, places: Places) -> None:
    first = of(project, **{"x-stainless-retry-count": "0"})
    body: dict[str, Any] = {"messages": [{"role": "user", "content": LONG}], "stream": True}
    with requests.post(
        places.home.url + PATH, json=body, headers=first, stream=True, timeout=30
    ) as lost:
        next(lost.iter_lines())
    again = complete(via, LONG, headers={**first, "x-stainless-retry-count": "1"}, stream=True)
    assert again.headers["X-Turn-ID"] == lost.headers["X-Turn-ID"]
    assert text_of(chunks(again)) == WORDS
    later = complete(via, LONG, headers={**first, "x-stainless-retry-count": "2"}, stream=True)
    assert later.headers["X-Turn-ID"] == lost.headers["X-Turn-ID"]
    assert text_of(chunks(later)) == WORDS


def test_a_key_is_one_question(via: Gunicorn, project: str, places: Places) -> None:
    headers = of(project, **{"Idempotency-Key": f"d-{via.port}-{project}"})
    first = complete(places.home, "[[words 4]]", headers=headers)
    again = complete(via, "[[words 4]]", headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["cowork"]["turn_id"] == first.json()["cowork"]["turn_id"]
    error_of(complete(via, "another", headers=headers), 400, "idempotency_mismatch")


def test_a_chat_of_the_ai_sdk_is_read_and_stopped_anywhere(
    via: Gunicorn, project: str, places: Places, background: Any
) -> None:
    asked = background(chat, places.home, [user("[[words 4000]] [[delay 15]]")], project)
    wait_for(lambda: has_words(via, project))
    with via.get(f"/api/chat/{project}/stream", stream=True) as again:
        assert via.post(f"/api/chat/{project}/stop").status_code == 204
        first, second = frames_of(asked.result()), frames_of(again)
    assert first[0]["messageId"] == second[0]["messageId"]
    assert first[-1]["type"] == second[-1]["type"] == "abort"
    said = chat(via, [user("[[words 3]]")], project)
    assert [each["id"] for each in via.get(f"/api/chat/{project}/messages").json()][-1] == (
        said.headers["X-Turn-ID"]
    )


def test_a_response_is_read_and_cancelled_anywhere(
    via: Gunicorn, project: str, places: Places
) -> None:
    body = {"input": "[[words 4000]] [[delay 15]]", "background": True}
    said = places.home.post("/v1/responses", body, headers=of(project)).json()
    path = f"/v1/responses/{said['id']}"
    wait_for(lambda: via.get(path).json()["status"] == "in_progress")
    with via.get(f"{path}?stream=true", stream=True) as read:
        lines = read.iter_lines()
        assert next(lines) == b"event: response.created"
        assert via.post(f"{path}/cancel").json()["status"] == "cancelled"
        assert b"event: response.failed" in list(lines)
    assert places.home.get(path).json()["status"] == "cancelled"


def test_messages_and_responses_are_asked_anywhere(
    via: Gunicorn, project: str, places: Places
) -> None:
    message = {"max_tokens": 9, "messages": [{"role": "user", "content": "[[words 2]]"}]}
    said = via.post("/v1/messages", message, headers=of(project)).json()
    assert said["content"] == [{"type": "text", "text": "w1 w2"}]
    told = via.post("/v1/responses", {"input": "[[words 2]]"}, headers=of(project)).json()
    assert told["output"][0]["content"][0]["text"] == "w1 w2"
    assert places.home.get(f"/v1/responses/{told['id']}").json()["output"] == told["output"]
    assert places.starts(project) == 1
