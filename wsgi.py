"""What gunicorn and flask serve: `wsgi:app`."""

from __future__ import annotations

import atexit

from cowork import log
from cowork.app import create_app
from cowork.composition import open_services
from cowork.settings import settings
from cowork.stores.protocol import StoreUnusable

_settings = settings.load()
log.configure(level=_settings.log_level, form=_settings.log_format)
try:
    services = open_services(_settings).start()
except StoreUnusable as _fault:
    log.logger(__name__).error("the store cannot be used", why=str(_fault))
    # To gunicorn this says that another worker would fare no better.
    raise SystemExit(3) from None
atexit.register(services.close)
app = create_app(services)
