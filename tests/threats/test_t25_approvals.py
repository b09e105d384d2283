"""An approval allows what somebody who may has allowed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cowork.model import Approval, Project
from tests.serving import Client, Served
from tests.unit.stores.store_suite import approval

KEYS = {name: f"{name}-{'k' * 32}" for name in ("ann", "bob", "boss")}
SET = {"COWORK_API_KEYS": ",".join(f"{name}={key}" for name, key in KEYS.items())}


@pytest.fixture
def people(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> Callable[..., dict[str, Client]]:
    def start(**settings: str) -> dict[str, Client]:
        served = serve(**SET, COWORK_APPROVALS="optional", **settings)
        people = {name: another(served, key) for name, key in KEYS.items()}
        return {**people, "server": served}

    return start


def waiting(served: Any, owner: str = "ann", **fields: Any) -> Approval:
    """An approval of that owner that waits."""
    soon = datetime.now(UTC) + timedelta(minutes=5)
    plain = {"input": {"command": "ls"}, **fields}
    made = replace(approval(1, Project(owner, "p")), expires=soon, **plain)
    assert served.services.store.put_approval(made)
    return made


def answer(client: Client, made: Approval, body: Any = None, **kwargs: Any) -> tuple[int, str]:
    reply = client.post(f"/approvals/{made.id}", body or {"decision": "allow"}, **kwargs)
    detail = reply.json().get("detail")
    return reply.status_code, detail["code"] if isinstance(detail, dict) else ""


def is_pending(served: Any, made: Approval) -> bool:
    return served.services.store.approval(made.id).resolution is None


def test_t25_anothers_approval_is_not_there(people: Callable[..., Any]) -> None:
    them = people()
    made = waiting(them["server"])
    assert answer(them["bob"], made) == (404, "approval_not_found")
    assert them["bob"].get("/approvals").json()["count"] == 0
    assert is_pending(them["server"], made)
    assert them["ann"].get("/approvals").json()["approvals"][0]["input"] == made.input
    assert answer(them["ann"], made)[0] == 200


def test_t25_who_may_answer_is_the_operators_to_say(people: Callable[..., Any]) -> None:
    them = people(COWORK_APPROVAL_KEYS="boss")
    made = waiting(them["server"])
    assert answer(them["ann"], made) == (403, "forbidden")
    assert answer(them["bob"], made) == (404, "approval_not_found")
    assert is_pending(them["server"], made)
    (shown,) = them["boss"].get("/approvals").json()["approvals"]
    assert (shown["id"], shown["key"]) == (made.id, "ann")
    assert answer(them["boss"], made)[0] == 200
    kept = them["boss"].get("/approvals", params={"state": "resolved"}).json()["approvals"][0]
    assert (kept["decision"], kept["decided_by"], kept["key"]) == ("allow", "boss", "ann")
    assert "input" not in kept


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://page.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_t25_no_page_of_another_origin_answers_though_it_may_call(
    people: Callable[..., Any], headers: dict[str, str]
) -> None:
    them = people(COWORK_ALLOWED_ORIGINS="https://page.example")
    made = waiting(them["server"])
    assert answer(them["ann"], made, headers=headers) == (403, "forbidden")
    assert is_pending(them["server"], made)


def test_t25_a_ticket_opens_no_approval(people: Callable[..., Any]) -> None:
    them = people()
    made = waiting(them["server"])
    anybody = Client(them["server"].url)
    for path in (f"/approvals/{made.id}?ticket=x", "/approvals?ticket=x"):
        assert anybody.post(path, {"decision": "allow"}).status_code in {401, 405}
    anybody.close()
    assert is_pending(them["server"], made)


BODIES: list[Any] = [
    {},
    [],
    "allow",
    {"decision": "ALLOW"},
    {"decision": True},
    {"decision": ["allow"]},
    {"decision": "allow "},
    {"decision": "answer"},
    {"decision": "cancelled"},
    {"decision": "allow", "input": "ls"},
    {"decision": "allow", "input": []},
    {"decision": "allow", "remember": "always"},
    {"decision": "allow", "interrupt": "yes"},
    {"decision": "allow", "interrupt": True},
    {"decision": "allow", "message": "no"},
    {"decision": "allow", "answers": {"q": "a"}},
    {"decision": "allow", "permission_mode": "bypassPermissions"},
    {"decision": "allow", "permission_mode": "plan"},
    {"decision": "deny", "message": ""},
    {"decision": "deny", "message": "x" * 4097},
    {"decision": "deny", "input": {}},
    {"behavior": "allow"},
    {"decision": None},
]


@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_t25_whatever_does_not_fit_decides_nothing(people: Callable[..., Any], body: Any) -> None:
    them = people()
    made = waiting(them["server"])
    reply = them["ann"].post(f"/approvals/{made.id}", body)
    assert reply.status_code == 422, reply.text
    assert is_pending(them["server"], made)


def test_t25_too_late_is_too_late(people: Callable[..., Any]) -> None:
    them = people()
    late = waiting(them["server"])
    late = replace(late, id="late", expires=datetime.now(UTC) - timedelta(seconds=1))
    them["server"].services.store.put_approval(late)
    assert them["ann"].get("/approvals").json()["count"] == 1
    assert answer(them["ann"], late) == (410, "approval_expired")
    found = them["server"].services.store.approval("late")
    assert (found.resolution.decision, found.answer["behavior"]) == ("expired", "deny")
    assert answer(them["ann"], late) == (410, "approval_expired")


def test_t25_a_server_that_asks_nobody_takes_no_such_question(serve: Callable[..., Served]) -> None:
    assert serve().ask("hi", approvals=True).status_code == 422
    always = serve(COWORK_APPROVALS="always")
    assert always.ask("hi", approvals=False).status_code == 422
