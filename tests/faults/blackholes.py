"""A Chat API that takes connections and says nothing, beside a server that has none."""

from __future__ import annotations

import socket
import statistics
import time

from tests.faults.ground import Ground
from tests.faults.report import Row
from tests.serving import Client

SETTINGS: dict[str, str] = {}
# Whole runs measure; a tenth only shows that nobody waits for the Chat API.
WHOLE = 200
SLOWER = {True: 1.05, False: 1.5}
SCENE = "[[words 20]] [[delay 2]]"


def run(ground: Ground, row: Row, count: int) -> None:
    """`count` answers of each server, in turns; the medians are compared."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(1)
        beside = ground.beside(CHAT_API_BASE_URL=f"http://127.0.0.1:{hole.getsockname()[1]}")
        try:
            _compare(ground, row, beside, count)
        finally:
            beside.close()


def _compare(ground: Ground, row: Row, beside: Client, count: int) -> None:
    servers = {"without": ground.server, "black-holed": beside}
    took: dict[str, list[float]] = {name: [] for name in servers}
    for server in servers.values():
        for _ in range(3):
            server.ask(SCENE)
    for _ in range(count):
        for name, server in servers.items():
            begun = time.monotonic()
            reply = server.ask(SCENE)
            took[name].append(time.monotonic() - begun)
            row.saw(f"{name}: {reply.status_code}")
            row.check(reply.status_code == 200, f"{name}: {reply.text}")
        row.did()
    without, holed = (statistics.median(took[name]) for name in ("without", "black-holed"))
    waiting = beside.get("/health").json()["chat_api"]["pending"]
    row.check(waiting == 2 * (count + 3), f"{waiting} messages wait, of {2 * (count + 3)}")
    row.facts["medians"] = f"{without * 1000:.1f} and {holed * 1000:.1f} ms"
    row.facts["ratio"] = f"{holed / without:.3f}"
    bound = SLOWER[count >= WHOLE]
    row.check(holed < without * bound, f"black-holed answers take {holed / without:.3f} times")
