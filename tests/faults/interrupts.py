"""Interrupts at random moments of everything a turn can be doing."""

from __future__ import annotations

import statistics
import threading
import time

from tests.faults.environment import Ground, ask, error_of, fresh
from tests.faults.report import Row
from tests.serving import frames

SETTINGS = {"COWORK_FIRST_EVENT_WAIT": "0.05"}
PROJECTS = 8
LONGEST_S = 2.0
SCENES = [
    "[[words 400]] [[delay 10]]",
    "[[think 400]] [[delay 10]]",
    "[[tool 300]]",
    "[[retry 9 20000]]",
    "[[hang]]",
    "[[stall]] [[words 9]]",
]


def run(ground: Ground, row: Row, count: int) -> None:
    """The stream ends with its frame soon, and the same process answers the next question."""
    took: list[float] = []
    for number in range(PROJECTS):
        ask(ground.server, "first", f"i{number}")
    begun = len(ground.entries("start"))
    gates = [threading.Lock() for _ in range(PROJECTS)]

    def interrupt(number: int) -> None:
        dice = ground.dice("interrupt", number)
        project = f"i{number % PROJECTS}"
        client = fresh(ground.server)
        with gates[number % PROJECTS]:
            with client.stream(dice.choice(SCENES), project) as reply:
                turn_id = reply.headers["X-Turn-ID"]
                time.sleep(dice.uniform(0.0, 0.4))
                by_project = f"/sessions/{project}/interrupt"
                begun = time.monotonic()
                client.post(dice.choice([f"/turns/{turn_id}/interrupt", by_project]))
                seen = list(frames(reply))
                took.append(time.monotonic() - begun)
            end = "no last frame"
            if seen and seen[-1].data.get("done"):
                end = "answered" if seen[-1].data["success"] else error_of(seen)
            row.saw(end)
            row.check(end == "turn_interrupted", f"interrupt {number} ended with {end!r}")
            after = client.ask("next", project)
            row.check(after.status_code == 200, f"interrupt {number}: then {after.text}")
        client.close()
        row.did()

    ground.each(interrupt, count, PROJECTS // 2)
    starts = len(ground.entries("start")) - begun
    row.facts["last frame, median"] = f"{statistics.median(took) * 1000:.0f} ms"
    row.facts["longest"] = f"{max(took) * 1000:.0f} ms"
    row.facts["processes started anew"] = starts
    row.check(starts == 0, f"{starts} processes did not survive an interrupt")
    row.check(max(took) < LONGEST_S, f"a last frame took {max(took):.2f} s")
    left = ground.settled()
    row.check(left is None, f"after all interrupts: {left}")
