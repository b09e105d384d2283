"""A reload (HUP): the old worker is told to end when the new one accepts, and nobody waits for that."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from cowork.server import handover
from tests.background import BackgroundCalls
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.serving import ROOT, Client, Gunicorn, free_port, wait_for

INTERVAL_S = 0.05
# How much longer a worker takes to boot here: as on a busy machine, and longer than any reply.
BOOT_S = 1.5
# How long a look at the CLI takes: long enough to be seen.
CLI_LOOK_S = 0.5
# The machine is not alone: so many reloads may be tried for one in which nothing else was slow.
TRIES = 3
SLOW_BOOT = """
import time

exec(open({conf!r}).read())


def post_worker_init(worker):
    time.sleep({boot_s})
"""


@pytest.fixture
def slow_to_boot(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Gunicorn]:
    config = tmp_path / "slow_boot.conf.py"
    ours = str(ROOT / "cowork" / "server" / "gunicorn_conf.py")
    config.write_text(SLOW_BOOT.format(conf=ours, boot_s=BOOT_S))
    environ = {**fake_environ, "HOST": "127.0.0.1", "PORT": str(free_port())}
    server = Gunicorn(environ, log=tmp_path / "gunicorn.log", config=config)
    yield server
    server.close()


def ask_steadily(server: Gunicorn, seconds: float, until: Callable[[], bool]) -> list[float]:
    """How long each of twenty requests a second took, each on a connection of its own."""
    took = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds or not until():
        asked = time.monotonic()
        reply = requests.get(f"{server.url}/health/live", timeout=PATIENCE_S)
        assert reply.status_code == 200
        took.append(time.monotonic() - asked)
        assert asked - begun < PATIENCE_S, "the reload did not come to its end"
        time.sleep(max(0.0, INTERVAL_S - took[-1]))
    return took


def test_fault_w12_no_request_waits_for_the_new_workers_boot(slow_to_boot: Gunicorn) -> None:
    server = slow_to_boot
    slowest = []
    for _ in range(TRIES):
        (old,) = server.workers()
        before = max(ask_steadily(server, 2.0, lambda: True))
        server.send_signal(signal.SIGHUP)
        during = max(ask_steadily(server, BOOT_S, lambda gone=old: gone not in server.workers()))
        assert during < BOOT_S, "somebody has waited for it"
        slowest.append((during, before))
        if during <= 3 * before:
            return
    pytest.fail(f"slower across each reload than before it (s): {slowest}")


def test_fault_w12_it_is_ready_all_through_a_reload(
    gunicorn: Callable[..., Gunicorn], fakes: Fakes, another: Callable[..., Client]
) -> None:
    server = gunicorn(**fakes.settings(probe=f"slow:{CLI_LOOK_S * 1000:.0f}"))
    wait_for(lambda: server.get("/health/ready").status_code == 200, what="the look at the CLI")
    (old,) = server.workers()
    client = another(server)
    client.http.headers["Connection"] = "close"  # by chance it is this worker's or that one's
    server.send_signal(signal.SIGHUP)
    told = []
    wait_for(
        lambda: told.append(client.get("/health/ready").status_code) or old not in server.workers(),
        what="the old worker's end",
    )
    told += [client.get("/health/ready").status_code for _ in range(9)]
    assert set(told) == {200}


def test_a_question_on_a_connection_that_the_old_worker_keeps_is_answered(
    gunicorn: Callable[..., Gunicorn], background: BackgroundCalls, another: Callable[..., Client]
) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="info")
    (old,) = server.workers()
    # Holds the old worker in its drain.
    background(another(server).streamed, "[[delay 50]] [[words 120]]", "long")
    lines = [
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S) for _ in "abc"
    ]
    for line in lines:
        line.request("GET", "/health/live")
        assert line.getresponse().read()
    asking, idle, probe = lines
    server.send_signal(signal.SIGHUP)

    def says_close() -> bool:
        probe.request("GET", "/health/live")
        reply = probe.getresponse()
        return bool(reply.read()) and reply.getheader("Connection") == "close"

    wait_for(says_close, PATIENCE_S, "the new worker")
    # Meanwhile the old one would have begun to refuse.
    assert [server.get("/sessions").status_code for _ in range(10)] == [200] * 10
    body = json.dumps({"project_name": "kept", "question": "[[say yes]]"})
    asking.request("POST", "/ask_question", body, {"Content-Type": "application/json"})
    reply = asking.getresponse()
    assert (reply.status, json.loads(reply.read())["message"]) == (200, "yes")
    assert reply.getheader("Connection") == "close"
    assert old in server.workers()
    assert idle.sock.recv(1) == b"", "an idle one is let go"
    for line in lines:
        line.close()


def test_fault_w12_a_cli_that_says_nothing_holds_no_reload_up(
    gunicorn: Callable[..., Gunicorn], fakes: Fakes
) -> None:
    server = gunicorn(**fakes.settings(probe="hang"))
    (old,) = server.workers()
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: old not in server.workers(), what="the old worker's end")
    assert server.get("/health/live").status_code == 200


def test_fault_w12_a_stop_in_the_middle_of_a_reload_is_a_stop(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    (old,) = server.workers()
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: len(server.workers()) == 2, what="both workers")
    assert old in server.workers()
    assert server.stop() < handover.HANDOVER_TIMEOUT_S / 3
    assert server.child.returncode == 0


def test_fault_w12_a_successor_that_dies_is_not_waited_for_for_ever(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    (old,) = server.workers()
    server.send_signal(signal.SIGHUP)
    for _ in range(2):
        wait_for(lambda: set(server.workers()) - {old}, what="a successor")
        (new,) = set(server.workers()) - {old}
        subprocess.run(["kill", "-9", str(new)], check=True)  # noqa: S607
        wait_for(lambda gone=new: gone not in server.workers(), what="its end")
    wait_for(lambda: old not in server.workers(), timeout=20, what="the old worker's end")
    wait_for(lambda: server.get("/health/live").status_code == 200, what="the last successor")


@pytest.fixture
def shared() -> handover.Handover:
    return handover.Handover()


def test_fault_w12_who_is_replaced_waits_for_who_accepts_and_not_for_long(
    shared: handover.Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not shared.is_underway
    shared.starting()  # at the server's own start
    assert not shared.is_underway
    shared.begin()
    now = time.monotonic()
    assert shared.must_wait(now)
    assert not shared.must_wait(now - 2 * handover.FORK_GRACE_S), "nobody came"
    shared.starting()
    assert shared.must_wait(now - 2 * handover.FORK_GRACE_S)
    assert not shared.must_wait(now - 2 * handover.HANDOVER_TIMEOUT_S)
    monkeypatch.setattr(handover, "_is_alive", lambda _pid: False)
    assert not shared.must_wait(now - 2 * handover.FORK_GRACE_S), "it died"
    shared.serving()
    assert not shared.is_underway
    assert not shared.must_wait(now)
