"""The program's stdin and stdout.

Writing never blocks, as with the real CLI: what the pipe does not take waits in memory.  Every
wait is a `pump`, so that an interrupt is seen at once wherever a scene stands.
"""

from __future__ import annotations

import _signal as signal
import os
import select

STDIN, STDOUT, STDERR = 0, 1, 2
_BLOCK = 1 << 18


class Wire:
    """Lines in, bytes out.

    `ended` is whether stdin is closed, `gone` whether nobody reads stdout any more.
    """

    def __init__(self) -> None:
        self.ended = False
        self.gone = False
        self._unread: list[bytes] = []
        self._unsent = bytearray()
        if not os.isatty(STDOUT):
            os.set_blocking(STDOUT, False)
        # A signal must end a wait: its handler alone would let `select` go on (PEP 475).
        self._alarm, alarm = os.pipe()
        os.set_blocking(self._alarm, False)
        os.set_blocking(alarm, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)

    @property
    def backlog(self) -> int:
        """Bytes that were written and that the pipe has not taken yet."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Send `data`, now or when there is room."""
        if not self.gone:
            self._unsent += data
            self._push()

    def pump(self, timeout: float | None) -> list[bytes]:
        """Wait for input, a signal or room to write, at most `timeout` seconds (None: for ever).

        Returns the lines that came, without their line feeds; at the end of stdin also what was
        left of one.
        """
        readers = [self._alarm] if self.ended else [self._alarm, STDIN]
        writers = [STDOUT] if self._unsent else []
        readable, writable, _ = select.select(readers, writers, [], timeout)
        if writable:
            self._push()
        if self._alarm in readable:
            os.read(self._alarm, _BLOCK)
        return self._take(os.read(STDIN, _BLOCK)) if STDIN in readable else []

    def drain(self, seconds: float) -> None:
        """Send what is left, giving up when the reader takes nothing for so long."""
        while self._unsent and select.select([], [STDOUT], [], seconds)[1]:
            self._push()

    def close(self) -> None:
        """Close stdout and live on."""
        self.gone = True
        self._unsent.clear()
        os.close(STDOUT)

    def _push(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(STDOUT, self._unsent[:_BLOCK])]
        except BlockingIOError:
            pass
        except OSError:
            # The reader closed the pipe: the real CLI goes on too, until its stdin ends.
            self.gone = True
            self._unsent.clear()

    def _take(self, block: bytes) -> list[bytes]:
        if not block:
            self.ended = True
            rest, self._unread = b"".join(self._unread), []
            return [rest] if rest else []
        self._unread.append(block)
        if b"\n" not in block:
            return []
        *lines, rest = b"".join(self._unread).split(b"\n")
        self._unread = [rest] if rest else []
        return lines


def complain(text: str) -> None:
    """A line on stderr; waits for a slow reader."""
    data = f"{text}\n".encode()
    while data:
        try:
            data = data[os.write(STDERR, data) :]
        except BlockingIOError:
            select.select([], [STDERR], [])
        except OSError:
            return
