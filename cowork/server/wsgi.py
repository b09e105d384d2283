"""What gunicorn and flask serve: `cowork.server.wsgi:app`.

It is made when it is first asked for: to import this file opens no store and starts no thread.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

from cowork import log
from cowork.app import create_app
from cowork.composition import open_services
from cowork.server.metrics_folder import metrics_folder
from cowork.settings import settings
from cowork.stores.protocol import StoreUnusable


@cache
def make_app() -> Any:
    """The application over services of the environment's settings; they end with the process."""
    loaded = settings.load()
    log.configure(level=loaded.log_level, form=loaded.log_format)
    try:
        services = open_services(loaded, metrics_folder=metrics_folder.path).start()
    except StoreUnusable as fault:
        log.logger(__name__).error("store unusable", why=str(fault))
        # To gunicorn this says that another worker would fare no better.
        raise SystemExit(3) from None
    atexit.register(services.close)
    return create_app(services)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return make_app()
    except AttributeError as fault:  # else it would be told that there is no `app`
        raise RuntimeError("the application cannot be made") from fault
