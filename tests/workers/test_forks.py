"""A fork and a rewind, asked of any worker: the project's own makes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.background import BackgroundCalls
from tests.contract.replies import invalid, problem
from tests.serving import Client, Gunicorn, frames, wait_for
from tests.workers.places import Places, begun, open_places

LONG = "[[words 60]] [[delay 15]]"
ENDLESS = "[[words 4000]] [[delay 15]]"


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    with open_places(folder, COWORK_CHECKPOINTS="true", CLAUDE_TIMEOUT="6") as opened:
        yield opened


def first_turn(server: Client, project: str) -> str:
    found: str = server.get(f"/sessions/{project}/messages").json()["messages"][0]["turn_id"]
    return found


def queued(server: Client, project: str) -> int:
    found: int = server.get(f"/sessions/{project}").json()["queued"]
    return found


def test_a_rewind_waits_for_the_project_wherever_that_is(
    via: Gunicorn, project: str, places: Places, background: BackgroundCalls
) -> None:
    first = first_turn(via, project)
    _, rest = begun(places.home, LONG, project)
    waiting = background(via.post, f"/sessions/{project}/rewind", {"to_turn": first})
    wait_for(lambda: queued(places.home, project) == 1, what="a rewind that waits")
    rest()
    made = waiting.result(20)
    assert made.status_code == 200, made.text
    for server in places.servers.values():
        told = server.get(f"/sessions/{project}").json()
        assert told["session_id"] == made.json()["session_id"]
    assert via.ask("[[count]] x", project).json()["message"].startswith("I see 2 questions")


def test_files_are_previewed_and_restored(via: Gunicorn, project: str, places: Places) -> None:
    first = first_turn(via, project)
    places.home.ask("[[say two]]", project)
    path = f"/sessions/{project}/rewind"
    told = via.post(path, {"to_turn": first, "files": "preview"}).json()
    assert told["files"]["changed"] == ["new.txt", "/elsewhere/b.txt"]
    told = via.post(path, {"to_turn": first, "files": "restore"}).json()
    assert told["files"]["skipped_links"] == 1
    (fault,) = invalid(via.post(path, {"to_turn": "nobody", "files": "restore"}))
    assert fault["loc"] == ["body", "to_turn"]
    problem(via.post("/sessions/nobody/rewind", {"to_turn": first}), 404, "session_not_found")


def test_a_key_is_one_fork_wherever_it_comes(via: Gunicorn, project: str, places: Places) -> None:
    key = {"Idempotency-Key": f"fork-{project}"}
    path, body = f"/sessions/{project}/fork", {"to": f"{project}-fork"}
    made = via.post(path, body, headers=key)
    assert made.status_code == 201, made.text
    for server in places.servers.values():
        again = server.post(path, body, headers=key)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (again.status_code, again.json()) == (201, made.json())
        other = server.post(path, {"to": "other"}, headers=key)
        problem(other, 422, "idempotency_mismatch")
    problem(via.post(path, body), 409, "session_exists")
    told = via.ask("[[count]] x", f"{project}-fork").json()
    assert told["message"].startswith("I see 2 questions")


def test_ten_at_once_are_one_fork(
    via: Gunicorn, project: str, places: Places, background: BackgroundCalls
) -> None:
    key = {"Idempotency-Key": f"ten-{project}"}

    def post(server: Gunicorn) -> tuple[int, str]:
        client = Client(server.url)
        body = {"to": f"{project}-ten"}
        reply = client.post(f"/sessions/{project}/fork", body, headers=key)
        client.close()
        return reply.status_code, reply.text

    servers = [via if number % 2 else places.home for number in range(10)]
    answers = [each.result(20) for each in [background(post, server) for server in servers]]
    assert len(set(answers)) == 1
    assert answers[0][0] == 201


def test_a_busy_project_is_rejected_or_interrupted(
    via: Gunicorn, project: str, places: Places
) -> None:
    first = first_turn(via, project)
    _, rest = begun(places.home, ENDLESS, project)
    path = f"/sessions/{project}/rewind"
    problem(via.post(path, {"to_turn": first, "on_busy": "reject"}), 409, "project_busy")
    made = via.post(path, {"to_turn": first, "on_busy": "interrupt"})
    assert made.status_code == 200, made.text
    assert rest()[-1].data["success"] is False


def test_who_leaves_or_waits_too_long_gives_the_place_back(
    via: Gunicorn, project: str, places: Places
) -> None:
    first = first_turn(via, project)
    before = via.get(f"/sessions/{project}").json()["session_id"]
    with places.home.stream(ENDLESS, project) as stream:
        next(frames(stream))
        path = f"/sessions/{project}/rewind"
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(f"{via.url}{path}", json={"to_turn": first}, timeout=2)
        wait_for(lambda: queued(places.home, project) == 0, what="its place")
        problem(via.post(path, {"to_turn": first}), 409, "project_busy")
        assert queued(places.home, project) == 0
        via.post(f"/sessions/{project}/interrupt")
    assert via.get(f"/sessions/{project}").json()["session_id"] == before
