"""A worker, a machine or Redis goes: what was told is there, and projects go on, with their context.

No two servers here share a folder but the workspace: what moves, moves through Redis.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis

from tests.redis_server import RedisServer
from tests.serving import Client, Frame, Gunicorn, frames, joined, wait_for
from tests.workers.places import NAMES, Places, begun, open_places
from tests.workers.redis_line import RedisLine

ENDLESS = "[[words 4000]] [[delay 10]]"
PER_S = 100
# What a kill may cost of a turn's text, with what a busy machine adds.
LOST_S = 0.5
SLACK_S = 1.0


@pytest.fixture
def places(_redis: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """Servers of the test's own: all three, or those that it is parametrized with."""
    with open_places(tmp_path, getattr(request, "param", NAMES)) as opened:
        yield opened


def of(*names: str) -> pytest.MarkDecorator:
    """The servers that a test needs; each start takes half a second of the CPU."""
    return pytest.mark.parametrize("places", [names], indirect=True, ids=["-".join(names)])


def answered(server: Client, question: str, project: str, within: float) -> str:
    """Ask until it is answered; what it says."""
    return str(answer(server, question, project, within)["message"])


def answer(server: Client, question: str, project: str, within: float) -> dict[str, Any]:
    """The answer to a client that asks again, as `Retry-After` tells it to."""
    begin = time.monotonic()
    while True:
        reply = server.ask(question, project)
        took = time.monotonic() - begin
        if reply.status_code == 200:
            assert took < within, took
            found: dict[str, Any] = reply.json()
            return found
        # A worker that is being killed may have taken it; whoever waits for that is told.
        lost = reply.status_code == 502 and reply.json()["detail"]["code"] == "worker_lost"
        assert lost or reply.status_code == 503, reply.text
        assert took < within, (took, reply.text)
        time.sleep(0.25)


def lost(server: Client, turn: str) -> dict[str, Any]:
    """The turn, when it is known that its worker is gone."""
    wait_for(
        lambda: server.get(f"/turns/{turn}").json()["state"] == "failed", 20, what="the notice"
    )
    told: dict[str, Any] = server.get(f"/turns/{turn}").json()
    assert told["error"]["code"] == "worker_lost"
    return told


def kill_worker(server: Gunicorn) -> None:
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)


def last(seen: list[Frame]) -> tuple[bool, str | None]:
    """Whether a stream ended well, and the code of its error."""
    codes = [frame.data["code"] for frame in seen if frame.data.get("type") == "error"]
    return bool(seen[-1].data.get("success")), codes[-1] if codes else None


@pytest.mark.parametrize(
    ("places", "other"),
    [(("home", other), other) for other in ("sister", "machine")],
    indirect=["places"],
    ids=["sister", "machine"],
)
def test_what_a_killed_worker_has_told_is_there_and_its_project_goes_on(
    places: Places, other: str
) -> None:
    project = places.project()
    reader = places.servers[other]
    places.home.ask("remember this", project)
    turn, rest = begun(reader, ENDLESS, project, tokens=40)
    told = places.home.get(f"/turns/{turn}").json()["message"].split()
    kill_worker(places.home)
    seen = rest()
    assert last(seen) == (False, "worker_lost")
    kept = reader.get(f"/turns/{turn}").json()
    assert (kept["state"], kept["error"]["code"]) == ("failed", "worker_lost")
    words = kept["message"].split()
    assert len(words) >= len(told) - PER_S * (LOST_S + SLACK_S)
    assert words == [f"w{number}" for number in range(1, len(words) + 1)]
    assert len(words) >= len(joined(seen).split())
    said = answered(reader, "[[count]] next", project, 5 if other == "sister" else 20)
    assert said.startswith("I see 3 questions:  | remember this")
    again = list(frames(reader.get(f"/turns/{turn}/events", stream=True)))
    assert last(again) == (False, "worker_lost")
    # Who had more than was kept learns how it ended, once, and by numbers that grow.
    for had in (len(words), len(words) + 1, len(words) + 2, len(words) + 30):
        more = list(frames(reader.get(f"/turns/{turn}/events?after={had + 1}", stream=True)))
        assert [frame.data["type"] for frame in more][-2:] == ["error", "done"]
        assert int(str(more[-2].id).rpartition(".")[2]) > 10**9
        assert reader.get(f"/turns/{turn}/events?after={more[-1].id}").status_code == 204


