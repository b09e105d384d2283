"""The address that the server is to listen on, looked at before anything is started."""

from __future__ import annotations

import errno
import re
import socket

MAX_PORT = 65535


def checked_port(text: str) -> int:
    """The port; raises ValueError with one line for whoever has set PORT."""
    if not re.fullmatch(r"\s*[0-9]{1,5}\s*", text) or not 0 < int(text) <= MAX_PORT:
        raise ValueError(f"PORT: expected a number from 1 to {MAX_PORT}, got {text!r}")
    return int(text)


def check_free(host: str, port: int) -> None:
    """Raise ValueError with one line where the address cannot be listened on.

    Also where another program has the port at the other loopback address: `localhost` could lead
    there.  A port that is taken right after this is gunicorn's to tell of.
    """
    if not port:
        return  # the system chooses
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise ValueError(_taken(port)) from None
        raise ValueError(f"HOST={host}, PORT={port}: {fault.strerror}") from None
    if family == socket.AF_INET and _answers("::1", port):
        raise ValueError(_taken(port))


def _taken(port: int) -> str:
    return f"port {port} is taken by another program: set PORT to a free one, e.g. PORT={port + 1}"


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
