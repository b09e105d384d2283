"""Serves the page of `page/`, and the modules of npm's packages, from an origin of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.clients.node import HERE, MODULES

PAGE = HERE / "page"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing."""


class _Handler(_Quiet):
    def translate_path(self, path: str) -> str:
        """Modules import each other without their `.js`, as bundlers have it."""
        if not path.startswith("/modules/"):
            return str(PAGE / (path.lstrip("/") or "index.html"))
        found = MODULES / path.removeprefix("/modules/")
        return str(found if found.suffix else found.with_suffix(".js"))


@contextmanager
def page_server(folder: Path | None = None) -> Iterator[str]:
    """The origin; of `folder`'s files, where one is named."""
    handler = partial(_Quiet, directory=str(folder)) if folder else _Handler
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