@of("home", "sister")
def test_a_turn_that_nobody_read_elsewhere_is_kept_but_for_half_a_second(places: Places) -> None:
    project = places.project()
    turn, _ = begun(places.home, ENDLESS, project, tokens=300)
    kill_worker(places.home)
    wait_for(
        lambda: places.servers["sister"].get(f"/turns/{turn}").json()["state"] == "failed",
        what="the notice",
    )
    kept = places.servers["sister"].get(f"/turns/{turn}").json()["message"].split()
    assert len(kept) >= 300 - PER_S * (LOST_S + SLACK_S)


@of("home", "machine")
def test_a_machine_that_is_gone_gives_its_projects_up(places: Places) -> None:
    machine = places.servers["machine"]
    project = "there"
    assert machine.ask("remember this", project).status_code == 200
    turn, _ = begun(places.home, ENDLESS, project, tokens=20)
    os.kill(machine.child.pid, signal.SIGKILL)  # with all that it holds
    machine.child.wait()
    said = answered(places.home, "[[count]] next", project, 20)
    assert said == "I see 2 questions: remember this | next"
    told = lost(places.home, turn)
    assert told["message"].startswith("w1 w2 ")


@of("home", "sister")
def test_a_worker_that_drains_reads_to_the_end_and_hands_on_what_it_is_asked(
    places: Places,
) -> None:
    project, sister = places.project(), places.servers["sister"]
    kept_open = Client(sister.url)
    assert kept_open.get("/health/live").status_code == 200
    _, rest = begun(sister, "[[words 200]] [[delay 10]]", project)
    sister.send_signal(signal.SIGTERM)
    wait_for(lambda: places.home.get("/workers").json()["count"] == 1, what="the drain")
    with suppress(requests.ConnectionError):  # it may have closed what was open and idle
        assert kept_open.ask("[[say on]]", "handed on").json()["message"] == "on"
    kept_open.close()
    seen = rest()
    assert joined(seen).split() == [f"w{number}" for number in range(1, 201)]
    assert last(seen) == (True, None)
    sister.child.wait(40)


def test_a_worker_that_drains_gives_its_projects_to_others(places: Places) -> None:
    project = places.project()
    _, rest = begun(places.servers["sister"], "[[words 200]] [[delay 10]]", project)
    places.home.send_signal(signal.SIGTERM)
    said = answered(places.servers["machine"], "[[count]] next", project, 20)
    assert said.endswith("| next")
    assert last(rest()) == (True, None)  # it was let finish


@pytest.mark.usefixtures("_redis")
@pytest.mark.parametrize("dirs", ["true", "false"])
def test_a_session_that_moves_to_a_machine_without_its_directory_says_so(
    tmp_path: Path, dirs: str
) -> None:
    apart = "{folder}/{name}/work"
    names = ("home", "machine")
    with open_places(tmp_path, names, workspaces=apart, COWORK_PROJECT_DIRS=dirs) as places:
        project = places.project()
        machine = places.servers["machine"]
        os.kill(places.home.child.pid, signal.SIGKILL)
        places.home.child.wait()
        shutil.rmtree(tmp_path / "home")  # which is another machine's
        moved = answer(machine, "[[count]] next", project, 25)
        assert moved["message"] == "I see 2 questions:  | next"
        assert (moved["session_moved"], moved["is_new_session"]) == (True, False)
        assert machine.get(f"/turns/{moved['turn_id']}").json()["session_moved"] is True
        again = machine.ask("[[cwd]]", project).json()
        assert again["message"].startswith(f"{tmp_path}/machine/work")
        assert "session_moved" not in again


# -- the line to Redis


