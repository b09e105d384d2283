"""The line between a server and Redis, which a test cuts, stalls, or leads to another Redis."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

BLOCK_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0


class RedisLine:
    """Passes bytes on, both ways; `url` is what a server is told.

    While it is `stalled`, what is sent arrives nowhere and nobody hears of it, as in a partition;
    connections that were made meanwhile are accepted and go nowhere.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._passing = threading.Event()
        self._passing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._closed = False
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._begin(self._accept)

    def stall(self) -> None:
        """Nothing gets through from now on, in either direction."""
        self._passing.clear()

    def heal(self) -> None:
        """What was sent meanwhile is lost with its connections; new ones get through."""
        self.cut()
        self._passing.set()

    def lead_to(self, port: int) -> None:
        """Behind the same address is another Redis from now on."""
        self._to = port
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        with self._lock:
            found, self._open = self._open, set()
        for each in found:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self._passing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, call: object, *given: object) -> None:
        thread = threading.Thread(target=call, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._begin(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        self._passing.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._to), CONNECT_TIMEOUT_S)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._open.add(server)
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK_BYTES):
                self._passing.wait()
                to.sendall(block)
        for each in (source, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
