"""Reloads (HUP) under load: nothing fails, nobody waits for the new worker, streams go to their end."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.patience import PATIENCE_S
from tests.serving import ROOT, Client, Gunicorn, free_port, wait_for

REQUESTS = 2000
CLIENTS = 8
RELOADS = 2
# Each asks so often (s): requests are there at every moment of each reload.
PAUSE_S = 0.02
# The fake CLI writes for longer than a reload takes, and not as long as a drain may.
LONG = "[[delay 50]] [[words 100]]"
# How much longer a worker takes to boot here, which nobody may wait for.
BOOT_S = 2.5
SLOW_BOOT = """
import time

exec(open({conf!r}).read())


def post_worker_init(worker):
    time.sleep({boot_s})
"""


class Load:
    """Clients that ask until there were enough requests and `stop`; half of them keep a connection."""

    def __init__(self, server: Gunicorn) -> None:
        self.port = server.port
        self.stop = threading.Event()
        self.took: list[float] = []
        self.failed: list[str] = []

    def run(self, number: int) -> None:
        """One client's part: now and then a question, else whether it lives."""
        asked = 0
        while not self.stop.is_set():
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            # Who keeps its connection learns by `Connection: close` that it ends.
            for _ in range(1 if number % 2 else 20):
                asked += 1
                if not self._ask(line, f"p-{number}", is_question=asked % 20 == 0):
                    break
                time.sleep(PAUSE_S)
            line.close()

    def _ask(self, line: http.client.HTTPConnection, project: str, *, is_question: bool) -> bool:
        """Ask; whether the connection can be used again."""
        begun = time.monotonic()
        try:
            if is_question:
                body = json.dumps({"project_name": project, "question": "[[say yes]]"})
                headers = {"Content-Type": "application/json"}
                line.request("POST", "/ask_question", body, headers)
            else:
                line.request("GET", "/health/live")
            reply = line.getresponse()
            said = reply.read()
        except (OSError, http.client.HTTPException) as fault:
            self.failed.append(f"{project}: {fault!r} after {time.monotonic() - begun:.3f} s")
            return False
        if reply.status != 200:
            self.failed.append(f"{reply.status} {said!r}")
        if not is_question:
            self.took.append(time.monotonic() - begun)
        else:
            self.took.append(0.0)  # the next worker starts a CLI for it
        return not reply.will_close


@pytest.fixture
def slow_to_boot(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Gunicorn]:
    config = tmp_path / "slow_boot.conf.py"
    ours = str(ROOT / "cowork" / "server" / "gunicorn_conf.py")
    config.write_text(SLOW_BOOT.format(conf=ours, boot_s=BOOT_S))
    store = f"sqlite://{tmp_path}/state/state.db"
    environ = {
        **fake_environ,
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "COWORK_STORE": store,
    }
    server = Gunicorn(environ, log=tmp_path / "gunicorn.log", config=config)
    yield server
    server.close()


def test_of_2000_requests_over_two_reloads_none_fails_nor_waits_for_a_worker(
    slow_to_boot: Gunicorn,
    another: Callable[..., Client],
    background: BackgroundCalls,
) -> None:
    server = slow_to_boot
    load = Load(server)
    clients = [background(load.run, number) for number in range(CLIENTS)]
    streams = []
    try:
        for number in range(RELOADS):
            streams.append(background(another(server).streamed, LONG, f"long-{number}"))
            old = frozenset(server.workers())
            server.send_signal(signal.SIGHUP)
            wait_for(lambda old=old: not old & set(server.workers()), PATIENCE_S, "its end")
        wait_for(lambda: len(load.took) >= REQUESTS, PATIENCE_S, "the requests")
    finally:
        load.stop.set()
    for client in clients:
        client.result()
    assert load.failed == []
    assert max(load.took) < BOOT_S, "somebody has waited for a worker"
    for stream in streams:
        frames = stream.result()
        assert sum(frame.data.get("type") == "token" for frame in frames) == 100
        assert frames[-1].data["success"] is True
