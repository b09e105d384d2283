"""Clients that leave at random moments, in the middle of everything a turn can be doing."""

from __future__ import annotations

import time

from tests.faults.environment import Ground
from tests.faults.report import Row
from tests.turns.raw_client import ASK, ASK_STREAMING, Line, question

SETTINGS = {"COWORK_DISCONNECT_GRACE": "0"}
PROJECTS = 30
SCENES = [
    "[[words 200]] [[delay 10]]",
    "[[hang]]",
    "[[stall]] [[words 9]]",
    "[[tool 300]]",
    "[[background 300]] [[words 50]] [[delay 20]]",
    "[[think 200]] [[delay 10]]",
    "[[retry 5 20000]]",
    "hi",
]


def run(ground: Ground, row: Row, count: int) -> None:
    """Ask, wait a moment, leave by FIN or RST."""

    def leave(number: int) -> None:
        dice = ground.dice("disconnect", number)
        path = dice.choice([ASK, ASK_STREAMING])
        body = question(dice.choice(SCENES), f"d{dice.randrange(PROJECTS)}")
        line = Line(ground.server, path, body)
        time.sleep(dice.uniform(0.0, 0.6))
        way = dice.choice(["close", "reset"])
        getattr(line, way)()
        row.saw(way)
        row.did()

    ground.each(leave, count)
    left = ground.settled()
    row.check(left is None, f"after all had left: {left}")
    row.facts["processes kept for their sessions"] = ground.residents()
