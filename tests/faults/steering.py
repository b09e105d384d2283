"""Messages for turns that run, at random moments; interrupts and deaths of the CLI meanwhile.

Each is answered by nobody twice: it joins its turn, is the next one, or was cancelled.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults.environment import Ground, fresh
from tests.faults.report import Row
from tests.serving import Client, wait_for

SETTINGS = {"COWORK_TURN_RETENTION": "120"}
AT_ONCE = 6
MOST = 4
WAIT_S = 30.0
SCENES = [
    "[[tool 0.8]]",
    "[[words 50]] [[delay 20]]",
    "[[linger 800]]",
    "[[pause 700]]",
    "[[think 50]] [[delay 20]]",
]
# What else happens in how many of the rounds.
INTERRUPTED, KILLED = 0.25, 0.25


@dataclass(slots=True)
class Round:
    """One turn of project `name`, and what was said to it: texts by their ids."""

    name: str
    turn: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    is_interrupted: bool = False
    is_killed: bool = False


def run(ground: Ground, row: Row, count: int) -> None:
    """Rounds side by side, each in a project of its own."""

    def play(number: int) -> None:
        dice = ground.dice("steering", number)
        with closing(fresh(ground.server)) as client:
            played = Round(f"steer-{number}")
            _play(client, dice, played)
            _judge(ground, client, row, played)
        row.did()

    ground.each(play, count, AT_ONCE)


def _play(client: Client, dice: random.Random, played: Round) -> None:
    client.ask("[[say warm]]", played.name)
    with client.stream(f"{dice.choice(SCENES)} go", played.name) as reply:
        played.turn = reply.headers["X-Turn-ID"]
    for number in range(dice.randint(1, MOST)):
        time.sleep(dice.uniform(0.0, 0.1))
        scene = dice.choice(["[[say s]]", "[[tool 0.1]]", "[[delay 5]] [[words 9]]"])
        _say(client, played, f"{scene} {played.name} says {number}")
    chance = dice.random()
    if chance < INTERRUPTED:
        played.is_interrupted = True
        client.post(f"/sessions/{played.name}/interrupt")
    elif chance < INTERRUPTED + KILLED:
        played.is_killed = True
        _kill(client, played.name)
    # The queue goes on behind all of it.
    after = client.ask("[[say after]]", played.name)
    assert after.json().get("message") == "after", after.text


def _say(client: Client, played: Round, text: str) -> None:
    """Say it, twice under one key."""
    key = {"Idempotency-Key": text}
    path = f"/turns/{played.turn}/steer"
    replies = [client.post(path, {"text": text}, headers=key) for _ in range(2)]
    ids = {reply.json().get("steer_id") for reply in replies}
    if replies[0].status_code == 202:
        assert len(ids) == 1, [reply.text for reply in replies]
        played.texts[ids.pop()] = text
    else:
        assert replies[0].json()["detail"]["code"] == "turn_ended", replies[0].text
        played.refused.append(text)


def _kill(client: Client, project: str) -> None:
    process = client.get(f"/sessions/{project}").json()["process"]
    if process is not None:
        with suppress(ProcessLookupError):
            os.kill(process["pid"], signal.SIGKILL)


def _judge(ground: Ground, client: Client, row: Row, played: Round) -> None:
    name = f"{played.name} ({played.is_interrupted=}, {played.is_killed=})"
    turns = {played.turn: _ended(client, played.turn)}
    told = {each["steer_id"]: each for each in turns[played.turn].get("steers", [])}
    row.check(set(told) == set(played.texts), f"{name}: said {played.texts}, told {told}")
    asked = Counter(entry["text"] for entry in ground.entries("asked"))
    for steer_id, text in played.texts.items():
        state = told.get(steer_id, {}).get("state")
        following = told.get(steer_id, {}).get("turn_id")
        row.saw(str(state))
        row.check(state in {"joined", "queued", "cancelled"}, f"{name}: {text!r} is {state}")
        row.check(asked[text] <= 1 or played.is_killed, f"{name}: {text!r} was asked {asked[text]}")
        if state == "joined":
            row.check(asked[text] == 1, f"{name}: {text!r} joined, asked {asked[text]}")
        if state == "queued":
            turns[following] = _ended(client, following)
            code = (turns[following].get("error") or {}).get("code")
            right = turns[following]["state"] == "succeeded" or (
                code in {"claude_failed", "turn_interrupted"}
                and (played.is_killed or played.is_interrupted)
            )
            row.check(right, f"{name}: {text!r} ended {turns[following]['state']} {code}")
        if state == "cancelled":
            row.check(played.is_interrupted or played.is_killed, f"{name}: {text!r} was cancelled")
    for text in played.refused:
        row.check(asked[text] == 0, f"{name}: {text!r} was refused, and asked")


def _ended(client: Client, turn: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look() -> bool:
        nonlocal found
        found = client.get(f"/turns/{turn}").json()
        return found.get("ended_at") is not None

    wait_for(look, WAIT_S, f"the end of {turn}: {found}")
    return found