@pytest.fixture
def line(_redis: None, tmp_path: Path) -> Iterator[tuple[Places, RedisLine]]:
    """Two servers, of which the other machine's has a line that can be cut."""
    key = {"COWORK_STORE_KEY_FILE": str(tmp_path / "store.key")}
    with (
        RedisServer(tmp_path) as redis,
        RedisLine(redis.port) as line,
        open_places(tmp_path / "near", ("home",), redis, **key) as near,
        open_places(tmp_path / "far", ("machine",), redis, line.url, **key) as far,
    ):
        wait_for(lambda: near.home.get("/workers").json()["count"] == 2, what="workers")
        yield Places({**near.servers, **far.servers}, redis, near.fakes, tmp_path), line


def test_a_machine_that_is_cut_off_says_so_and_loses_its_projects(
    line: tuple[Places, RedisLine],
) -> None:
    places, between = line
    machine, project = places.servers["machine"], "cut"
    assert machine.ask("remember this", project).status_code == 200
    turn, rest = begun(machine, ENDLESS, project, tokens=30)
    between.stall()
    refused = machine.ask("hello", "another")
    assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "store_unavailable")
    # Nobody else can interrupt it, and nobody says that it was.
    tried = places.home.post(f"/turns/{turn}/interrupt")
    assert tried.status_code == 503 or tried.json()["state"] != "succeeded"
    said = answered(places.home, "[[count]] next", project, 25)
    assert said == "I see 2 questions: remember this | next"
    lost(places.home, turn)
    between.heal()
    wait_for(lambda: machine.get("/health/ready").status_code == 200, 20, what="its return")
    machine.post(f"/turns/{turn}/interrupt")
    rest()
    # What it did meanwhile is nobody's session: the project's goes on where it was taken over.
    said = answered(machine, "[[count]] more", project, 10)
    assert said == "I see 3 questions: remember this | next | more"


def test_redis_is_restarted_empty_in_mid_turn(places: Places) -> None:
    project = places.project()
    turn, rest = begun(places.servers["sister"], "[[words 300]] [[delay 10]]", project)
    places.redis.stop()
    refused = places.servers["sister"].ask("hello", project)
    assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "store_unavailable")
    places.redis.start()
    seen = rest()
    # Its worker brings the log and its end back.
    assert last(seen) == (True, None)
    words = [f"w{number}" for number in range(1, 301)]
    assert joined(seen).split() == words
    assert places.home.get(f"/turns/{turn}").json()["message"].split() == words
    for server in places.servers.values():
        answered(server, "hello", project, 10)


@of("home", "machine")
def test_redis_is_paused_for_a_moment(places: Places) -> None:
    project = places.project()
    _, rest = begun(places.servers["machine"], "[[words 200]] [[delay 10]]", project)
    places.redis.pause()
    time.sleep(1.0)
    places.redis.go_on()
    seen = rest()
    assert joined(seen).split() == [f"w{number}" for number in range(1, 201)]
    assert last(seen) == (True, None)


@pytest.mark.usefixtures("_redis")
def test_a_replica_takes_redis_place_behind_the_same_address(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with (
        RedisServer(tmp_path / "first") as first,
        RedisServer(tmp_path / "second") as second,
        RedisLine(first.port) as line,
        Redis(port=second.port) as replica,
    ):
        replica.replicaof("127.0.0.1", str(first.port))
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up", 20)
        with open_places(tmp_path / "places", ("home", "sister"), first, line.url) as places:
            project = places.project()
            places.home.ask("remember this", project)
            turn, rest = begun(
                places.servers["sister"], "[[words 300]] [[delay 10]]", project, tokens=20
            )
            first.stop()
            replica.replicaof("NO", "ONE")
            line.lead_to(second.port)
            seen = rest()
            words = [f"w{number}" for number in range(1, 301)]
            assert joined(seen).split() == words
            assert last(seen) == (True, None)
            assert places.servers["sister"].get(f"/turns/{turn}").json()["state"] == "succeeded"
            said = answered(places.servers["sister"], "[[count]] next", project, 10)
            assert said.startswith("I see 4 questions:  | remember this | ")
