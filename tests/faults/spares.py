"""SIGKILL to processes that are ready ahead, or about to be, while new projects come."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

from tests.faults.environment import TOLD, Ground, ask, fresh
from tests.faults.report import Row

SPARES = 2
SETTINGS = {"COWORK_SPARE_PROCESSES": str(SPARES)}
QUESTION = "[[count]] the only one"
REFILL_S = 10.0


def run(ground: Ground, row: Row, count: int) -> None:
    """In each round two new projects are asked while a spare is killed; then there are new ones."""
    slowest = 0.0
    for number in range(count):
        slowest = max(slowest, _round(ground, row, number))
        row.did()
    row.facts["longest until there were spares again"] = f"{slowest:.1f} s"
    row.check(not ground.entries("overlap"), "two turns ran at once in one process or session")
    left = ground.settled()
    row.check(left is None, f"at the end: {left}")


def _round(ground: Ground, row: Row, number: int) -> float:
    dice = ground.dice("spare", number)
    with ThreadPoolExecutor(2) as pool:
        # A project of that name may be there from an earlier round: it is forgotten first.
        for turn in range(2):
            fresh(ground.server).delete(f"/sessions/s{turn}")
        _kill(ground, dice)
        turns = [pool.submit(ask, ground.server, QUESTION, f"s{turn}") for turn in range(2)]
        time.sleep(dice.uniform(0.0, 0.1))
        _kill(ground, dice)
        ends = [turn.result() for turn in turns]
    for end in ends:
        row.saw(end)
        # One that was taken between our look and the kill may have heard its question.
        row.check(end == "answered" or end in TOLD, f"round {number}: {end!r}")
    begun = time.monotonic()
    while _count(ground) < SPARES and time.monotonic() - begun < REFILL_S:
        time.sleep(0.05)
    row.check(_count(ground) == SPARES, f"round {number}: no spares again")
    end = ask(ground.server, QUESTION, "s0")
    row.check(end == "answered", f"round {number}: then {end!r}")
    return time.monotonic() - begun


def _kill(ground: Ground, dice: Random) -> None:
    """Kill one that nobody has taken yet, if there is one."""
    listed = fresh(ground.server).get("/processes").json()["processes"]
    free = [each["pid"] for each in listed if each["project"] is None]
    if free:
        ground.kill(dice.choice(free))


def _count(ground: Ground) -> int:
    found: int = fresh(ground.server).get("/health").json()["processes"]["spare"]
    return found
