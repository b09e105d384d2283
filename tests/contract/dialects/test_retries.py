"""An SDK that asks again gets the turn that its first try has begun: no work is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests

from tests.contract.dialects.completions import PATH, chunks, complete, error_of, text_of
from tests.serving import Served, wait_for

FIRST = {"x-stainless-retry-count": "0", "X-Cowork-Project": "p"}
AGAIN = {**FIRST, "x-stainless-retry-count": "1"}


def turns(served: Served, project: str = "p") -> int:
    """How many turns there are in the project."""
    return len(served.get(f"/sessions/{project}/turns").json()["turns"])


def leave(served: Served, question: str, headers: Mapping[str, str], **body: Any) -> str:
    """Ask, read the first chunk, and lose the connection; the turn."""
    asked = {"messages": [{"role": "user", "content": question}], "stream": True, **body}
    url = f"{served.url}{PATH}"
    with requests.post(url, json=asked, headers=headers, stream=True, timeout=20) as reply:
        next(reply.iter_lines())
        return reply.headers["X-Turn-ID"]


def test_a_retry_is_attached_to_the_turn_that_runs(served: Served) -> None:
    question = "[[words 40]] [[delay 20]]"
    turn = leave(served, question, FIRST)
    again = complete(served, question, headers=AGAIN, stream=True)
    assert again.headers["X-Turn-ID"] == turn
    assert again.headers["Idempotent-Replayed"] == "true"
    assert text_of(chunks(again)).startswith("w1 w2 ")
    assert text_of(chunks(again)).endswith(" w40")
    assert turns(served) == 1


def test_a_retry_behind_the_end_gets_the_answer(served: Served) -> None:
    first = complete(served, "[[count]] hi", headers=FIRST)
    again = complete(served, "[[count]] hi", headers=AGAIN)
    assert again.json() == {**first.json(), "cowork": again.json()["cowork"]}
    assert again.json()["cowork"]["turn_id"] == first.json()["cowork"]["turn_id"]
    assert turns(served) == 1


def test_a_retry_of_a_failure_is_that_failure(served: Served) -> None:
    error_of(complete(served, "[[fail 529]]", headers=FIRST), 503, "claude_overloaded")
    again = complete(served, "[[fail 529]]", headers=AGAIN)
    error_of(again, 503, "claude_overloaded")
    assert again.headers["x-should-retry"] == "false"
    assert turns(served) == 1


def test_the_same_question_again_is_no_retry(served: Served) -> None:
    first = complete(served, "[[count]] hi", headers=FIRST)
    second = complete(served, "[[count]] hi", headers=FIRST)
    assert first.headers["X-Turn-ID"] != second.headers["X-Turn-ID"]
    again = complete(served, "[[count]] hi", headers=AGAIN)
    assert again.headers["X-Turn-ID"] == second.headers["X-Turn-ID"]  # the last one counts
    assert turns(served) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {**AGAIN, "X-Cowork-Project": "q"}},
        {"temperature": 1},
        {"stream": False},
    ],
)
def test_a_retry_of_another_request_is_asked(served: Served, other: dict[str, Any]) -> None:
    first = complete(served, "hi", headers=FIRST)
    another = complete(served, "hi", **{"headers": AGAIN, **other})
    assert first.headers["X-Turn-ID"] != another.headers["X-Turn-ID"]


def test_a_retry_whose_first_try_never_came_is_asked_once(served: Served) -> None:
    first = complete(served, "hi", headers=AGAIN)
    again = complete(served, "hi", headers={**AGAIN, "x-stainless-retry-count": "2"})
    assert first.status_code == 200
    assert again.headers["X-Turn-ID"] == first.headers["X-Turn-ID"]


def test_what_was_not_asked_is_asked_by_the_retry(
    serve: Callable[..., Served], background: Any
) -> None:
    served = serve(COWORK_QUEUE_LIMIT="0")
    running = background(served.ask, "[[pause 500]] hi")
    wait_for(lambda: served.services.turn_service.busy() == 1)
    refused = complete(served, "[[say now]]", headers=FIRST)
    error_of(refused, 429, "queue_full")
    assert refused.headers["x-should-retry"] == "true"
    assert running.result().status_code == 200
    assert complete(served, "[[say now]]", headers=AGAIN).status_code == 200


def test_another_owners_retry_is_its_own(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=f"me={'k' * 32},you={'o' * 32}")
    mine = complete(served, "hi", headers={**FIRST, "x-api-key": "k" * 32})
    yours = complete(served, "hi", headers={**AGAIN, "x-api-key": "o" * 32})
    assert mine.status_code == yours.status_code == 200
    assert mine.headers["X-Turn-ID"] != yours.headers["X-Turn-ID"]


def test_an_idempotency_key_is_one_question(served: Served) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = complete(served, "[[words 3]]", headers=headers)
    again = complete(served, "[[words 3]]", headers=headers)
    assert again.headers["X-Turn-ID"] == first.headers["X-Turn-ID"]
    assert again.headers["Idempotent-Replayed"] == "true"
    error = error_of(complete(served, "else", headers=headers), 400, "idempotency_mismatch")
    assert error["type"] == "invalid_request_error"
    blank = complete(served, "hi", headers={"Idempotency-Key": "x" * 256})
    assert error_of(blank, 400, "invalid_value")["param"] == "Idempotency-Key"


@pytest.mark.parametrize("count", ["", "x", "-1", "1e3"])
def test_a_count_that_is_none_says_nothing(served: Served, count: str) -> None:
    headers = {"x-stainless-retry-count": count}
    first = complete(served, "hi", headers=headers)
    assert (
        first.headers["X-Turn-ID"] != complete(served, "hi", headers=headers).headers["X-Turn-ID"]
    )


def test_a_body_too_deep_for_json_is_refused(served: Served) -> None:
    body = '{"messages": [{"role": "user", "content": "hi"}], "x": ' + "[" * 600 + "]" * 600 + "}"
    headers = {**FIRST, "Content-Type": "application/json"}
    url = f"{served.url}{PATH}"
    reply = served.http.post(url, data=body, headers=headers)
    assert error_of(reply, 400, "invalid_value")["message"] == "is nested too deeply"
    assert json.loads(body)["x"]
