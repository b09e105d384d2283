"""What systemd is told: READY when a worker accepts, a reload with its end, and the stop."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.serving import Gunicorn


class Listener:
    """The socket that systemd would have."""

    def __init__(self, address: str) -> None:
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.line.settimeout(PATIENCE_S)
        self.line.bind(address.replace("@", "\0", 1))

    def next(self) -> tuple[str, int]:
        """What is told next, and the pid of who tells it."""
        said, ancillary, _, _ = self.line.recvmsg(4096, 256)
        ((_, _, credentials),) = ancillary
        return said.decode(), int.from_bytes(credentials[:4], "little")

    def said_nothing_more(self) -> bool:
        self.line.settimeout(0.0)
        try:
            self.line.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.line.settimeout(PATIENCE_S)
        return False


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Listener, str]]:
    abstract = f"@cowork-{os.getpid()}-{time.monotonic_ns()}"
    address = abstract if request.param == "abstract" else str(tmp_path / "notify")
    found = Listener(address)
    yield found, address
    found.line.close()


def test_systemd_is_told_what_is_so_and_by_the_master_alone(
    gunicorn: Callable[..., Gunicorn], listener: tuple[Listener, str]
) -> None:
    told, address = listener
    server = gunicorn(NOTIFY_SOCKET=address)
    assert told.next() == ("READY=1", server.master)
    assert told.said_nothing_more()
    assert server.get("/health/live").status_code == 200
    begun = time.monotonic_ns() // 1000
    (old,) = server.workers()
    server.send_signal(signal.SIGHUP)
    said, pid = told.next()
    state, _, moment = said.partition("\nMONOTONIC_USEC=")
    assert (state, pid) == ("RELOADING=1", server.master)
    assert begun <= int(moment) <= time.monotonic_ns() // 1000
    assert told.next() == ("READY=1", server.master)
    assert set(server.workers()) - {old}, "who is ready accepts"
    server.send_signal(signal.SIGTERM)
    assert told.next() == ("STOPPING=1", server.master)
    server.child.wait(PATIENCE_S)
    assert server.child.returncode == 0


def test_a_service_manager_that_has_gone_is_no_reason_not_to_serve(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = gunicorn(NOTIFY_SOCKET=str(tmp_path / "nobody"))
    assert server.get("/health/live").status_code == 200
    assert server.stop() < PATIENCE_S
    assert server.child.returncode == 0
