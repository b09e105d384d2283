"""A proxy that cuts connections: what a mobile network, a sleeping laptop or a load balancer does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BLOCK_BYTES = 4096
END_S = 5.0


class CuttingProxy:
    """Passes bytes on; of the streams that it carries, the first ones are cut.

    `cuts` are after how many bytes of the reply each is cut, in the order in which they come; those
    behind are left alone.  `between_events` cuts before an event, not within it.  While `is_down`, nobody gets through.
    """

    def __init__(self, port: int, cuts: list[int], *, between_events: bool = False) -> None:
        self._to = port
        self._cuts = list(cuts)
        self._between_events = between_events
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.is_down = False
        self.streams = 0
        self._start(self._accept)

    def _start(self, call: object, *given: object) -> None:
        thread = threading.Thread(target=call, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.is_down:
                    raise OSError  # noqa: TRY301 - as if nobody listened
                server = socket.create_connection(("127.0.0.1", self._to), END_S)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            state: dict[str, int | None] = {"left": None}
            self._start(self._pump, client, server, state, True)
            self._start(self._pump, server, client, state, False)

    def _pump(
        self, source: socket.socket, to: socket.socket, state: dict[str, int | None], asks: bool
    ) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK_BYTES):
                if asks:
                    self._look(block, state)
                elif state["left"] is not None:
                    is_cut = len(block) >= state["left"]
                    block = block[: state["left"]]
                    state["left"] -= len(block)
                    if is_cut and self._between_events:
                        block = block[: block.rfind(b"\n\n") + 2]
                to.sendall(block)
                if not asks and state["left"] == 0:
                    break
        for each in (source, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _look(self, block: bytes, state: dict[str, int | None]) -> None:
        """A stream that is asked for takes the next cut."""
        line = block.partition(b"\r\n")[0]
        is_stream = line.startswith(b"POST /ask_question_streaming") or b"/events" in line
        if not is_stream:
            return
        with self._lock:
            self.streams += 1
            if self._cuts:
                state["left"] = self._cuts.pop(0)

    @property
    def cuts_left(self) -> int:
        """How many are still to come."""
        return len(self._cuts)

    def go_down(self) -> None:
        """Cut all there is, and let nobody through until `is_down` is false again."""
        self.is_down = True
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut all there is, and end."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(END_S)
        for each in self._open:
            each.close()


@contextmanager
def cutting(port: int, *cuts: int, between_events: bool = False) -> Iterator[CuttingProxy]:
    """A proxy in front of the server at this port."""
    proxy = CuttingProxy(port, list(cuts), between_events=between_events)
    try:
        yield proxy
    finally:
        proxy.close()
