"""`/v1/responses`: ask, read again, cancel."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.contract.dialects.completions import error_of
from tests.serving import Client, Served, wait_for

PATH = "/v1/responses"
OF_P = {"X-Cowork-Project": "p"}


def ask(client: Client, question: Any, *, headers: Any = None, **body: Any) -> Any:
    return client.post(PATH, {"input": question, **body}, headers=headers)


def events(reply: requests.Response) -> list[Any]:
    assert reply.status_code == 200, reply.text
    found = []
    for block in reply.text.removesuffix("\n\n").split("\n\n"):
        kind, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def text_of(response: Any) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def test_an_answer_is_a_response_that_can_be_read_again(served: Served) -> None:
    reply = ask(served, "[[words 3]]", model="cowork", metadata={"a": "b"}, instructions="Hm")
    said = reply.json()
    assert (said["status"], text_of(said)) == ("completed", "w1 w2 w3")
    assert said["usage"]["total_tokens"] > 0
    assert said["id"] == f"resp_{reply.headers['X-Turn-ID']}"
    assert (said["metadata"], said["instructions"]) == ({"a": "b"}, "Hm")
    assert served.get(f"{PATH}/{said['id']}").json() == said


def test_a_stream_is_the_same_wherever_it_is_taken_up(served: Served) -> None:
    reply = ask(served, "[[words 5]]", stream=True)
    found = events(reply)
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert text_of(found[-1]["response"]) == "w1 w2 w3 w4 w5"
    name = found[-1]["response"]["id"]
    assert served.get(f"{PATH}/{name}").json() == found[-1]["response"]
    for number in range(-1, len(found) - 1):
        query = f"stream=true&starting_after={number}"
        assert events(served.get(f"{PATH}/{name}?{query}")) == found[number + 1 :]


def test_a_response_goes_on_behind_another_and_forks_behind_an_earlier_one(
    served: Served,
) -> None:
    first = ask(served, "[[count]] one").json()
    second = ask(served, "[[count]] two", previous_response_id=first["id"])
    assert second.headers["X-Session-State"] == "continued"
    assert text_of(second.json()).startswith("I see 2 questions")
    assert second.json()["previous_response_id"] == first["id"]
    other = ask(served, "[[count]] two, I mean", previous_response_id=first["id"])
    assert other.headers["X-Session-State"] == "forked"
    assert text_of(other.json()).startswith("I see 2 questions")
    error_of(
        ask(served, "hi", previous_response_id="resp_never"), 404, "previous_response_not_found"
    )


def test_a_conversation_goes_on_by_its_name(served: Served) -> None:
    ask(served, "[[count]] one", conversation="chat")
    reply = ask(served, "[[count]] two", conversation={"id": "chat"})
    assert text_of(reply.json()).startswith("I see 2 questions")
    assert "chat" in served.get("/sessions").json()["sessions"]


def test_a_response_in_the_background_goes_on_without_a_reader_and_is_cancelled(
    serve: Any,
) -> None:
    served = serve(COWORK_DISCONNECT_GRACE="0")
    said = ask(served, "[[words 400]] [[delay 10]]", background=True).json()
    assert (said["status"], said["output"]) == ("queued", [])
    path = f"{PATH}/{said['id']}"
    wait_for(lambda: served.get(path).json()["status"] == "in_progress")
    with served.get(f"{path}?stream=true", stream=True) as read:
        next(read.iter_lines())
    assert served.get(path).json()["status"] == "in_progress"
    assert served.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert served.get(path).json()["status"] == "cancelled"
    assert served.post(f"{path}/cancel").json()["status"] == "cancelled"
    last = events(served.get(f"{path}?stream=true"))[-1]
    assert last["response"]["status"] == "cancelled"


def test_a_response_that_failed_says_why_whenever_it_is_read(served: Served) -> None:
    reply = ask(served, "[[fail 529]]")
    error_of(reply, 503, "claude_overloaded")
    said = served.get(f"{PATH}/resp_{reply.headers['X-Turn-ID']}").json()
    assert said["status"] == "failed"
    assert said["error"]["code"] == "claude_overloaded"
    *_, last = events(ask(served, "[[die]]", stream=True))
    assert last["type"] == "response.failed"


@pytest.mark.parametrize("name", ["resp_never", "never", "chatcmpl-1"])
def test_a_response_that_is_not_there_is_not_found(served: Served, name: str) -> None:
    error_of(served.get(f"{PATH}/{name}"), 404, "not_found")
    error_of(served.post(f"{PATH}/{name}/cancel"), 404, "not_found")


def test_another_owners_response_is_not_there(serve: Any) -> None:
    keys = {name: f"{name}-" + 32 * name[0] for name in ("ann", "bob")}
    server = serve(COWORK_API_KEYS=",".join(f"{name}={key}" for name, key in keys.items()))
    ann, bob = (Client(server.url, key) for key in keys.values())
    name = ask(ann, "[[words 1]]").json()["id"]
    error_of(bob.get(f"{PATH}/{name}"), 404, "not_found")
    error_of(bob.post(f"{PATH}/{name}/cancel"), 404, "not_found")
    error_of(ask(bob, "hi", previous_response_id=name), 404, "previous_response_not_found")


def test_a_response_outlives_the_server(gunicorn: Any, tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    first = gunicorn(COWORK_STORE=store)
    said = ask(first, "[[words 3]]", metadata={"a": "b"}, model="cowork").json()
    first.stop()
    second = gunicorn(COWORK_STORE=store)
    assert second.get(f"{PATH}/{said['id']}").json() == said
