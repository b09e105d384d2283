"""SIGKILL to the CLI, the worker and the master in the middle of turns."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

from tests.faults.environment import TOLD, Ground, ask
from tests.faults.report import Row
from tests.patience import PATIENCE_S
from tests.serving import wait_for

SETTINGS = {"COWORK_DISCONNECT_GRACE": "0"}
TURNS = 4
SCENES = [
    "[[words 200]] [[delay 10]]",
    "[[pause 1500]] hi",
    "[[tool 2]]",
    "[[background 300]] [[words 40]] [[delay 10]]",
    "hi",
]
# In ten rounds: seven CLIs, two workers, one master.
TARGETS = ["cli"] * 4 + ["worker"] + ["cli"] * 2 + ["master", "cli", "worker"]
# A worker whose master is gone says goodbye; one that is killed cannot.
MAY_SAY = {"cli": TOLD, "worker": {"cut"}, "master": {"shutting_down", "cut"}}
REBOOT_S = 15.0


def run(ground: Ground, row: Row, count: int) -> None:
    """In each round some turns, a kill at a random moment, and a look at what became of both."""
    slowest = 0.0
    for number in range(count):
        slowest = max(slowest, _round(ground, row, number))
        row.did()
    row.facts["longest until all was gone and served again"] = f"{slowest:.1f} s"


def _round(ground: Ground, row: Row, number: int) -> float:
    dice = ground.dice("kill", number)
    target = TARGETS[number % len(TARGETS)]
    before = ground.started()
    with ThreadPoolExecutor(TURNS) as pool:
        turns = [
            pool.submit(
                ask,
                ground.server,
                dice.choice(SCENES),
                f"k{turn}",
                streaming=dice.random() < 0.5,
            )
            for turn in range(TURNS)
        ]
        time.sleep(dice.uniform(0.0, 0.8))
        _kill(ground, target, dice)
        begun = time.monotonic()
        ends = [turn.result() for turn in turns]
    for end in ends:
        row.saw(f"{target}: {end}")
        row.check(
            end == "answered" or end in MAY_SAY[target],
            f"round {number}: a turn ended with {end!r} at the kill of the {target}",
        )
    _recover(ground, row, target, number, before)
    return time.monotonic() - begun


def _kill(ground: Ground, target: str, dice: Random) -> None:
    if target == "cli":
        living = ground.living(ground.started())
        if living:
            ground.kill(dice.choice(living))
    elif target == "worker":
        ground.kill(ground.server.workers()[0])
    else:
        ground.kill(ground.server.child.pid)
        ground.server.child.wait(PATIENCE_S)


def _recover(ground: Ground, row: Row, target: str, number: int, before: set[int]) -> None:
    if target == "master":
        if not row.check(ground.lifelines.wait_for(0, 10), f"round {number}: processes left"):
            return
        ground.boot(**SETTINGS)
    elif target == "worker":
        wait_for(ground.server.workers, REBOOT_S, "another worker")
        ground.server.wait_live()
    if target != "cli":
        old = ground.living(before | (ground.started() - before))
        row.check(not old, f"round {number}: {len(old)} processes outlived the {target}")
    left = ground.settled()
    row.check(left is None, f"round {number}, {target} killed: {left}")
    for turn in range(TURNS):
        end = ask(ground.server, "[[count]] usable?", f"k{turn}")
        row.check(end == "answered", f"round {number}, {target} killed: then {end!r}")
