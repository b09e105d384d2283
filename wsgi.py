"""What gunicorn and flask serve from a checkout, `wsgi:app`: see `cowork/server/wsgi.py`."""

from __future__ import annotations

from typing import Any

from cowork.server import wsgi


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return wsgi.app
