"""URL segments as the client wrote them: `%2F` is part of a name, not a separator.

WSGI hands over a decoded path, in which `/sessions/a%2Fb` and `/sessions/a/b` are one.  So the
path is put together anew from the raw one, decoded but for `%2F` and `%25`, and each segment
undoes those two itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from flask import Flask
from werkzeug.routing import BaseConverter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_KEPT_ENCODED = re.compile("%(2[Ff]|25)")
_DECODED = {"2F": "/", "25": "%"}


class RawPath:
    """WSGI middleware that keeps encoded slashes apart from real ones."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if isinstance(raw, str) and raw:
            environ["PATH_INFO"] = _path(raw)
        return self._app(environ, start_response)


def _path(raw: str) -> str:
    """The WSGI path (bytes as latin-1) of a request target, `%2F` and `%25` kept encoded."""
    path = raw.partition("?")[0] if raw.startswith("/") else urlsplit(raw).path
    return unquote_to_bytes(_KEPT_ENCODED.sub(r"%25\1", path)).decode("latin-1")


class Segment(BaseConverter):
    """One whole segment of a path, any characters."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        return _KEPT_ENCODED.sub(lambda found: _DECODED[found[1].upper()], value)

    def to_url(self, value: Any) -> str:
        return quote(str(value), safe="")


def register(app: Flask) -> None:
    """Make every string in this app's routes a whole segment, and none of its slashes merge."""
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    for name in ("default", "string"):
        app.url_map.converters[name] = Segment
    app.wsgi_app = RawPath(app.wsgi_app)  # type: ignore[method-assign]
