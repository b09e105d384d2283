"""The console, a page for people, and the client that other pages may load; files of a fixed list.

They are the same for everybody and need no key; every call that the page makes carries one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Flask, Request, Response, request
from werkzeug.exceptions import NotFound

FOLDER = Path(__file__).resolve().parent.parent / "console"
PAGE = "index.html"
# What pages and programs of others load by a short name of its own.
CLIENT, CLIENT_TYPES = "client.js", "client.d.ts"
# Scripts, styles and calls of this server's own alone, and no other page around it.  What the model
# writes is HTML in this page: no image of another host is loaded, no form is sent.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'; object-src 'none'"
)
# Comments that are whole lines, empty lines and indentation are a tenth of what a browser would be
# sent; no text in our files goes over the end of a line.
_COMMENT = re.compile(rb"^[ \t]*(?://[^\n]*|/\*.*?\*/[ \t]*)$", re.DOTALL | re.MULTILINE)
_BLANK = re.compile(rb"^\s+", re.MULTILINE)
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
    ".txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the console; `etag` is made of its content, so that it tells nothing else."""

    content: bytes
    mimetype: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """The files by their path below `FOLDER`: what is not among them is not served."""
    files = (file for file in FOLDER.rglob("*") if file.suffix in _TYPES)
    return {file.relative_to(FOLDER).as_posix(): _read(file) for file in files}


def _read(file: Path) -> Asset:
    content = file.read_bytes()
    if file.parent == FOLDER and file.suffix in {".css", ".js"}:
        content = _BLANK.sub(b"", _COMMENT.sub(b"", content))
    return Asset(content, _TYPES[file.suffix], hashlib.sha256(content).hexdigest()[:32])


def wants_page(caller: Request) -> bool:
    """Whether it is a browser that asks for `/`: it names HTML, and before JSON."""
    found = caller.accept_mimetypes.best_match(["application/json", "text/html"])
    return bool(found == "text/html")


def page() -> Response:
    """The console's page."""
    return _reply(PAGE)


def register(app: Flask) -> None:
    """Serve the console's files; the page itself is what `/` gives a browser."""

    @app.get("/console/<name>")
    def console_asset(name: str) -> Response:
        return _reply(name)

    @app.get("/console/vendor/<name>")
    def console_vendor_asset(name: str) -> Response:
        return _reply(f"vendor/{name}")

    @app.get(f"/{CLIENT}")
    def console_client() -> Response:
        return _reply(CLIENT)

    @app.get(f"/{CLIENT_TYPES}")
    def console_client_types() -> Response:
        return _reply(CLIENT_TYPES)


def _reply(name: str) -> Response:
    found = assets().get(name)
    if found is None:
        raise NotFound
    reply = Response(found.content, mimetype=found.mimetype)
    reply.set_etag(found.etag)
    # Kept, but asked after each time: an update is seen at once.
    reply.headers["Cache-Control"] = "no-cache"
    reply.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    if name == PAGE:
        reply.vary.add("Accept")
        # A page of another site may link here; where it opens a window, it keeps no hold of that.
        reply.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    reply.make_conditional(request)
    return reply
