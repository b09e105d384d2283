"""A reload (HUP): the old worker is told to end when the new one accepts, and nobody waits for that."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from cowork.server import handover
from tests.contract.replies import problem
from tests.e2e.nginx import nginx
from tests.serving import Gunicorn, wait_for

INTERVAL_S = 0.05
# What a reply may take, in medians of the slowest ones without a reload; the machine is not alone.
NOISE = 30


def ask_steadily(server: Gunicorn, seconds: float, until: Callable[[], bool]) -> list[float]:
    """How long each of twenty requests a second took, each on a connection of its own."""
    took = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds or not until():
        asked = time.monotonic()
        reply = requests.get(f"{server.url}/health/live", timeout=20)
        assert reply.status_code == 200
        took.append(time.monotonic() - asked)
        assert asked - begun < 30, "the reload did not come to its end"
        time.sleep(max(0.0, INTERVAL_S - took[-1]))
    return took


def test_fault_w12_no_request_waits_for_the_new_workers_boot(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    (old,) = server.workers()
    before = ask_steadily(server, 1.0, lambda: True)
    server.send_signal(signal.SIGHUP)
    during = ask_steadily(server, 1.0, lambda: server.workers() and old not in server.workers())
    assert max(during) <= NOISE * max(before), (max(during), max(before))
    # The new worker takes longer to boot than any reply may have taken.
    assert len(during) * INTERVAL_S > max(during)


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


def test_fault_w12_nginx_tells_in_our_shape_that_the_server_is_stopped(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = gunicorn()
    with nginx(tmp_path / "nginx", server.port) as url:
        server.stop()
        for path in ("/health/live", "/ask_question"):
            reply = requests.get(url + path, timeout=20)
            problem(reply, 502, "server_unreachable")
            assert reply.headers["Content-Type"] == "application/json"
            assert reply.headers["Retry-After"] == "1"
            assert reply.headers["X-Request-ID"]
