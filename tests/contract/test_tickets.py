"""`POST /turns/{id}/ticket`: an `EventSource`, which cannot send a key, reads one turn's events."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from cowork.web import tickets
from tests.contract.replies import problem
from tests.serving import Client, Frame, Served, frames, joined

ALICE, BOB = "alice-" + "a" * 32, "bob-" + "b" * 32
UNKNOWN = "00000000-0000-4000-8000-000000000000"
PAGE = "https://app.example"


@pytest.fixture
def keyed(serve: Callable[..., Served]) -> Served:
    """A server with two keys."""
    return serve(COWORK_API_KEYS=f"alice={ALICE},bob={BOB}", COWORK_ALLOWED_ORIGINS=PAGE)


@pytest.fixture
def alice(keyed: Served, another: Callable[..., Client]) -> Client:
    return another(keyed, ALICE)


def ticket_for(client: Client, turn_id: str) -> str:
    reply = client.post(f"/turns/{turn_id}/ticket")
    assert reply.status_code == 201, reply.text
    url: str = reply.json()["url"]
    return url


def read(client: Client, url: str, **headers: str) -> list[Frame]:
    with client.get(url, headers=headers, stream=True) as reply:
        assert reply.status_code == 200, reply.text
        return list(frames(reply))


def test_fault_w9_who_has_a_ticket_reads_the_turn_without_a_key(
    keyed: Served, alice: Client
) -> None:
    turn = alice.ask("[[words 12]]").json()["turn_id"]
    reply = alice.post(f"/turns/{turn}/ticket")
    body = reply.json()
    assert body["url"] == f"/turns/{turn}/events?ticket={body['ticket']}"
    assert len(body["ticket"]) == 43
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", body["expires_at"])
    seen = read(keyed, body["url"], Origin=PAGE)
    assert joined(seen) == " ".join(f"w{n}" for n in range(1, 13))
    # As an EventSource comes back, and when all was read.
    assert read(keyed, body["url"], **{"Last-Event-ID": str(seen[4].id)}) == seen[5:]
    done = keyed.get(body["url"], headers={"Last-Event-ID": str(seen[-1].id)})
    assert done.status_code == 204
    assert done.headers["Referrer-Policy"] == "no-referrer"


def test_fault_w9_a_server_without_keys_has_tickets_too(served: Served) -> None:
    turn = served.ask("hi").json()["turn_id"]
    assert joined(read(served, ticket_for(served, turn))) == "You said: hi"
    problem(served.get(f"/turns/{turn}/events?ticket=x"), 401, "unauthorized")


def test_fault_w9_a_ticket_is_for_the_events_of_its_turn_alone(
    keyed: Served, alice: Client, another: Callable[..., Client]
) -> None:
    turn, other = (alice.ask(text).json()["turn_id"] for text in ("one", "two"))
    ticket = ticket_for(alice, turn).partition("?")[2]
    for method, path in (
        ("GET", f"/turns/{other}/events"),
        ("GET", f"/turns/{UNKNOWN}/events"),
        ("GET", f"/turns/{turn}"),
        ("GET", "/sessions"),
        ("GET", f"/turns/{turn}/events/"),
        ("POST", f"/turns/{turn}/events"),
        ("POST", f"/turns/{turn}/interrupt"),
        ("POST", f"/turns/{turn}/ticket"),
        ("DELETE", "/sessions/p"),
    ):
        reply = keyed.http.request(method, f"{keyed.url}{path}?{ticket}", timeout=9)
        problem(reply, 401, "unauthorized")
    problem(another(keyed, BOB).post(f"/turns/{turn}/ticket"), 404, "turn_not_found")


def test_fault_w9_a_key_and_a_ticket_in_one_request_are_refused(
    keyed: Served, alice: Client
) -> None:
    turn = alice.ask("hi").json()["turn_id"]
    url = ticket_for(alice, turn)
    problem(alice.get(url), 401, "unauthorized")
    problem(keyed.get(url, headers={"X-API-Key": ALICE}), 401, "unauthorized")


def test_fault_w9_wrong_tickets_count_as_wrong_keys(keyed: Served, alice: Client) -> None:
    turn = alice.ask("hi").json()["turn_id"]
    url = ticket_for(alice, turn)
    for number in range(30):
        guessed = keyed.get(f"/turns/{turn}/events?ticket={number}")
        problem(guessed, 401, "unauthorized")
    limited = keyed.get(f"/turns/{turn}/events?ticket=x")
    problem(limited, 429, "too_many_attempts")
    assert int(limited.headers["Retry-After"]) > 0
    assert read(keyed, url)


def test_fault_w9_a_ticket_has_to_be_used_soon(
    keyed: Served, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = alice.ask("hi").json()["turn_id"]
    monkeypatch.setattr("cowork.stores.memory.store.TICKET_TTL_S", -1.0)
    problem(keyed.get(ticket_for(alice, turn)), 401, "unauthorized")
    assert tickets.TICKET_TTL_S == 60


def test_fault_w9_a_turn_has_eight_tickets(alice: Client) -> None:
    turn = alice.ask("hi").json()["turn_id"]
    urls = {ticket_for(alice, turn) for _ in range(8)}
    assert len(urls) == 8
    refused = alice.post(f"/turns/{turn}/ticket")
    problem(refused, 429, "too_many_tickets")
    assert refused.headers["Retry-After"] == "60"
    problem(alice.post(f"/turns/{UNKNOWN}/ticket"), 404, "turn_not_found")


def test_fault_w9_a_ticket_dies_with_its_key_and_so_does_its_stream(
    serve: Callable[..., Served], another: Callable[..., Client], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice={ALICE}\nbob={BOB}\n")
    served = serve(COWORK_API_KEYS_FILE=str(file), COWORK_KEEPALIVE="0.2")
    alice = another(served, ALICE)
    with alice.stream("[[words 3]] [[stall]]") as reply:
        turn = reply.headers["X-Turn-ID"]
        url = ticket_for(alice, turn)
        with served.get(url, stream=True) as reading:
            seen = frames(reading)
            next(seen)
            file.write_text(f"bob={BOB}\nalice={'c' * 40}\n")
            rest = list(seen)
        assert [frame.data.get("code") for frame in rest[-2:]] == ["unauthorized", None]
        problem(served.get(url), 401, "unauthorized")


def test_fault_w9_no_query_string_is_logged(
    keyed: Served, alice: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = alice.ask("hi").json()["turn_id"]
    url = ticket_for(alice, turn)
    read(keyed, url)
    requests.get(f"{keyed.url}/turns/{turn}/events?ticket=wrong", timeout=9)
    said = "".join(capsys.readouterr())
    assert url.rpartition("=")[2] not in said
    assert "wrong" not in said.replace("wrong ticket", "")
