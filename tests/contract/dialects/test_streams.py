"""A completion's stream: silence, ends of every kind, and what the operator is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.dialects.completions import PATH, chunks, complete, text_of
from tests.scraping import Scrape, await_count
from tests.serving import Client, Gunicorn, Served, wait_for

KEY, OTHER = "k" * 32, "o" * 32


def opened(served: Client, question: str, **headers: str) -> requests.Response:
    """A stream that is not read yet."""
    body = {"messages": [{"role": "user", "content": question}], "stream": True}
    return served.post(PATH, body, headers=headers, stream=True)


@pytest.mark.parametrize("server", ["serve", "gunicorn"])
def test_silence_is_a_comment_of_one_line(request: pytest.FixtureRequest, server: str) -> None:
    served = request.getfixturevalue(server)(COWORK_KEEPALIVE="0.1", COWORK_FIRST_EVENT_WAIT="0.05")
    text = complete(served, "[[pause 600]] [[linger 400]] [[words 3]]", stream=True).text
    assert text.count(": keep-alive\n") >= 3
    assert ": keep-alive\n\n" not in text
    lines = [line for line in text.replace(": keep-alive\n", "").split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert json.loads(lines[0][6:])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert lines[-1] == "data: [DONE]"


def test_an_interrupt_ends_the_stream_with_its_error(served: Served) -> None:
    with opened(served, "[[stall]]") as reply:
        lines = reply.iter_lines()
        while b'"content":"said' not in next(lines):
            pass
        assert served.post(f"/turns/{reply.headers['X-Turn-ID']}/interrupt").status_code == 200
        rest = [line for line in lines if line]
    assert json.loads(rest[-2][6:])["error"]["code"] == "turn_interrupted"
    assert rest[-1] == b"data: [DONE]"


@pytest.mark.parametrize("server", ["serve", "gunicorn"])
def test_a_key_that_is_removed_ends_the_stream_with_its_error(
    request: pytest.FixtureRequest, server: str, another: Callable[..., Client], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"me={KEY}\n")
    served = request.getfixturevalue(server)(COWORK_API_KEYS_FILE=str(file), COWORK_KEEPALIVE="0.2")
    with opened(another(served, KEY), "[[delay 100]] [[words 300]]") as reply:
        lines = reply.iter_lines(chunk_size=1)
        next(lines)
        file.write_text(f"you={OTHER}\n")
        rest = [line for line in lines if line.startswith(b"data: ")]
    assert json.loads(rest[-2][6:])["error"]["code"] == "invalid_api_key"
    assert rest[-1] == b"data: [DONE]"


def test_a_server_that_shuts_down_says_so_in_the_stream(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(COWORK_GRACEFUL_TIMEOUT="5")
    with opened(server, "[[words 4000]] [[delay 20]]") as reply:
        lines = reply.iter_lines(chunk_size=1)
        next(lines)
        server.stop()
        rest = [line for line in lines if line.startswith(b"data: ")]
    assert json.loads(rest[-2][6:])["error"]["code"] == "shutting_down"
    assert rest[-1] == b"data: [DONE]"


def test_a_turn_of_another_api_is_any_turn(served: Served) -> None:
    reply = complete(served, "[[tool]] [[words 3]]", headers={"X-Cowork-Project": "p"}, stream=True)
    assert text_of(chunks(reply)).endswith("w1 w2 w3")
    turn = reply.headers["X-Turn-ID"]
    native = served.get(f"/turns/{turn}/events?events=tool").text
    assert '"type": "tool_use"' in native
    assert served.ask("[[count]] and now?").json()["message"].startswith("I see 2 questions")


def test_turns_are_counted_by_their_api(served: Served) -> None:
    assert complete(served, "[[words 3]]").status_code == 200
    turn = {"api": "chat", "kind": "answer", "outcome": "succeeded"}
    await_count(served, 1, "turns_total", **turn)
    counted = Scrape(served).value("http_requests_total", method="POST", route=PATH, status="200")
    assert counted == 1


def test_the_requests_line_has_its_turn(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="info", COWORK_LOG_FORMAT="json")
    reply = complete(server, "[[words 3]]", stream=True)

    def told() -> list[dict[str, Any]]:
        lines = server.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in found if each.get("path") == PATH]

    wait_for(told, what="the request's line")
    (line,) = told()
    assert line["turn_id"] == reply.headers["X-Turn-ID"]
    assert line["request_id"] == reply.headers["request-id"]
    assert (line["status"], line["how"], line["route"]) == (200, "done", PATH)
    assert line["bytes"] == len(reply.content)


def test_an_answer_that_was_replaced_is_whole_at_the_end(served: Served) -> None:
    found = chunks(complete(served, "[[broken 2]] [[words 9]]", stream=True))
    told = found[-1]["cowork"]["message"]
    assert told.startswith("Asked again: ")
    assert text_of(found) != told
    assert served.get(f"/turns/{found[-1]['cowork']['turn_id']}").json()["message"] == told
