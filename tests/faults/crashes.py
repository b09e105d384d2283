"""SIGKILL to the worker at random moments of turns on a store in a file: what is left is true."""

from __future__ import annotations

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import requests

from tests.faults.environment import Ground, fresh
from tests.faults.report import Row
from tests.serving import Client, wait_for
from tests.turns.raw_client import question

TURNS = 4
SCENES = [
    "[[words 60]] [[delay 10]]",
    "[[words 3]]",
    "[[pause 300]] hi",
    "[[tool]] [[words 5]]",
    "[[fail 500]]",
]
ENDS = {"succeeded", "failed", "interrupted"}
REBOOT_S = 20.0


def run(ground: Ground, row: Row, count: int) -> None:
    """In each round some turns, of which each is judged, and a kill at a random moment."""
    path = ground.folder / "crashes.db"
    # A Chat API that nobody can become: every message stays where it can be counted.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        ground.boot(
            COWORK_STORE=f"sqlite://{path}",
            CHAT_API_BASE_URL=f"http://127.0.0.1:{deaf.getsockname()[1]}",
            COWORK_DISCONNECT_GRACE="0",
            COWORK_TURN_RETENTION="600",
        )
        for number in range(count):
            _round(ground, row, number, path)


def _round(ground: Ground, row: Row, number: int, path: Path) -> None:
    dice = ground.dice("crash", number)
    (worker,) = ground.server.workers()
    asked: list[tuple[str, str, dict[str, Any]]] = []
    with ThreadPoolExecutor(TURNS) as pool:
        for turn in range(TURNS):
            # The last two are of one project, so that one waits for the other.
            text = f"{dice.choice(SCENES)} {number}.{turn}"
            asked.append((f"crash-{number}-{turn}", text, question(text, f"c{min(turn, 2)}")))
        accepted = [pool.submit(_ask, ground.server, key, body) for key, _, body in asked]
        time.sleep(dice.uniform(0.0, 0.8))
        ground.kill(worker)
        ids = [each.result() for each in accepted]
    wait_for(lambda: worker not in ground.server.workers(), REBOOT_S, "the worker's death")
    wait_for(ground.server.workers, REBOOT_S, "another worker")
    ground.server.wait_live()
    kept = _questions(path)
    for turn_id, (key, text, body) in zip(ids, asked, strict=True):
        if turn_id is None:
            row.saw("not accepted")
        else:
            state = _state(ground.server, turn_id)
            row.saw(state)
            row.check(state.partition(" ")[0] in ENDS, f"{key}: {turn_id} reads {state!r}")
            row.check(text in kept, f"{key}: its question is not in the outbox")
            again = _ask(ground.server, key, body)
            # One that only waited is asked by its retry.
            is_free = state == "failed worker_lost" and not _has_begun(ground.server, turn_id)
            right = again == turn_id or (is_free and again is not None)
            row.check(right, f"{key}: the retry is turn {again}, not {turn_id}")
    for turn in range(TURNS - 1):
        reply = fresh(ground.server).ask("[[count]] usable?", f"c{turn}")
        row.check(reply.status_code == 200, f"round {number}: then c{turn} says {reply.text}")
    row.did()


def _ask(server: Client, key: str, body: dict[str, Any]) -> str | None:
    """The id of the turn that was accepted, or None where nobody said so."""
    client, found = fresh(server), None
    try:
        headers = {"Idempotency-Key": key}
        with client.post("/ask_question_streaming", body, headers=headers, stream=True) as reply:
            found = reply.headers.get("X-Turn-ID")
            for _ in reply.iter_content(None):
                pass
    except requests.RequestException:
        pass  # the line was cut, before or after it was accepted
    finally:
        client.close()
    return found


def _has_begun(server: Client, turn_id: str) -> bool:
    return fresh(server).get(f"/turns/{turn_id}").json()["started_at"] is not None


def _state(server: Client, turn_id: str) -> str:
    reply = fresh(server).get(f"/turns/{turn_id}")
    if reply.status_code != 200:
        return f"status {reply.status_code}"
    found = reply.json()
    error = found["error"]
    return str(found["state"]) + (f" {error['code']}" if error is not None else "")


def _questions(path: Path) -> str:
    """All that waits for the Chat API, as it is kept."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(body for (body,) in connection.execute("SELECT body FROM outbox"))
