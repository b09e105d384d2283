"""A Chat API that takes connections and says nothing, beside a server that has none."""

from __future__ import annotations

import socket
import statistics
import time

from tests.faults.environment import Ground
from tests.faults.report import Row
from tests.serving import Client

# Whole runs measure; a tenth only shows that nobody waits for the Chat API.
WHOLE = 200
SLOWER = {True: 1.05, False: 1.5}
SCENE = "[[words 40]] [[delay 4]]"


def run(ground: Ground, row: Row, count: int) -> None:
    """`count` answers of each server, in turns; the medians are compared, on each store."""
    whole = count >= WHOLE
    for store in ("memory", "sqlite") if whole else ("sqlite",):
        stores = [_url(ground, store, name) for name in ("without", "holed")]
        with socket.socket() as hole:
            hole.bind(("127.0.0.1", 0))
            hole.listen(1)
            address = f"http://127.0.0.1:{hole.getsockname()[1]}"
            ground.boot(COWORK_STORE=stores[0])
            beside = ground.beside(COWORK_STORE=stores[1], CHAT_API_BASE_URL=address)
            try:
                ratio = _compare(ground, row, beside, store, max(5, count // 2))
                text = f"{store}: black-holed answers take {ratio:.3f} times as long"
                row.check(ratio < SLOWER[whole], text)
            finally:
                beside.close()


def _url(ground: Ground, store: str, name: str) -> str:
    return "memory://" if store == "memory" else f"sqlite://{ground.folder}/{name}.db"


def _compare(ground: Ground, row: Row, beside: Client, store: str, count: int) -> float:
    servers = {"without": ground.server, "black-holed": beside}
    took: dict[str, list[float]] = {name: [] for name in servers}
    for server in servers.values():
        for _ in range(3):
            server.ask(SCENE)
    for number in range(count):
        # Neither is always the one that follows the other.
        for name, server in list(servers.items())[:: 1 if number % 2 else -1]:
            begun = time.monotonic()
            reply = server.ask(SCENE)
            took[name].append(time.monotonic() - begun)
            row.saw(f"{store}, {name}: {reply.status_code}")
            row.check(reply.status_code == 200, f"{store}, {name}: {reply.text}")
        row.did()
    without, holed = (statistics.median(took[name]) for name in ("without", "black-holed"))
    waiting = beside.get("/health").json()["chat_api"]["pending"]
    row.check(waiting == 2 * (count + 3), f"{waiting} messages wait, of {2 * (count + 3)}")
    row.facts[f"{store}, medians"] = f"{without * 1000:.1f} and {holed * 1000:.1f} ms"
    row.facts[f"{store}, ratio"] = f"{holed / without:.3f}"
    return holed / without
