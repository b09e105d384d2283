"""A standard client, npm's `eventsource`, over a connection that is cut again and again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import missing
from tests.serving import Served

HERE = Path(__file__).parent / "eventsource"
CUT_AFTER = 3000


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the script and its one package are."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        missing("node", "apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("eventsource")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(HERE / name, folder)
    command = [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=50)
    return folder


class CuttingProxy:
    """Passes connections on and cuts each when it has brought `CUT_AFTER` bytes back."""

    def __init__(self, to: str) -> None:
        self._to = urlsplit(to)
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                with client, suppress(OSError):
                    self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        client.settimeout(20)
        with socket.create_connection((self._to.hostname, self._to.port), timeout=20) as server:
            server.sendall(client.recv(65536))
            left = CUT_AFTER
            while left > 0 and (block := server.recv(min(left, 4096))):
                client.sendall(block)
                left -= len(block)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def proxy(served: Served) -> Iterator[CuttingProxy]:
    running = CuttingProxy(served.url)
    yield running
    running.close()


def test_a_standard_client_gets_every_frame_once_and_stops_at_the_end(
    served: Served, proxy: CuttingProxy, node_modules: Path
) -> None:
    with served.stream("[[words 80]] [[delay 20]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        url = f"http://127.0.0.1:{proxy.port}/turns/{turn_id}/events"
        node = subprocess.run(
            [str(shutil.which("node")), "client.mjs", url],
            cwd=node_modules,
            check=True,
            capture_output=True,
            timeout=50,
        )
    seen = [json.loads(line) for line in node.stdout.splitlines()]
    ids = [frame["id"] for frame in seen]
    assert ids == [f"{turn_id}.{n}" for n in sorted({int(i.rpartition(".")[2]) for i in ids})]
    tokens = [json.loads(frame["data"]).get("token", "") for frame in seen]
    assert "".join(tokens) == " ".join(f"w{n}" for n in range(1, 81))
    assert json.loads(seen[-1]["data"])["done"] is True
    assert proxy.connections >= 4  # the first one, several cut ones, and the one that got 204
