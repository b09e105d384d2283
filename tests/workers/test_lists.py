"""What is listed of all workers: their processes, and the turns of a project they run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.contract.replies import problem
from tests.serving import Client, Gunicorn, wait_for
from tests.workers.places import NAMES, Places, begun, open_places

ME, YOU = "m" * 40, "y" * 40
ENDLESS = "[[words 4000]] [[delay 15]]"


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("lists")
    keys = folder / "keys"
    keys.write_text(f"you={YOU}\n")
    keys.chmod(0o600)
    with open_places(
        folder, COWORK_API_KEYS=f"me={ME}", COWORK_API_KEYS_FILE=str(keys), COWORK_ADMIN_KEYS="me"
    ) as opened:
        yield opened


@pytest.fixture
def you(places: Places) -> Iterator[Client]:
    """Another owner, who is no operator."""
    client = Client(places.servers["sister"].url)
    client.http.headers["Authorization"] = f"Bearer {YOU}"
    yield client
    client.close()


def processes(server: Client) -> dict[str, dict[str, object]]:
    """Those of projects, by project."""
    reply = server.get("/processes").json()
    assert reply["unreachable"] == []
    assert reply["count"] == len(reply["processes"])
    return {each["project"]: each for each in reply["processes"]}


def test_each_worker_lists_the_processes_of_all(places: Places) -> None:
    for name in NAMES:
        assert places.servers[name].ask("[[say hi]]", f"of {name}").status_code == 200
    lists = [processes(places.servers[name]) for name in NAMES]
    names = {each["name"] for each in places.home.get("/workers").json()["workers"]}
    for found in lists:
        mine = {project: each for project, each in found.items() if project.startswith("of ")}
        assert set(mine) == {f"of {name}" for name in NAMES}
        assert {each["worker"] for each in mine.values()} == names
    identities = [{project: each["id"] for project, each in found.items()} for found in lists]
    assert identities[0] == identities[1] == identities[2]


def test_t10_an_owner_sees_and_ends_its_own_alone_in_every_worker(
    places: Places, you: Client
) -> None:
    places.home.ask("[[say hi]]", "mine")
    you.ask("[[say hi]]", "yours")
    assert set(processes(you)) == {"yours"}
    found = processes(places.home)
    assert "mine" in found
    assert "yours" not in found
    problem(you.delete(f"/processes/{found['mine']['id']}"), 404, "process_not_found")
    yours = processes(you)["yours"]["id"]
    problem(places.home.delete(f"/processes/{yours}"), 404, "process_not_found")


def test_an_idle_process_is_ended_from_anywhere(via: Gunicorn, places: Places) -> None:
    project = places.project()
    turn, rest = begun(via, ENDLESS, project)
    process = processes(via)[project]["id"]
    problem(via.delete(f"/processes/{process}"), 409, "process_busy")
    via.post(f"/turns/{turn}/interrupt")
    rest()
    wait_for(lambda: processes(via)[project]["state"] == "idle", what="an idle process")
    assert via.delete(f"/processes/{process}").json()["success"] is True
    assert project not in processes(via)
    problem(via.delete(f"/processes/{process}"), 404, "process_not_found")
    assert via.ask("[[count]] hi", project).json()["message"].startswith("I see 3 questions")


def test_a_worker_that_does_not_answer_is_named_and_the_others_are_listed(places: Places) -> None:
    home, sister = places.home, places.servers["sister"]
    home.ask("[[say hi]]", "of home")
    (stopped,) = sister.workers()
    os.kill(stopped, signal.SIGSTOP)
    try:
        reply = home.get("/processes").json()
        refused = home.delete("/processes/unknown")
    finally:
        os.kill(stopped, signal.SIGCONT)
    (name,) = reply["unreachable"]
    assert f"/{stopped}:" in name
    assert "of home" in {each["project"] for each in reply["processes"]}
    problem(refused, 503, "worker_unreachable")
    wait_for(lambda: not home.get("/processes").json()["unreachable"], what="its return")


def test_a_projects_turns_are_listed_anywhere_while_they_run_and_wait(
    via: Gunicorn, project: str
) -> None:
    first, rest = begun(via, ENDLESS, project)
    queued, queued_rest = begun(via, "[[say two]]", project, tokens=0)

    def listed(**query: str) -> list[tuple[str, str]]:
        found = via.get(f"/sessions/{project}/turns", params=query).json()["turns"]
        return [(each["turn_id"], each["state"]) for each in found]

    wait_for(lambda: len(listed()) == 3, what="the queued turn")
    assert listed()[:2] == [(queued, "queued"), (first, "running")]
    assert listed(state="running") == [(first, "running")]
    assert via.get(f"/sessions/{project}").json()["running_turn_id"] == first
    asked = [via.get(f"/turns/{turn}").json()["question"] for turn in (first, queued)]
    assert asked == [ENDLESS, "[[say two]]"]
    via.post(f"/turns/{first}/interrupt")
    rest()
    queued_rest()
    assert listed()[:2] == [(queued, "succeeded"), (first, "interrupted")]
