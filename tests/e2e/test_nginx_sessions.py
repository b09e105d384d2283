"""Sessions, approvals and attachments through nginx with the site that we ship."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import JSON, problem, segment, send
from tests.e2e.approving import asked, decide, pending, write
from tests.e2e.environment import Stage, open_stage
from tests.e2e.nginx import nginx
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

KEYS = {name: f"{name}-of-the-tests-0123456789-abcdef" for name in ("asker", "person")}
NAMES = ["a/b c", "a//b", "..", "100% ü/?#"]
# nginx waits for a silent server for less: what holds here holds for an hour.
SILENT_S = 12.0


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two keys: one asks, the other one answers for everybody."""
    settings = {
        "COWORK_API_KEYS": ",".join(f"{name}={key}" for name, key in KEYS.items()),
        "COWORK_APPROVALS": "optional",
        "COWORK_APPROVAL_KEYS": "person",
        "COWORK_TRUSTED_PROXIES": "127.0.0.1",
    }
    with open_stage(tmp_path_factory.mktemp("stage"), real_claude, **settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(stage: Stage) -> Iterator[str]:
    """Where nginx listens."""
    with nginx(stage.folder / "nginx", stage.server.port) as url:
        yield url


@pytest.fixture
def asker(address: str, another: Callable[..., Client]) -> Client:
    return another(address, KEYS["asker"])


@pytest.fixture
def person(address: str, another: Callable[..., Client]) -> Client:
    return another(address, KEYS["person"])


def raw(client: Client, method: str, path: str, body: Any = None) -> Any:
    """A request whose path goes out as it is written here."""
    headers = {"Authorization": str(client.http.headers["Authorization"])}
    if body is None:
        return send(client, method, path, headers=headers)
    return send(client, method, path, json.dumps(body).encode(), {**headers, **JSON})


def test_an_approval_is_held_while_nothing_is_said_and_answered_by_another_client(
    stage: Stage, asker: Client, person: Client
) -> None:
    file = stage.workspace / "through.txt"
    with asked(asker, write(file), "held") as turn:
        approval = turn.approval()
        (waiting,) = pending(person, project="held")
        assert waiting["id"] == approval["id"]
        assert pending(asker, project="held") == [waiting]
        problem(decide(asker, approval), 403, "forbidden")
        time.sleep(SILENT_S)
        assert not file.exists()
        path = f"/approvals/{approval['id']}"
        foreign = {"Origin": "http://elsewhere.example"}
        problem(person.post(path, {"decision": "allow"}, headers=foreign), 403, "forbidden")
        own = {"Origin": person.url}
        assert person.post(path, {"decision": "allow"}, headers=own).status_code == 200
        assert turn.end()["success"]
    assert file.read_text() == "x"
    query = {"state": "resolved", "project": "held"}
    (kept,) = person.get("/approvals", params=query).json()["approvals"]
    assert (kept["decided_by"], kept["address"]) == ("person", "127.0.0.1")


def test_an_answer_in_one_piece_waits_too(
    stage: Stage, asker: Client, person: Client, background: BackgroundCalls
) -> None:
    file = stage.workspace / "whole.txt"
    told = background(asker.ask, write(file), "whole", approvals=True)
    wait_for(lambda: pending(person, project="whole"), what="an approval")
    (approval,) = pending(person, project="whole")
    assert decide(person, approval, "answer").status_code == 422
    assert decide(person, approval, "deny", message="no").status_code == 200
    assert "no" in told.result().json()["message"]
    assert not file.exists()


def test_attachments_of_some_megabytes_reach_the_model(stage: Stage, asker: Client) -> None:
    data = base64.b64encode(b"%PDF-1.4\n" + os.urandom(5 * 2**20)).decode()
    papers = [
        {"type": "document", "media_type": "application/pdf", "data": data, "name": f"{number}.pdf"}
        for number in range(2)
    ]
    body = {"project_name": "papers", "question": "[[say read]]", "attachments": papers}
    told = asker.post("/ask_question", body)
    assert told.status_code == 200, told.text
    assert told.json()["message"] == "read"
    sent = stage.model.exchanges[-1].body["messages"]
    found = [
        block["source"]["data"]
        for each in sent
        if isinstance(each["content"], list)
        for block in each["content"]
        if block["type"] == "document"
    ]
    assert found == [data] * 2


def test_a_session_is_read_forked_and_named_by_its_encoded_name(asker: Client) -> None:
    for number, name in enumerate(NAMES):
        told = asker.ask(f"[[say {number}]]", name).json()
        path = f"/sessions/{segment(name)}"
        shown = raw(asker, "GET", path).json()
        assert (shown["project_id"], shown["session_id"]) == (name, told["session_id"])
        found = raw(asker, "GET", f"{path}/messages?limit=1").json()
        assert [each["parts"][0]["text"] for each in found["messages"]] == [f"[[say {number}]]"]
        rest = raw(asker, "GET", f"{path}/messages?after={quote(found['next'])}").json()
        assert [each["parts"][0]["text"] for each in rest["messages"]] == [str(number)]
        titled = raw(asker, "PATCH", path, {"title": f"title {number}"})
        assert titled.json()["title"] == f"title {number}"
        made = raw(asker, "POST", f"{path}/fork", {"to": f"fork of {name}"})
        assert made.status_code == 201, made.text
        fork = f"/sessions/{segment(f'fork of {name}')}/messages"
        assert len(raw(asker, "GET", fork).json()["messages"]) == 2
        assert raw(asker, "DELETE", path).json()["success"] is True
        problem(raw(asker, "GET", path), 404, "session_not_found")


def test_a_name_that_was_not_encoded_is_no_other_session(asker: Client) -> None:
    asker.ask("[[say mine]]", "b")
    for path in ("/sessions/a/../b", "/sessions/a%2F..%2Fb", "/sessions//b/messages"):
        assert raw(asker, "GET", path).status_code == 404, path
    assert raw(asker, "GET", "/sessions/b").json()["project_id"] == "b"
