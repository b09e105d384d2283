"""Ten equal requests at once with one Idempotency-Key."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.faults.environment import Ground, fresh
from tests.faults.report import Row
from tests.patience import PATIENCE_S
from tests.turns.raw_client import question

SETTINGS: dict[str, str] = {}
TIMES = 10


def run(ground: Ground, row: Row, count: int) -> None:
    """One turn and ten equal answers, whether they come before, during or after it."""
    for number in range(count):
        dice = ground.dice("retry", number)
        text = f"[[words {dice.randrange(1, 40)}]] [[delay 5]] key {number}"
        gate = threading.Barrier(TIMES)
        body, headers = question(text, f"r{number % 5}"), {"Idempotency-Key": f"k{number}"}

        def once(
            _: int, gate: threading.Barrier = gate, body: object = body, headers: object = headers
        ) -> requests.Response:
            client = fresh(ground.server)
            gate.wait(PATIENCE_S)
            try:
                return client.post("/ask_question", body, headers=headers)
            finally:
                client.close()

        with ThreadPoolExecutor(TIMES) as pool:
            replies = list(pool.map(once, range(TIMES)))
        asked = sum(entry["text"] == text for entry in ground.entries("asked"))
        replayed = sum("Idempotent-Replayed" in reply.headers for reply in replies)
        equal = len({reply.text for reply in replies}) == 1 and replies[0].status_code == 200
        row.saw("one turn" if asked == 1 else f"{asked} turns")
        row.check(asked == 1, f"key {number}: {asked} turns")
        row.check(equal, f"key {number}: the answers differ")
        row.check(replayed == TIMES - 1, f"key {number}: {replayed} answers are marked replayed")
        row.did()
