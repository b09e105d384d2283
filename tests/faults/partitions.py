"""A machine is cut off from Redis at a random moment of its turns, and comes back.

Meanwhile the other one takes its projects over, with what was said in them.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import workers
from tests.faults.environment import Ground
from tests.faults.report import Row
from tests.redis_server import RedisServer
from tests.serving import Client, wait_for
from tests.workers.places import Places, open_places
from tests.workers.redis_line import RedisLine

TURNS = 3
WORDS = 200
SCENE = f"[[words {WORDS}]] [[delay 10]]"
TEXT = " ".join(f"w{number}" for number in range(1, WORDS + 1))
TAKEOVER_S = 25.0
TRY_S = 20.0


def run(ground: Ground, row: Row, count: int) -> None:
    """Each round takes some twenty seconds: that long a machine counts as alive."""
    folder = ground.folder / "partitions"
    folder.mkdir()
    key = {"COWORK_STORE_KEY_FILE": str(folder / "store.key")}
    with (
        RedisServer(folder) as redis,
        RedisLine(redis.port) as line,
        open_places(folder / "near", ("home",), redis, **key) as near,
        open_places(folder / "far", ("machine",), redis, line.url, **key) as far,
    ):
        places = Places({**near.servers, **far.servers}, redis, far.fakes, Path(folder))
        wait_for(lambda: places.home.get("/workers").json()["count"] == 2, what="workers")
        for number in range(count):
            _round(ground, places, line, row, number)


def _round(ground: Ground, places: Places, line: RedisLine, row: Row, number: int) -> None:
    dice = ground.dice("partitions", number)
    machine, home = places.servers["machine"], places.home
    projects = [f"cut {number}.{turn}" for turn in range(TURNS)]
    for project in projects:
        said = machine.ask(f"remember {project}", project)
        row.check(said.status_code == 200, f"{project}: {said.text}")
    with ThreadPoolExecutor(TURNS) as pool:
        readers = [pool.submit(_read, machine.url, project) for project in projects]
        time.sleep(dice.uniform(0.2, 1.5))
        line.stall()
        cut_at = time.monotonic()
        local = [reader.result() for reader in readers]
    for project, (text, success) in zip(projects, local, strict=True):
        row.check(TEXT.startswith(text.strip()), f"{project}: its text is mixed: {text[:200]!r}")
        row.check(not success or text == TEXT, f"{project}: success with {text[:200]!r}")
        row.saw("ended in the machine that was cut off" if success else "failed there")
    for project in projects:
        answered = workers.next_answer(home.url, project, TAKEOVER_S)
        row.check(answered, f"{project}: nobody took it over")
    row.facts["taken over after at most"] = f"{time.monotonic() - cut_at:.1f} s"
    for project in projects:
        reply = home.ask("[[count]] then", project).json()
        row.check(
            f"remember {project}" in reply["message"], f"{project}: what was said is lost: {reply}"
        )
    line.heal()
    wait_for(lambda: machine.get("/health/ready").status_code == 200, TRY_S, "its return")
    seen_before = {project: _told(home, project) for project in projects}
    for project in projects:
        row.check(
            _told(dice.choice([home, machine]), project).startswith(seen_before[project]),
            f"{project}: what was said has changed",
        )
    row.did()


def _read(url: str, project: str) -> tuple[str, bool]:
    """The text of a stream, and whether it ended well."""
    client = Client(url)
    try:
        seen = client.streamed(SCENE, project)
    finally:
        client.close()
    return workers.joined(seen), bool(seen[-1].data.get("success"))


def _told(server: Client, project: str) -> str:
    """What the project's session knows."""
    for _ in range(round(TRY_S)):
        reply = server.ask("[[count]]", project)
        if reply.status_code == 200:
            return str(reply.json()["message"]).partition(": ")[2].rpartition(" | ")[0]
        time.sleep(1.0)
    return f"nothing: {reply.text}"
