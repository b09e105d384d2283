"""Two servers behind one nginx, with the configuration that we ship."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.replies import segment, send
from tests.e2e.nginx import nginx
from tests.serving import Client, Gunicorn, joined, wait_for
from tests.workers.places import Places, open_places

KEY = "k" * 40
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
NAMES = ["a/b", "..", "x//messages", "wörter 𝄞", "100%2F", "?a=b+c#d"]
PROJECTS = [*(f"project {number}" for number in range(6)), "a/b", "häuser"]


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with open_places(
        tmp_path_factory.mktemp("behind"), ("home", "sister"), COWORK_API_KEYS=f"me={KEY}"
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def proxy(places: Places) -> Iterator[Client]:
    ports = [server.port for server in places.servers.values()]
    with nginx(places.folder / "nginx", *ports) as url:
        client = Client(url, KEY)
        yield client
        client.close()


def seen_by(places: Places, turn: str) -> list[str]:
    """The servers that ran the turn or served it."""

    def lines() -> int:
        return sum(server.log.read_text().count(turn) for server in places.servers.values())

    wait_for(lambda: lines() >= 2, what="the lines of its end and of the request")
    return [name for name, server in places.servers.items() if turn in server.log.read_text()]


def served_by(places: Places, turn: str) -> list[str]:
    """The servers that nginx sent its request to; a busy one may have had another run it."""

    def found() -> list[str]:
        return [
            name
            for name, server in places.servers.items()
            if any(turn in line and "] request " in line for line in lines_of(server))
        ]

    wait_for(found, what="the line of the request")
    return found()


def lines_of(server: Gunicorn) -> list[str]:
    return server.log.read_text().splitlines()


def ask(proxy: Client, project: str, **headers: str) -> str:
    body = {"project_name": project, "question": "[[words 3]]"}
    # A connection of its own: nginx chooses by request all the same.
    reply = proxy.post("/ask_question", body, headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.json()["message"] == "w1 w2 w3"
    return str(reply.headers["X-Turn-ID"])


def hint(project: str) -> dict[str, str]:
    plain = project.isascii() and "/" not in project
    return {
        "X-Cowork-Project": project if plain else "".join(f"%{b:02X}" for b in project.encode())
    }


def test_a_project_that_is_named_comes_to_one_server_with_all_its_requests(
    places: Places, proxy: Client
) -> None:
    at: dict[str, set[str]] = {}
    for project in PROJECTS:
        for _ in range(3):
            (server,) = served_by(places, ask(proxy, project, **hint(project)))
            at.setdefault(project, set()).add(server)
    assert {len(servers) for servers in at.values()} == {1}
    assert set.union(*at.values()) == {"home", "sister"}


def test_one_that_is_not_named_is_answered_wherever_it_comes(places: Places, proxy: Client) -> None:
    turns = [ask(proxy, "nowhere") for _ in range(12)]
    assert len(seen_by(places, turns[0])) in {1, 2}
    assert any(len(seen_by(places, turn)) == 2 for turn in turns)
    assert places.starts("nowhere") == 1


def test_a_stream_through_nginx_and_another_worker_is_whole(proxy: Client) -> None:
    for _ in range(4):
        seen = proxy.streamed("[[words 30]] [[delay 5]]", "streamed")
        assert joined(seen) == " ".join(f"w{number}" for number in range(1, 31))


def test_a_hint_that_differs_is_refused(places: Places) -> None:
    body = {"project_name": "this", "question": "[[words 3]]"}
    reply = places.home.post("/ask_question", body, headers={"X-Cowork-Project": "that"})
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["header", "X-Cowork-Project"]
    wrong = places.home.http.delete(
        f"{places.home.url}/sessions/this", headers={"X-Cowork-Project": "that"}, timeout=10
    )
    assert wrong.status_code == 422


def test_every_project_name_survives(proxy: Client) -> None:
    """The site is the one of a single server: only its upstream differs."""
    for name in NAMES:
        body = proxy.ask("[[say hi]]", name).json()
        assert (body["project_id"], body["message"]) == (name, "hi")
    assert {*proxy.get("/sessions").json()["sessions"]} >= {*NAMES}
    for name in NAMES:
        reply = send(proxy, "DELETE", f"/sessions/{segment(name)}", headers=AUTHORIZED)
        assert reply.json() == {"success": True, "message": f"Session cleared for {name}"}
    assert {*proxy.get("/sessions").json()["sessions"]}.isdisjoint(NAMES)


def test_the_names_of_the_contract_are_found_by_their_encoded_paths(proxy: Client) -> None:
    for path, name in (("c%2Fd", "c/d"), ("%2e%2e", ".."), ("w%C3%B6rter", "wörter")):
        reply = send(proxy, "DELETE", f"/sessions/{path}", headers=AUTHORIZED)
        assert reply.json()["message"] == f"No session found for {name}"
